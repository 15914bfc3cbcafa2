"""Intervals over items and seeds: coverage by simulation, the analysis of variance, and what one seed can't say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign import stats
from superalign.oversight.linear import clustered_mean, ratio
from superalign.oversight.twoway import (
    ONE,
    crossed_linearised,
    crossed_mean,
    crossed_proportion,
    crossed_ratio,
    said,
    spread,
)
from superalign.stats import StatsError

FAST = settings(max_examples=25, deadline=None)


def labels(groups, seeds, size=1):
    """Clusters and seeds of a crossed design, one row a play."""
    cluster = np.tile(np.repeat(np.arange(groups), size), seeds)
    return cluster, np.repeat(np.arange(seeds), groups * size)


def drawn(rng, groups, seeds, size, *, by_seed, by_cluster=0.5, both=0.3, own=1.0):
    """Values of a crossed design with those standard deviations, and mean 0."""
    cluster, seed = labels(groups, seeds, size)
    parts = rng.normal(size=groups)[cluster] * by_cluster + rng.normal(size=seeds)[seed] * by_seed
    parts += rng.normal(size=(groups, seeds))[cluster, seed] * both
    return parts + rng.normal(size=len(cluster)) * own


def coverage(groups, seeds, by_seed, draws=600, size=3):
    """Share of intervals that hold the mean: over seeds too, and as if all rows were of one."""
    rng, (cluster, seed) = np.random.default_rng([groups, seeds, int(100 * by_seed)]), labels(groups, seeds, size)
    hit = np.zeros(2)
    for _ in range(draws):
        x = drawn(rng, groups, seeds, size, by_seed=by_seed)
        for i, found in enumerate((crossed_mean(x, cluster, seed), stats.mean_interval(x, clusters=cluster))):
            hit[i] += found.low <= 0 <= found.high
    return hit / draws


@pytest.mark.parametrize("by_seed", [0.0, 0.1, 0.3, 1.0])
def test_five_seeds_and_forty_clusters_cover_what_they_promise(by_seed):
    """Nominal 95 %; two errors of 600 draws are 1.8 points, and seeds that do not differ make it a little safer."""
    both, pooled = coverage(40, 5, by_seed)
    assert 0.92 <= both <= 0.985
    if by_seed >= 0.3:
        assert pooled < 0.8, "as if seeds did not differ, intervals are far too narrow"


def test_proportions_cover_too():
    """A judge that is right on .85 of the items, whose seeds differ by some points."""
    rng, (cluster, seed) = np.random.default_rng(3), labels(40, 5, 2)
    hits, draws = 0, 400
    for _ in range(draws):
        hard = drawn(rng, 40, 5, 2, by_seed=0.25)
        x = (hard < 1.2087 * 1.0).astype(float)  # P = Φ(1.2087/√(.25 + .09 + 1 + .0625)) = .8461
        found = crossed_proportion(x, cluster, seed)
        hits += found.low <= 0.8461 <= found.high
    assert 0.92 <= hits / draws <= 0.99


def test_two_seeds_hold_less_where_they_differ_most_and_the_note_says_so():
    both, pooled = coverage(40, 2, 0.5, draws=400)
    assert 0.82 < both < 0.95
    assert pooled < 0.6
    x = drawn(np.random.default_rng(0), 40, 2, 1, by_seed=0.5)
    assert "under 5 tell little" in crossed_mean(x, *labels(40, 2)).note


def test_the_spread_is_that_of_the_two_way_analysis_of_variance():
    rng = np.random.default_rng(1)
    groups, seeds = 12, 4
    x = drawn(rng, groups, seeds, 1, by_seed=1.0)
    table = x.reshape(seeds, groups)
    by_cluster, by_seed = table.mean(0), table.mean(1)
    rest = table - by_cluster - by_seed[:, None] + table.mean()
    squares = (
        seeds * by_cluster.var(ddof=1),
        groups * by_seed.var(ddof=1),
        (rest**2).sum() / ((groups - 1) * (seeds - 1)),
    )
    found = spread(x, *labels(groups, seeds))
    variance = squares[0] + squares[1] - squares[2]
    assert found.error**2 == pytest.approx(variance / (groups * seeds))
    doubt = sum(s**2 / df for s, df in zip(squares, (11, 3, 33), strict=True))
    assert found.df == pytest.approx(variance**2 / doubt)


def test_seeds_that_say_the_same_add_nothing():
    """Five copies of one run are the clustered interval of one: not a fifth of its variance."""
    once = np.random.default_rng(2).random(50)
    cluster, seed = labels(50, 5)
    found, known = crossed_mean(np.tile(once, 5), cluster, seed), stats.mean_interval(once)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert spread(np.tile(once, 5), cluster, seed).df == pytest.approx(49)


def test_items_that_say_the_same_leave_the_seeds():
    level = np.array([0.1, 0.4, 0.2, 0.3, 0.6])
    cluster, seed = labels(30, 5)
    found, known = crossed_mean(level[seed], cluster, seed), stats.mean_interval(level)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


@FAST
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(2, 6))
def test_neither_order_nor_names_matter_and_a_shift_moves_the_ends(number, groups, seeds):
    rng, (cluster, seed) = np.random.default_rng(number), labels(groups, seeds, 2)
    x = drawn(rng, groups, seeds, 2, by_seed=0.5)
    found, order = crossed_mean(x, cluster, seed), rng.permutation(len(x))
    other = crossed_mean(x[order] + 3, [f"c{c}" for c in cluster[order]], 7 + seed[order])
    assert (other.low, other.high) == pytest.approx((found.low + 3, found.high + 3))
    turned = crossed_mean(-x, cluster, seed)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert spread(x, cluster, seed).df >= 1


@FAST
@given(st.integers(0, 10_000), st.floats(0.02, 0.98))
def test_a_proportion_stays_within_its_ends(number, rate):
    rng, (cluster, seed) = np.random.default_rng(number), labels(10, 3)
    x = (rng.random(30) < rate).astype(float)
    found = crossed_proportion(x, cluster, seed)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_all_right_is_the_exact_interval_of_clusters():
    cluster, seed = labels(20, 5)
    found, known = crossed_proportion(np.ones(100), cluster, seed), stats.proportion_interval(np.ones(20))
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_one_seed_is_the_clustered_interval_and_says_so():
    rng = np.random.default_rng(4)
    x, cluster = rng.random(100), np.repeat(np.arange(50), 2)
    for found, known in (
        (crossed_mean(x, cluster, np.zeros(100)), clustered_mean(x, cluster)),
        (crossed_proportion(x, cluster, np.zeros(100)), stats.proportion_interval(x, clusters=cluster)),
        (crossed_ratio(x, x + 1, cluster, np.zeros(100)), ratio(x, x + 1, clusters=cluster)),
    ):
        assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high))
        assert found.note.endswith(ONE)


def test_a_ratio_varies_with_seeds():
    cluster, seed = labels(40, 5)
    rng = np.random.default_rng(5)
    top, bottom = 10 + rng.random(200) + 5 * (seed == 0), 1 + rng.random(200)
    found, pooled = crossed_ratio(top, bottom, cluster, seed), ratio(top, bottom, clusters=cluster)
    assert found.value == pytest.approx(top.sum() / bottom.sum())
    assert found.high - found.low > 2 * (pooled.high - pooled.low)
    assert crossed_ratio(top, np.zeros(200), cluster, seed).note == "the denominator is 0"


def test_ends_of_a_linearised_value_stay_in_their_range():
    cluster, seed = labels(4, 3)
    away = np.where(seed == 0, 2.0, -1.0)
    found = crossed_linearised(0.9, away, cluster, seed, least=-1.0, most=1.0)
    assert (found.low, found.value, found.high) == (-1.0, 0.9, 1.0)


@pytest.mark.parametrize(
    ("cluster", "seed", "says"),
    [
        ([0, 0, 0, 0], [0, 0, 1, 1], "1 clusters and 2 seeds"),
        ([0, 1, 0, 1], [0, 0, 0, 0], "2 clusters and 1 seeds"),
        ([0, 1, 0, 0], [0, 0, 1, 1], "1 of 4 pairs of cluster and seed hold no play"),
    ],
)
def test_what_is_not_crossed_is_an_error(cluster, seed, says):
    with pytest.raises(StatsError, match=says):
        spread([1.0, 2.0, 3.0, 4.0], cluster, seed)


def test_what_notes_say_of_seeds():
    assert [said(n) for n in (1, 3, 5)] == [
        ONE,
        "3 seeds are in the interval, and under 5 tell little of how seeds differ",
        "5 seeds are in the interval",
    ]
