"""PGR over seeds and clusters: its variance against analysis of variance, its closed form, what it refuses."""

import numpy as np
import pytest
from scipy import stats as reference

from superalign import stats
from superalign.stats.pgr import by_cluster, freedom, spread


def crossed(rng, seeds, groups, size, *, apart=0.0, items=0.0):
    """Values of seeds on the same items: (seeds, n) for weak, student and ceiling, and the labels (n,)."""
    labels = np.repeat(np.arange(groups), size)
    file = rng.normal(0, items, groups)[labels]
    sides = [
        [p + file + apart * rng.normal() + rng.normal(0, 0.2, groups * size) for _ in range(seeds)]
        for p in (0.5, 0.7, 0.9)
    ]
    return sides, labels


def test_the_spread_is_two_way_analysis_of_variance():
    """Balanced seeds × clusters: V = (MS_seeds + MS_clusters − MS_both) / (seeds · clusters)."""
    rng = np.random.default_rng(0)
    sides, labels = crossed(rng, 4, 9, 6, apart=0.1, items=0.1)
    sample = by_cluster(*sides, [labels] * 4)
    found, weak = spread(sample), np.array([[row[labels == g].mean() for g in range(9)] for row in sides[0]])
    rows, columns, mean = weak.mean(1), weak.mean(0), weak.mean()
    seeds, clusters = 9 * ((rows - mean) ** 2).sum() / 3, 4 * ((columns - mean) ** 2).sum() / 8
    both = ((weak - rows[:, None] - columns + mean) ** 2).sum() / 24
    alone = np.array([1.0, 0, 0])
    assert found.by_cluster[0, 0] == pytest.approx(clusters / 36)
    assert found.by_seed[0, 0] == pytest.approx(seeds / 36)
    assert found.noise[0, 0] == pytest.approx(both / 36)
    total = (clusters + seeds - both) / 36
    assert found.by_cluster[0, 0] + found.excess(alone) == pytest.approx(total)
    expected = total**2 / ((clusters / 36) ** 2 / 8 + (seeds / 36) ** 2 / 3 + (both / 36) ** 2 / 24)
    assert freedom(found, alone, sample) == pytest.approx(expected)


@pytest.mark.parametrize("same_items", [True, False])
@pytest.mark.parametrize("apart", [0.0, 0.1])
def test_the_spread_is_right_on_average(same_items, apart):
    """Over many samples the estimate is the variance of the mean, for seeds that share items or do not."""
    rng, means, estimates = np.random.default_rng(1), [], []
    for _ in range(1500):
        sides, labels = crossed(rng, 4, 8, 3, apart=apart, items=0.1)
        if not same_items:
            sides = [[row - row.mean() + 0.5 + rng.normal(0, 0.06) + apart * rng.normal() for row in sides[0]]] * 3
        clusters = [labels if same_items else [f"{i}/{g}" for g in labels] for i in range(4)]
        sample = by_cluster(*sides, clusters)
        found = spread(sample)
        means.append(sample.means[:, 0].mean())
        # without the cut at 0, which is there for single samples
        estimates.append(found.by_cluster[0, 0] + (found.by_seed - found.noise)[0, 0])
    assert np.mean(estimates) == pytest.approx(np.var(means), rel=0.12)


def test_seeds_that_share_nothing_are_a_plain_sample_of_seeds():
    rng = np.random.default_rng(2)
    sides = [[rng.normal(p, 0.2, 30) for _ in range(6)] for p in (0.5, 0.7, 0.9)]
    found = spread(by_cluster(*sides, None))
    alone = np.array([1.0, 0, 0])
    total = found.by_cluster[0, 0] + (alone @ (found.by_seed - found.noise) @ alone)
    assert total == pytest.approx(np.var([x.mean() for x in sides[0]], ddof=1) / 6, rel=0.01)


