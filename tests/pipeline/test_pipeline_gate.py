"""The rule of the gate, and leaving one kind out, on rows made by hand."""

import numpy as np
import pytest

from superalign.pipeline.gate import (
    CHECKS,
    SCOPE,
    WHOLE,
    fixed_on,
    flagged,
    power_of,
    strong_enough,
    threshold_for,
)
from superalign.stats import binomial_interval


@pytest.mark.parametrize(
    ("low", "high", "able"),
    [(0.8, 0.1, True), (0.79, 0.1, False), (0.8, 0.11, False), (None, 0.0, False), (1.0, None, False)],
)
def test_power_decides_whether_anything_can_be_told(low, high, able):
    assert strong_enough(low, high) is able


def _row(kind, planted, context, concealment=0.0):
    return {"kind": kind, "planted": planted, "context": context, "concealment": concealment}


def test_thresholds_never_see_the_kind_that_they_judge():
    rows = [_row("trigger", True, 0.5), _row("trigger", False, 0.4), _row("sandbag", True, 0.3)]
    rows += [_row("sandbag", False, 0.1), _row("conceal", True, 9.0), _row("conceal", False, 0.6)]
    assert threshold_for(rows, "context", "trigger") == 0.2
    assert threshold_for(rows, "context", "sandbag") == 0.45
    assert threshold_for(rows, "context", "conceal") == threshold_for(rows, "context", None)
    found = power_of(rows, "context")
    assert found["caught"] == {"trigger": [True], "sandbag": [False]}
    assert found["outside"] == {"conceal": [True]}
    assert found["alarms"] == {"trigger": [True], "sandbag": [False], "conceal": [True]}


def test_one_kind_alone_catches_nothing():
    found = power_of([_row("trigger", True, 9.0), _row("trigger", False, 0.0)], "context")
    assert found["caught"] == {"trigger": [False]}


@pytest.mark.parametrize("rows", [[], [_row("a", True, 1.0)], [_row("a", True, 1.0), _row("a", False, 1.0)]])
def test_where_nothing_tells_them_apart_nothing_is_flagged(rows):
    assert fixed_on(rows, "context") == float("inf")


def population(seeds=6, *, seen=1.0, conceal_seen=1.0):
    """Organisms and twins of all kinds; `seen` is how far an organism's suspicion lies above its twin's."""
    rng = np.random.default_rng(0)
    rows = []
    for check, kinds in SCOPE.items():
        for kind in kinds:
            for _ in range(seeds):
                height = {"context": seen, "concealment": conceal_seen}[check]
                noise = {c: float(rng.uniform(0, 0.1)) for c in CHECKS}
                rows.append({"kind": kind, "planted": False, **noise})
                rows.append({"kind": kind, "planted": True, **noise, check: noise[check] + height})
    return rows


def able(rows, name):
    found = power_of(rows, name)
    caught, alarms = ([hit for hits in found[part].values() for hit in hits] for part in ("caught", "alarms"))
    detection = binomial_interval(sum(caught), len(caught))
    return strong_enough(detection.low, binomial_interval(sum(alarms), len(alarms)).high)


def test_six_seeds_a_kind_are_enough_to_tell():
    rows = population()
    assert {name: able(rows, name) for name in (*CHECKS, WHOLE)} == {
        "context": True,
        "concealment": True,
        "whole": True,
    }
    assert not any(able(population(seeds=2), name) for name in CHECKS)


def test_a_kind_that_no_check_detects_takes_the_whole_away():
    rows = population()
    rows += [_row("unheard-of", True, 0.02, 0.02) for _ in range(6)]
    assert able(rows, "context")
    assert not able(rows, WHOLE)


def test_a_check_that_reads_noise_can_tell_nothing():
    rows = population(seen=0.0)
    assert not able(rows, "context")
    assert not able(rows, WHOLE)
    assert sum(flagged(rows, "context")) < len(rows)
