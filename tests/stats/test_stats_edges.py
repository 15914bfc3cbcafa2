"""What every function does with nothing, with one cluster, with no spread, and with what is no number."""

import math
import warnings

import numpy as np
import pytest

from superalign import stats
from superalign.stats import Interval, StatsError


def few(**options):
    return {"draws": 40, **options}


ONE = {
    "mean": lambda x, c: stats.mean_interval(x, clusters=c),
    "mean, wild": lambda x, c: stats.mean_interval(x, clusters=c, method="wild", draws=200),
    "paired": lambda x, c: stats.paired_difference(x, np.zeros(len(x)), clusters=c),
    "proportion": lambda x, c: stats.proportion_interval(x, clusters=c),
    "equivalence": lambda x, c: stats.equivalence(x, np.zeros(len(x)), margin=0.1, clusters=c).difference,
    "risk difference": lambda x, c: stats.risk_difference(x, x, clusters_a=c, clusters_b=c),
    "risk ratio": lambda x, c: stats.risk_ratio(x, x, clusters_a=c, clusters_b=c),
    "Brier": lambda x, c: stats.brier_score(x, np.ones(len(x)), clusters=c),
    "log": lambda x, c: stats.log_score(np.full(len(x), 0.3), x, clusters=c),
    "Newcombe, paired": lambda x, c: stats.newcombe_paired(x, x),
    "pgr": lambda x, c: stats.pgr(
        [np.zeros(len(x))], [x], [np.ones(len(x))], clusters=None if c is None else [c], **few()
    ),
    "Fieller": lambda x, c: stats.pgr_fieller(np.zeros(len(x)), x, np.ones(len(x)), clusters=c),
    "labels": lambda x, c: stats.ground_truth_equivalent(
        x, [(10, np.zeros(len(x))), (20, np.ones(len(x)))], clusters=c, **few()
    ),
    "auroc": lambda x, c: stats.auroc(np.arange(len(x)), x, clusters=c, **few()),
    "bootstrap": lambda x, c: stats.bootstrap_interval(
        lambda rows: float(np.mean(np.asarray(x)[rows])), len(x), clusters=c, **few()
    ),
}
UNCLUSTERED = {"Newcombe, paired"}


