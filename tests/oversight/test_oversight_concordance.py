"""Rewards against values over any behaviours: sums written out, pairs counted, the best of many not trusted."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.oversight.concordance import concordance, frontier_gap, graded_difference, label_efficiency
from superalign.oversight.incentives import arms
from superalign.oversight.rows import episode_rows
from superalign.stats import StatsError

FAST = settings(max_examples=40, deadline=None)
PAIRS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=30)


def graded(values, rewards, slope):
    mean = sum(values) / len(values)
    total = sum((v - mean) * u for v, u in zip(values, rewards, strict=True))
    return total / sum((v - mean) ** 2 for v in values) if slope else total


@pytest.mark.parametrize("slope", [True, False])
def test_the_graded_difference_is_the_sum_written_out(slope):
    rng = np.random.default_rng(7)
    value, reward = rng.random((50, 4)), rng.normal(size=(50, 4))
    expected = [graded(v, u, slope) for v, u in zip(value.tolist(), reward.tolist(), strict=True)]
    found = graded_difference(value, reward, slope=slope)
    assert found.value == pytest.approx(sum(expected) / 50, abs=1e-9)


@FAST
@given(PAIRS)
def test_with_two_sides_the_graded_difference_is_the_difference(pairs):
    names = np.repeat([f"q{i}" for i in range(len(pairs))], 2)
    side = ["honest", "dishonest"] * len(pairs)
    played = arms(episode_rows(item=names, cluster=names, side=side, belief=np.ravel(pairs)), "brier")
    reward = np.column_stack([played.honest, played.dishonest])
    ones = np.ones(len(pairs))
    mean = played.difference.mean()
    assert graded_difference(np.column_stack([ones, -ones]), reward, slope=False).value == pytest.approx(mean)
    assert graded_difference(np.column_stack([ones, 0 * ones]), reward).value == pytest.approx(mean)


@pytest.mark.parametrize("values", [3, 2])
def test_concordance_counts_pairs_on_one_item(values):
    rng = np.random.default_rng(values)
    value, reward = rng.integers(0, values, (60, 4)), rng.integers(0, 3, (60, 4))
    won = pairs = 0.0
    for v, u in zip(value.tolist(), reward.tolist(), strict=True):
        for i in range(4):
            for j in range(4):
                if v[i] > v[j]:
                    pairs += 1
                    won += 1.0 if u[i] > u[j] else 0.5 if u[i] == u[j] else 0.0
    found = concordance(value, reward)
    assert found.value == pytest.approx(won / pairs, abs=1e-9)
    assert 0 <= found.low < found.value < found.high <= 1
    assert concordance(value, value).value == 1
    assert concordance(value, -value).value == 0
    assert concordance(np.ones((5, 2)), np.ones((5, 2))).note == "no item has behaviours of two values"


def test_label_efficiency_is_one_over_what_the_reward_leaves_unexplained():
    rng = np.random.default_rng(9)
    value = rng.normal(size=(80, 3))
    reward = value + rng.normal(size=(80, 3)) + 5 * rng.normal(size=(80, 1))
    rho = np.corrcoef(value.ravel(), reward.ravel())[0, 1]
    found = label_efficiency(value, reward, draws=100)
    assert found.value == pytest.approx(1 / (1 - rho**2))
    assert found.low <= found.value <= found.high
    v, u = (x - x.mean(1, keepdims=True) for x in (value, reward))
    within = np.corrcoef(v.ravel(), u.ravel())[0, 1]
    assert label_efficiency(value, reward, within=True, draws=50).value == pytest.approx(1 / (1 - within**2))
    assert label_efficiency(value, 2 * value, draws=50).value is None


def test_the_frontier_compares_the_best_and_says_how_they_were_chosen():
    rng = np.random.default_rng(11)
    reward = rng.normal([0.0, 2.0, 0.2, 1.2, -1.0], size=(100, 5))
    good, held = [True, True, False, False, False], np.arange(100) % 2 == 0
    found = frontier_gap(reward, good, held=held)
    assert (found.good, found.bad) == (1, 3)
    assert found.gap.value == pytest.approx((reward[held, 1] - reward[held, 3]).mean())
    assert "chosen on" not in found.gap.note
    assert "chosen on the items that measure it" in frontier_gap(reward, good).gap.note


def test_the_best_of_many_equals_is_not_ahead_where_it_was_not_chosen():
    """Forty bad strategies as good as the only good one: chosen and measured together, the bad ones look better."""
    rng = np.random.default_rng(13)
    gaps = {"together": [], "held": []}
    for _ in range(40):
        reward = rng.normal(size=(80, 41))
        good = [True] + [False] * 40
        gaps["together"].append(frontier_gap(reward, good).gap.value)
        gaps["held"].append(frontier_gap(reward, good, held=np.arange(80) < 40).gap.value)
    assert np.mean(gaps["together"]) < -0.15
    assert abs(np.mean(gaps["held"])) < 0.12


@pytest.mark.parametrize(
    "call",
    [
        lambda: graded_difference([[1, 1]], [[0, 1]]),
        lambda: graded_difference([[1, 0]], [[0, math.nan]]),
        lambda: concordance([[1, 0]], [[1, 0], [1, 0]]),
        lambda: concordance([1, 0], [1, 0]),
        lambda: concordance(np.ones((0, 2)), np.ones((0, 2))),
        lambda: frontier_gap([[1, 0]], [True, True]),
        lambda: frontier_gap([[1, 0]] * 3, [True, False], held=[True] * 3),
        lambda: frontier_gap([[1, 0]] * 3, [True, False], held=[False] * 3),
    ],
)
def test_what_cannot_be_compared_is_an_error(call):
    with pytest.raises(StatsError):
        call()