def test_fieller_of_one_seed_by_hand():
    rng = np.random.default_rng(3)
    weak, student, ceiling = (side[0] for side in crossed(rng, 1, 15, 8)[0])
    found = stats.pgr_fieller(weak, student, ceiling)
    top, bottom = student - weak, ceiling - weak
    cov, t = np.cov(top, bottom) / len(top), reference.t.ppf(0.975, len(top) - 1)
    # the ends are where (top − r · bottom) is exactly t standard errors from 0
    for r in (found.low, found.high):
        error = np.sqrt(cov[0, 0] - 2 * r * cov[0, 1] + r**2 * cov[1, 1])
        assert abs(top.mean() - r * bottom.mean()) == pytest.approx(t * error)


def test_fieller_takes_seeds_as_rows():
    rng = np.random.default_rng(4)
    sides, labels = crossed(rng, 5, 12, 6, apart=0.05)
    found = stats.pgr_fieller(*map(np.array, sides), clusters=labels)
    whole = stats.recovered(*sides, clusters=[labels] * 5, draws=300)
    assert found == whole.fieller
    assert found.method == "Fieller, seeds and clusters"
    assert whole.value.value == pytest.approx(found.value)
    blind = stats.pgr_fieller(*(np.mean(side, axis=0) for side in sides), clusters=labels)
    assert found.high - found.low > 1.2 * (blind.high - blind.low)


def test_the_three_accuracies_hold_the_seeds_too():
    rng = np.random.default_rng(5)
    sides, labels = crossed(rng, 5, 12, 6, apart=0.1)
    found = stats.recovered(*sides, clusters=[labels] * 5, draws=100)
    for part, side in zip((found.weak, found.student, found.ceiling), sides, strict=True):
        assert part.value == pytest.approx(np.mean(side))
        alone = stats.mean_interval(np.mean(side, axis=0), clusters=labels)
        assert part.high - part.low > alone.high - alone.low
    one = stats.recovered([sides[0][0]], [sides[1][0]], [sides[2][0]], clusters=[labels], draws=100)
    expected = stats.mean_interval(sides[0][0], clusters=labels)
    assert (one.weak.low, one.weak.high) == pytest.approx((expected.low, expected.high))


def test_seeds_that_do_not_differ_add_nothing_and_those_that_do_widen():
    rng = np.random.default_rng(6)
    widths = {}
    for apart in (0.0, 0.02, 0.1):
        sides, labels = crossed(rng, 6, 30, 6, apart=apart)
        found = stats.pgr(*sides, clusters=[labels] * 6, draws=500)
        widths[apart] = found.high - found.low
    assert widths[0.0] < widths[0.02] < widths[0.1]


@pytest.mark.parametrize(("seeds", "says"), [(1, "no noise of seeds"), (2, "hardly show"), (3, "")])
def test_few_seeds_are_said(seeds, says):
    sides, labels = crossed(np.random.default_rng(7), seeds, 20, 6, apart=0.01)
    found = stats.recovered(*sides, clusters=[labels] * seeds, draws=100)
    for part in (found.value, found.fieller):
        assert says in part.note
        assert bool(part.note) == bool(says)


def test_the_same_seed_draws_the_same():
    sides, labels = crossed(np.random.default_rng(8), 3, 20, 6)
    options = {"clusters": [labels] * 3, "draws": 200}
    assert stats.pgr(*sides, seed=1, **options) == stats.pgr(*sides, seed=1, **options)
    assert stats.pgr(*sides, seed=1, **options) != stats.pgr(*sides, seed=2, **options)


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.pgr([[]], [[]], [[]]),
        lambda: stats.pgr([[1, 0]], [[1, 0]], [[1, 1]], clusters=[]),
        lambda: stats.pgr_fieller([], [], []),
        lambda: stats.pgr_fieller([[1, 0], [1, 0]], [[1, 0]], [[1, 1]]),
    ],
)
def test_bad_seeds(call):
    with pytest.raises(stats.StatsError, match=r"\w"):
        call()