@pytest.mark.parametrize("name", ONE)
def test_nothing_is_refused_or_an_error(name):
    """Never a number, never a warning, never another error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = ONE[name](np.array([]), None)
        except StatsError:
            return
    assert found.value is None
    assert found.note


@pytest.mark.parametrize("name", sorted(set(ONE) - UNCLUSTERED))
def test_one_cluster_bounds_nothing(name):
    found = ONE[name](np.array([0.0, 1, 1, 0, 1]), ["a"] * 5)
    assert found.low is None
    assert found.high is None
    assert "cluster" in found.note


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("same", [0.0, 1.0])
def test_without_spread_it_is_a_whole_interval_or_says_why_not(name, same):
    found = ONE[name](np.full(12, same), np.repeat(np.arange(4), 3))
    assert isinstance(found, Interval)
    if found.value is None:
        assert found.note
    elif found.low is not None and found.high is not None:
        assert found.low <= found.value <= found.high
        assert all(map(math.isfinite, (found.low, found.value, found.high)))
        if name in ("mean", "mean, wild", "paired", "equivalence", "Brier", "log"):
            assert "no spread" in found.note


@pytest.mark.parametrize("name", sorted(set(ONE) - {"bootstrap"}))
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_an_error(name, bad):
    with pytest.raises(StatsError, match="NaN or infinite"):
        ONE[name](np.array([0.0, 1, bad, 1]), None)


@pytest.mark.parametrize("name", sorted(set(ONE) - UNCLUSTERED))
@pytest.mark.parametrize("clusters", [["a"], [None, "a", "b", "c"], ["a", 1, None, "b"]])
def test_labels_that_do_not_fit(name, clusters):
    with pytest.raises(StatsError, match="cluster label"):
        ONE[name](np.array([0.0, 1, 1, 0]), clusters)


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.paired_difference([1, 2], [1]),
        lambda: stats.equivalence([1, 2], [1], margin=1),
        lambda: stats.mcnemar([1, 0], [1]),
        lambda: stats.newcombe_paired([1, 0], [1]),
        lambda: stats.auroc([1, 2], [1]),
        lambda: stats.tpr_at_fpr([1, 2], [1], fpr=0.1),
        lambda: stats.brier_score([0.5, 0.5], [1]),
        lambda: stats.log_score([0.5, 0.5], [1]),
        lambda: stats.multiclass_brier([[0.5, 0.5]], [0, 1]),
        lambda: stats.multiclass_log([[0.5, 0.5]], [0, 1]),
        lambda: stats.calibration_error([0.5, 0.5], [1]),
        lambda: stats.pgr([[1, 0]], [[1]], [[1, 1]]),
        lambda: stats.pgr_fieller([1, 0], [1], [1, 1]),
        lambda: stats.recovered([[1, 0]], [[1, 0], [1, 0]], [[1, 1]]),
        lambda: stats.ground_truth_equivalent([1, 0], [(1, [0]), (2, [1])]),
    ],
)
def test_lengths_that_do_not_match(call):
    with pytest.raises(StatsError, match=r"\d"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: stats.auroc([0.1, 0.2, 0.3], bad),
        lambda bad: stats.tpr_at_fpr([0.1, 0.2, 0.3], bad, fpr=0.1),
        lambda bad: stats.mcnemar(bad, [1, 0, 1]),
        lambda bad: stats.newcombe_paired([1, 0, 1], bad),
        lambda bad: stats.risk_difference(bad, [1, 0, 1]),
        lambda bad: stats.risk_ratio([1, 0, 1], bad),
        lambda bad: stats.brier_score([0.1, 0.2, 0.3], bad),
        lambda bad: stats.log_score([0.1, 0.2, 0.3], bad),
        lambda bad: stats.calibration_error([0.1, 0.2, 0.3], bad, bins=1),
    ],
)
@pytest.mark.parametrize("bad", [[0, 1, 2], [0, 1, 0.5], [-1, 1, 1]])
def test_labels_other_than_zero_and_one(call, bad):
    with pytest.raises(StatsError, match="are not 0 or 1, the first is"):
        call(bad)


def test_clusters_of_one_are_no_clusters():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, 30), rng.random(30)
    names = [f"file {i}" for i in range(30)]
    assert stats.mean_interval(y, clusters=names) == stats.mean_interval(y)
    assert stats.brier_score(y, x, clusters=names) == stats.brier_score(y, x)
    assert stats.risk_ratio(x, x, clusters_a=names, clusters_b=names) == stats.risk_ratio(x, x)
    low, high = (stats.proportion_interval(x, clusters=c) for c in (names, None))
    assert (low.low, low.high) == pytest.approx((high.low, high.high))


def test_ties_everywhere():
    same, half = np.full(40, 0.5), np.r_[np.zeros(20), np.ones(20)]
    assert stats.auroc(same, half, draws=50).value == 0.5
    assert stats.tpr_at_fpr(same, half, fpr=0.2).tpr == pytest.approx(0.2)
    assert stats.calibration_error(same, half).value == 0.0
    assert stats.calibration_error(same, half, debiased=False).low == 0.0
    assert stats.threshold_at(same, fpr=0.1) == 0.5
    point = stats.operating_point(same, same, same, fpr=0.1, draws=50)
    assert (point.tpr.value, point.fpr.value) == (0.0, 0.0)
    assert stats.holm([0.02] * 4).tolist() == [0.08] * 4
    assert stats.benjamini_hochberg([0.02] * 4).tolist() == [0.02] * 4


@pytest.mark.parametrize("method", ["percentile", "basic", "bca", "studentised"])
def test_a_constant_statistic_has_no_width_or_is_refused(method):
    found = stats.bootstrap_interval(lambda rows: 3.0, 20, method=method, draws=50)
    if method == "studentised":
        assert "undefined" in found.note
    else:
        assert (found.low, found.value, found.high) == (3, 3, 3)
