"""Cost per correct judgement, exchange rates, and what a budget reaches: against brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign import stats
from superalign.oversight.costs import cost_per_correct, icer, iso_budget
from superalign.oversight.linear import clustered_mean, linearised, ratio
from superalign.stats import StatsError

FAST = settings(max_examples=40, deadline=None)
PLAYS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=12)


def test_cost_per_correct_is_a_ratio_of_sums():
    rng = np.random.default_rng(0)
    cost, right = rng.exponential(size=100), rng.integers(0, 2, 100)
    found = cost_per_correct(cost, right, clusters=np.repeat(np.arange(50), 2))
    assert found.value == pytest.approx(cost.sum() / right.sum())
    assert 0 < found.low < found.value < found.high


def test_nothing_correct_has_no_finite_cost():
    found = cost_per_correct([1.0, 2.0], [0, 0])
    assert found.value is None
    assert found.note == "nothing is correct: no finite cost"


def test_the_interval_of_a_ratio_holds_what_is_true():
    """400 simulations, 60 clusters of 3, cost and success correlated; nominal 95 %."""
    rng, held, g = np.random.default_rng(1), 0, np.repeat(np.arange(60), 3)
    for _ in range(400):
        hard = rng.normal(size=60)[g]
        right = (0.5 * hard + rng.normal(size=180) < 0.6).astype(float)
        cost = np.exp(0.3 * hard + 0.3 * rng.normal(size=180))
        found = cost_per_correct(cost, right, clusters=g)
        held += found.low <= math.exp(0.09) / 0.7043 <= found.high
    assert 0.91 <= held / 400 <= 0.985


def test_a_ratio_of_ones_is_the_mean_and_few_clusters_leave_its_ends_open():
    x = np.random.default_rng(2).random(60)
    assert ratio(x, np.ones(60)).low == pytest.approx(stats.mean_interval(x).low)
    for found in (clustered_mean([1.0, 2.0]), linearised(1.5, np.array([-0.5, 0.5]), None)):
        assert (found.value, found.low, found.high) == (1.5, None, None)
        assert found.note
    assert clustered_mean([1.0, 2.0], ["a", "a"]).value is None
    assert ratio([1.0], [0.0]).note == "the denominator is 0"


def test_the_exchange_rate_is_cost_over_gain_and_refused_where_the_gain_is_noise():
    rng = np.random.default_rng(3)
    right0 = rng.random(300) < 0.6
    right = right0 | (rng.random(300) < 0.4)
    cost0, cost = rng.random(300), 3 + rng.random(300)
    found = icer(cost, right, cost0, right0)
    gain = right.mean() - right0.mean()
    assert found.gain.value == pytest.approx(gain)
    assert found.ratio.value == pytest.approx((cost.mean() - cost0.mean()) / gain)
    assert found.ratio.low < found.ratio.value < found.ratio.high
    none = icer(cost, rng.permutation(right0), cost0, right0)
    assert none.ratio.value is None
    assert none.ratio.note
    assert icer(cost, right0, cost0, right).ratio.value is None


def brute(cost, right, alone, paid, budget):
    """The best mean accuracy over all coins between two caps that the budget allows."""
    points = []
    for cap in sorted({0.0, *cost}):
        spent = sum(c if c <= cap else cap + p for c, p in zip(cost, paid, strict=True)) / len(cost)
        hit = sum(r if c <= cap else a for c, r, a in zip(cost, right, alone, strict=True)) / len(cost)
        points.append((spent, hit))
    best = max((y for x, y in points if x <= budget), default=math.nan)
    for (x, y), (z, w) in itertools.permutations(points, 2):
        if x <= budget < z:
            best = max(best, y + (budget - x) / (z - x) * (w - y))
    return best


@FAST
@given(PLAYS, st.floats(0, 8), st.sampled_from([0.0, 0.5]))
def test_the_curve_is_the_best_mixture_of_two_caps(plays, budget, price):
    cost, right, alone = (np.array(x, dtype=float) for x in zip(*plays, strict=True))
    (found,) = iso_budget(cost, right, [budget], unaided_correct=alone, unaided_cost=price, draws=5)
    expected = brute(cost.tolist(), right.tolist(), alone.tolist(), [price] * len(cost), budget)
    if math.isnan(expected):
        assert found.accuracy.value is None
        assert "under what the unaided judge costs" in found.accuracy.note
    elif found.accuracy.value is None:
        assert budget < price, "only a draw of plays that cost more can be out of reach where the sample is not"
    else:
        assert found.accuracy.value == pytest.approx(expected)


@FAST
@given(PLAYS)
def test_more_money_is_never_worse_and_gains_less_each_time(plays):
    cost, right, alone = (np.array(x, dtype=float) for x in zip(*plays, strict=True))
    curve = iso_budget(cost, right, np.linspace(0, 7, 15), unaided_correct=alone, draws=5)
    values = np.array([reach.accuracy.value for reach in curve])
    assert (np.diff(values) >= -1e-12).all()
    assert (np.diff(values, 2) <= 1e-9).all()
    assert values[0] >= alone[cost > 0].sum() / len(cost) - 1e-12
    assert values[-1] >= max(right.mean(), alone.mean() if (cost > 0).all() else 0) - 1e-12


def test_the_plan_it_names_reaches_what_it_says():
    cost, right, alone = np.array([1.0, 2.0, 4.0, 8.0]), np.ones(4), np.array([0.0, 1.0, 0.0, 0.0])
    (found,) = iso_budget(cost, right, [2.0], unaided_correct=alone, draws=20)
    at = []
    for cap in found.caps:
        stopped = cost > cap
        at.append((np.minimum(cost, cap).mean(), np.where(stopped, alone, right).mean()))
    mix = np.array([1 - found.share, found.share]) @ np.array(at)
    assert mix.tolist() == pytest.approx([2.0, found.accuracy.value])
    assert found.accuracy.low <= found.accuracy.value <= found.accuracy.high


BAD = [
    (lambda: cost_per_correct([1], [1, 0]), "1 and 2"),
    (lambda: cost_per_correct([-1.0], [1]), "at least 0"),
    (lambda: cost_per_correct([1.0], [2]), "between 0"),
    (lambda: cost_per_correct([math.nan], [1]), "NaN"),
    (lambda: cost_per_correct([], []), "no plays"),
    (lambda: icer([1.0], [1], [1.0, 2.0], [1, 0]), "same plays"),
    (lambda: iso_budget([1.0], [1], [1.0], unaided_correct=[1, 0]), "same plays"),
    (lambda: iso_budget([1.0], [1], [1.0], unaided_correct=[math.nan]), "NaN"),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_what_has_no_cost_is_an_error(call, says):
    with pytest.raises(StatsError, match=says):
        call()
