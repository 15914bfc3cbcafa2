"""The rule of the gate, and leaving one kind out, on rows made by hand."""

import pytest

from superalign.pipeline.gate import fixed_on, leave_one_out, strong_enough


@pytest.mark.parametrize(
    ("low", "high", "able"),
    [(0.8, 0.1, True), (0.79, 0.1, False), (0.8, 0.11, False), (None, 0.0, False), (1.0, None, False)],
)
def test_power_decides_whether_anything_can_be_told(low, high, able):
    assert strong_enough(low, high) is able


def _row(kind: str, planted: bool, suspicion: float) -> dict[str, object]:
    return {"kind": kind, "planted": planted, "check": suspicion}


def test_thresholds_never_see_the_kind_left_out():
    rows = [_row("a", True, 0.5), _row("a", False, 0.4), _row("b", True, 0.3), _row("b", False, 0.1)]
    folds = leave_one_out(rows, "check")
    assert folds["a"] == {"threshold": 0.2, "caught": [True], "alarms": [True]}
    assert folds["b"] == {"threshold": 0.45, "caught": [False], "alarms": [False]}


def test_the_threshold_keeps_its_distance_from_the_twins():
    rows = [_row("a", True, 0.5), _row("a", False, 0.001), _row("b", True, 0.6), _row("b", False, 0.002)]
    folds = leave_one_out(rows, "check")
    assert all(fold["alarms"] == [False] and fold["caught"] == [True] for fold in folds.values())


def test_one_kind_alone_catches_nothing():
    folds = leave_one_out([_row("a", True, 9.0), _row("a", False, 0.0)], "check")
    assert folds["a"]["caught"] == [False]


@pytest.mark.parametrize("rows", [[], [_row("a", True, 1.0)], [_row("a", True, 1.0), _row("a", False, 1.0)]])
def test_where_nothing_tells_them_apart_nothing_is_flagged(rows):
    assert fixed_on(rows, "check") == float("inf")
