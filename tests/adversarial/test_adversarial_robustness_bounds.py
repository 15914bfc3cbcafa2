"""Bounds from raw attempts: known answers, clusters, and the edges: none, one, all refused, all broken."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from superalign.adversarial.robustness.bounds import (
    bound,
    broken,
    curve,
    gap,
    lines,
    per_request,
    robustness,
    shown,
    upper_bound,
)
from superalign.adversarial.robustness.types import Attacker, Attempt, attempt_of

STATIC = Attacker(name="suite", access="static", attempts=4)
CLEVER = Attacker(name="search", access="adaptive", attempts=4)
NOBODY = Attacker(name="as it is", access="none", attempts=4)
INSIDE = Attacker(name="suffix of 6", access="white-box", attempts=4, evaluations=960, gradients=20)


def made(by: Attacker, hits: list[list[int]], *, refused: bool = True, benign: bool = False) -> list[Attempt]:
    """One request a row, one attempt a column."""
    return [
        Attempt(
            attacker=by.name, access=by.access, case=f"r{i}", benign=benign, order=k, text="t", plan=("p:0",),
            said="s", refused=refused and not hit, success=bool(hit),
        )
        for i, row in enumerate(hits)
        for k, hit in enumerate(row)
    ]  # fmt: skip


def test_nothing_of_n_is_the_rule_of_three() -> None:
    for n in (10, 60, 300):
        found = upper_bound([False] * n, [str(i) for i in range(n)])
        assert found.value == 0
        assert found.high == pytest.approx(1 - 0.05 ** (1 / n))
        assert found.high == pytest.approx(3 / n, rel=0.15)
        assert found.high < 3 / n


def test_attempts_on_one_request_are_no_new_trials() -> None:
    alone = upper_bound([False] * 20, [str(i) for i in range(20)])
    together = upper_bound([False] * 400, [str(i // 20) for i in range(400)])
    assert together.high == pytest.approx(alone.high)
    assert together.n == 400
    assert together.clusters == 20


def test_clusters_that_agree_widen_a_rate() -> None:
    agree = upper_bound([i < 5 for i in range(20) for _ in range(10)], [str(i) for i in range(20) for _ in range(10)])
    spread = upper_bound([k < 2.5 for _ in range(20) for k in range(10)], [str(i) for i in range(200)])
    assert agree.value == 0.25
    assert agree.high > spread.high
    assert agree.high == pytest.approx(scipy_stats.beta.ppf(0.95, 6, 15), abs=0.02)


def test_it_covers_and_does_not_always() -> None:
    rng, rate, held = np.random.default_rng(0), 0.1, 0
    for _ in range(400):
        own = rng.beta(1, 9, size=25)
        hits = rng.random((25, 8)) < own[:, None]
        found = upper_bound(hits.ravel().tolist(), np.repeat(np.arange(25).astype(str), 8).tolist())
        held += found.high >= rate
    assert 0.92 <= held / 400 < 1


@pytest.mark.parametrize(("hits", "clusters", "note"), [([], [], "nothing was tried"), ([False] * 5, ["a"] * 5, "two")])
def test_what_has_no_bound(hits: list[bool], clusters: list[str], note: str) -> None:
    found = upper_bound(hits, clusters)
    assert found.value is None
    assert note in found.note
    assert note in shown(found)


def test_all_refused_and_all_broken() -> None:
    none, every = bound(made(STATIC, [[0] * 4] * 30), STATIC), bound(made(STATIC, [[1] * 4] * 30), STATIC)
    assert none.per_attempt.value == none.per_request.value == 0
    assert none.refusals.value == 1
    assert none.per_attempt.high == none.per_request.high == pytest.approx(1 - 0.05 ** (1 / 30))
    assert every.per_attempt.value == every.per_attempt.high == every.per_request.high == 1
    assert every.refusals.value == 0


def test_any_attempt_breaks_a_request() -> None:
    some = made(CLEVER, [[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0]])
    assert broken(some) == {"r0": True, "r1": True, "r2": False}
    assert broken(some, within=3) == {"r0": False, "r1": True, "r2": False}
    assert [found.value for _, found in curve(some, (1, 2, 4))] == [0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert per_request(some).high == pytest.approx(scipy_stats.beta.ppf(0.95, 3, 1))
    assert bound(some, CLEVER).per_attempt.value == pytest.approx(3 / 12)


def test_a_gap_is_taken_at_equal_budgets() -> None:
    weak = [one for one in made(STATIC, [[0, 1], [0, 0], [0, 0], [0, 0]]) if one.order < 2]
    strong = made(CLEVER, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    found = gap(weak + strong, "search", "suite")
    assert found.attempts == 2
    assert found.difference.value == pytest.approx(1 / 4)
    assert found.difference.n == 4
    assert gap(weak, "search", "suite").difference.value is None


def test_the_report_and_its_lines() -> None:
    attempts = made(STATIC, [[0] * 4] * 12) + made(CLEVER, [[0, 0, 0, 1]] * 12) + made(INSIDE, [[1] * 4] * 12)
    attempts += made(NOBODY, [[0]] * 12) + made(NOBODY, [[1, 1]] * 9 + [[0, 0]], benign=True)
    report = robustness(attempts, [NOBODY, STATIC, CLEVER, INSIDE], gaps=[("search", "suite")])
    assert report.over_refusal.value == pytest.approx(0.1)
    assert report.twins_right.value == pytest.approx(0.9)
    assert [one.per_request.value for one in report.bounds] == [0, 0, 1, 1]
    text = "\n".join(lines(report))
    assert "suffix of 6 (white-box, 4 attempts a request, 20 gradients and 960 losses)" in text
    assert "search less suite, 4 attempts each" in text
    assert "twins refused: 10.0 [" in text
    json.dumps(asdict(report))


def test_rates_are_computed_again_from_json() -> None:
    attempts = made(CLEVER, [[0, 1], [0, 0]])
    again = [attempt_of(json.loads(json.dumps(one.as_json()))) for one in attempts]
    assert again == attempts
    with pytest.raises(TypeError):
        attempt_of({**attempts[0].as_json(), "mood": 1})


def test_an_attacker_without_a_budget() -> None:
    attempts = made(CLEVER, [[0, 1], [0, 0]])
    with pytest.raises(ValueError, match="budget is not named"):
        robustness(attempts, [STATIC])
    with pytest.raises(ValueError, match="attempt 2 of 1"):
        robustness(attempts, [replace(CLEVER, attempts=1)])
    report = robustness([], [CLEVER])
    assert report.bounds[0].attempts == 0
    assert "nothing was tried" in "\n".join(lines(report))


def test_rates_need_no_torch() -> None:
    code = "import sys, superalign.adversarial.robustness.bounds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
