"""What stays unseen: against linear programmes over all laws, exact bounds, and simulated clusters."""

import numpy as np
import pytest
from scipy.optimize import linprog

from superalign.stats import StatsError, binomial_interval, intraclass_correlation
from superalign.stats.unseen import icc_at_most, none_met


def largest(k, share, icc, points=1501):
    """max E(1 − s)^k over laws of s on a grid of [0, 1] with that mean and at most that correlation."""
    s = np.linspace(0, 1, points)
    second = share**2 + icc * share * (1 - share)
    found = linprog(
        -((1 - s) ** k), A_ub=[s**2], b_ub=[second], A_eq=[np.ones(points), s], b_eq=[1, share], bounds=(0, 1)
    )
    assert found.success
    return -found.fun


@pytest.mark.parametrize("k", [1, 2, 7, 60])
@pytest.mark.parametrize("icc", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("share", [0.01, 0.2])
def test_no_law_of_clusters_hides_more(k, icc, share):
    bound = none_met([k], share, icc)
    assert bound == pytest.approx(largest(k, share, icc), abs=2e-4)


def test_clusters_of_unlike_sizes_multiply():
    assert none_met([3, 40], 0.05, 0.2) == pytest.approx(none_met([3], 0.05, 0.2) * none_met([40], 0.05, 0.2))


@pytest.mark.parametrize("groups", [5, 45, 299])
def test_whole_clusters_are_bounded_as_clopper_and_pearson_do(groups):
    share = binomial_interval(0, groups, level=0.9).high
    assert none_met([7] * groups, share, 1.0) == pytest.approx(0.05)


def test_independent_items_are_one_trial_each_and_correlation_hides_more():
    sizes = [10] * 30
    assert none_met(sizes, 0.01, 0.0) == pytest.approx(0.99**300)
    chances = [none_met(sizes, 0.01, icc) for icc in np.linspace(0, 1, 21)]
    assert chances == sorted(chances)
    assert none_met(sizes, 0.0, 0.0) == none_met(sizes, 0.0, 0.4) == 1.0
    assert none_met(sizes, 1.0, 0.4) == 0.0


@pytest.mark.parametrize(
    ("sizes", "share", "icc"), [([], 0.1, 0.1), ([0], 0.1, 0.1), ([2], 1.1, 0.1), ([2], 0.1, -0.1)]
)
def test_what_is_no_share_is_refused(sizes, share, icc):
    with pytest.raises(StatsError, match="lie in"):
        none_met(sizes, share, icc)


@pytest.mark.parametrize("icc", [0.0, 0.1, 0.5])
def test_the_upper_end_holds_as_often_as_it_says(icc):
    rng, clusters, kept = np.random.default_rng(3), np.repeat(np.arange(25), 8), 0
    for _ in range(400):
        x = np.sqrt(icc) * rng.normal(size=25)[clusters] + np.sqrt(1 - icc) * rng.normal(size=200)
        found = icc_at_most(x, clusters, level=0.9)
        assert found >= min(1.0, max(0.0, intraclass_correlation(x, clusters)))
        kept += found >= icc
    assert (0.86 <= kept / 400 <= 0.94) or (icc == 0 and kept == 400)


def test_where_nothing_tells_the_correlation_it_may_be_whole():
    assert icc_at_most(np.ones(30), np.arange(30) // 3) == 1.0
    assert icc_at_most(np.arange(30.0), np.arange(30)) == 1.0
    assert icc_at_most((np.arange(30) // 3) % 2, np.arange(30) // 3) == 1.0
    with pytest.raises(StatsError, match="needs two"):
        icc_at_most([0.0, 1.0], ["a", "a"])
    with pytest.raises(StatsError, match="level"):
        icc_at_most([0.0, 1.0, 1.0, 1.0], ["a", "a", "b", "b"], level=1.0)
