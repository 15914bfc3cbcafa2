"""Accuracy, wrong conviction, proper scores and calibration of plays, with every failure kept in."""

import doctest
import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign import stats
from superalign.oversight.rows import UNREADABLE, episode_rows
from superalign.oversight.scores import accuracy, bits_gained, calibration, correct, equal_mass, mean_score, scores
from superalign.stats import StatsError

MODULES = ["rows", "scores", "linear", "incentives", "concordance", "costs", "agreement", "ratings", "contrasts"]
NAN = math.nan
FAST = settings(max_examples=40, deadline=None)
PLAYS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([0.0, 0.5, 1.0, NAN]), st.floats(0, 1)),
        st.sampled_from(["honest", "dishonest"]),
        st.integers(0, 4),
    ),
    min_size=3,
    max_size=40,
)


def plays(belief, side="none", cluster=None, **more):
    names = [f"q{i}" for i in range(len(belief))]
    return episode_rows(item=names, cluster=names if cluster is None else cluster, belief=belief, side=side, **more)


@pytest.mark.parametrize("module", MODULES)
def test_every_example_in_a_docstring_holds(module):
    result = doctest.testmod(importlib.import_module(f"superalign.oversight.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("belief", "failure", "right", "brier", "bits"),
    [
        (0.9, "", 1.0, -0.02, math.log2(0.9)),
        (0.5, "", 0.5, -0.5, -1.0),
        (0.25, "", 0.0, -1.125, -2.0),
        (1.0, "", 1.0, 0.0, math.log2(1 - 1e-4)),
        (0.0, "", 0.0, -2.0, math.log2(1e-4)),
        (NAN, "", 0.0, -0.5, -1.0),
        (0.9, "refused", 0.0, -0.5, -1.0),
        (NAN, "timeout", 0.0, -0.5, -1.0),
    ],
)
def test_each_play_scores_by_the_stated_conventions(belief, failure, right, brier, bits):
    rows = plays([belief], failure=[failure])
    assert scores(rows, "accuracy").tolist() == [right]
    assert scores(rows, "brier") == pytest.approx([brier], abs=1e-12)
    assert scores(rows, "log") == pytest.approx([bits], abs=1e-12)


def test_failures_are_counted_by_kind_and_stay_in_the_denominator():
    rows = plays([0.9, NAN, 0.8, 0.7, NAN], "dishonest", failure=["", "", "refused", "", "timeout"])
    found = accuracy(rows)
    assert rows.failures == {UNREADABLE: 1, "refused": 1, "timeout": 1}
    assert found.failures == rows.failures
    assert (found.overall.n, found.overall.value) == (5, pytest.approx(2 / 5))
    assert found.wrong_conviction.value == pytest.approx(3 / 5)


def test_a_judge_that_falls_silent_gains_nothing():
    """More failures never raise accuracy, nor lower wrong conviction."""
    belief = np.array([0.9, 0.5, 0.2, 0.8, 0.4, 0.6])
    before = accuracy(plays(belief, "dishonest"))
    for i in range(len(belief)):
        silent = belief.copy()
        silent[i] = NAN
        after = accuracy(plays(silent, "dishonest"))
        assert after.overall.value <= before.overall.value
        assert after.wrong_conviction.value >= before.wrong_conviction.value


@FAST
@given(PLAYS)
def test_accuracy_by_side_adds_up(rows):
    belief, side, cluster = (list(x) for x in zip(*rows, strict=True))
    found = accuracy(
        plays(belief, side, [f"c{c}" if len(set(cluster)) > 1 else f"c{i}" for i, c in enumerate(cluster)])
    )
    lied, told = side.count("dishonest"), side.count("honest")
    if lied and found.dishonest.value is not None:
        assert found.wrong_conviction.value == pytest.approx(1 - found.dishonest.value)
    if lied and told and None not in (found.dishonest.value, found.honest.value, found.balanced.value):
        assert found.balanced.value == pytest.approx((found.honest.value + found.dishonest.value) / 2)
        whole = (told * found.honest.value + lied * found.dishonest.value) / len(side)
        assert found.overall.value == pytest.approx(whole)
        if found.balanced.low is not None:
            assert 0 <= found.balanced.low <= found.balanced.value + 1e-12
            assert found.balanced.value - 1e-12 <= found.balanced.high <= 1
    if not (lied and told):
        assert found.balanced.value is None
        assert found.balanced.note


def test_balanced_accuracy_is_that_of_sides_and_not_of_plays():
    rows = plays([0.9, 0.9, 0.9, 0.1, 0.9, 0.2], ["honest"] * 4 + ["dishonest"] * 2)
    assert accuracy(rows).balanced.value == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_the_interval_of_balanced_accuracy_is_that_of_pairs_where_sides_come_in_pairs():
    """40 items, each played for both sides: the balanced mean is a mean over items, and stats knows its interval."""
    rng = np.random.default_rng(0)
    item = np.repeat([f"q{i}" for i in range(60)], 2)
    belief = rng.random(120)
    rows = episode_rows(item=item, cluster=item, belief=belief, side=["honest", "dishonest"] * 60)
    pairs = correct(rows).reshape(60, 2).mean(1)
    known, found = stats.mean_interval(pairs), accuracy(rows).balanced
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high), abs=1e-12)


def test_a_judge_that_believes_whoever_speaks_has_an_interval_with_width():
    """Consultancy with a gullible judge: right on every honest play, wrong on every dishonest one."""
    n = 50
    rows = plays([0.9] * n + [0.1] * n, ["honest"] * n + ["dishonest"] * n)
    found = accuracy(rows)
    assert (found.honest.value, found.dishonest.value, found.balanced.value) == (1, 0, 0.5)
    assert found.balanced.low < 0.5 - 0.01
    assert found.balanced.high > 0.5 + 0.01
    assert found.balanced.method == "square-and-add of exact ends"


@pytest.mark.parametrize("rule", ["accuracy", "brier", "log"])
def test_the_interval_is_clustered(rule):
    """Forty clusters of five copies are as good as forty plays, not as two hundred."""
    belief = np.random.default_rng(1).random(40)
    few = plays(belief)
    many = plays(np.repeat(belief, 5), cluster=np.repeat([f"c{i}" for i in range(40)], 5))
    one, other = mean_score(few, rule), mean_score(many, rule)
    assert other.value == pytest.approx(one.value)
    assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.05)


@FAST
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_two_options_have_the_brier_score_of_one(belief):
    found = scores(plays(belief), "brier")
    assert found == pytest.approx([-2 * (1 - p) ** 2 for p in belief], abs=1e-12)
    assert ((found >= -2) & (found <= 0)).all()


def test_many_options_score_all_of_them():
    options = [[0.5, 0.3, 0.2], [0.1, 0.9, 0.0]]
    rows = plays([0.6, 0.9], options=options, truth=[0, 1], sizes=[3, 2])
    assert scores(rows, "brier") == pytest.approx([-(0.25 + 0.09 + 0.04), -(0.01 + 0.01)])
    assert scores(rows, "log") == pytest.approx([-1, math.log2(0.9)])


def test_bits_are_gained_over_the_same_judge_on_the_same_plays():
    """Two seeds, both sides of a play averaged, in another order."""
    alone = episode_rows(
        item=["a", "b", "a", "b"], cluster=["f", "g"] * 2, seed=[0, 0, 1, 1], belief=[0.5, 0.25, 0.5, 1]
    )
    aided = episode_rows(
        item=["b", "b", "a", "a", "b", "a"], cluster=[*"ggffgf"], seed=[0, 0, 0, 0, 1, 1],
        side=["honest", "dishonest"] * 2 + ["both"] * 2, belief=[1, 0.25, 0.5, 0.125, 1, 0.25],
    )  # fmt: skip
    one = math.log2(1 - 1e-4)
    expected = np.mean([(one - 2) / 2 + 2, (-1 - 3) / 2 + 1, 0, -2 + 1])
    assert bits_gained(aided, alone).value == pytest.approx(expected)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, -1.0, NAN])
def test_epsilon_is_stated_and_sane(epsilon):
    with pytest.raises(StatsError, match="epsilon"):
        scores(plays([0.5]), "log", epsilon=epsilon)


def test_epsilon_bounds_what_one_play_can_cost():
    assert scores(plays([0.0]), "log", epsilon=0.01) == pytest.approx([math.log2(0.01)])
    with pytest.raises(StatsError, match="no rule"):
        scores(plays([0.5]), "sphere")


@FAST
@given(st.lists(st.floats(0, 1), min_size=20, max_size=60), st.integers(1, 10))
def test_reliability_resolution_uncertainty_and_width_add_up_to_the_squared_error(belief, bins):
    """Against a loop over the bins, events of both options."""
    found = calibration(plays(belief), bins=bins)
    p = np.concatenate([[b, 1 - b] for b in belief])
    y = np.tile([1.0, 0.0], len(belief))
    codes = equal_mass(p, bins)
    reliability = resolution = 0.0
    for b in set(codes.tolist()):
        here = codes == b
        reliability += here.sum() / len(p) * (p[here].mean() - y[here].mean()) ** 2
        resolution += here.sum() / len(p) * (y[here].mean() - y.mean()) ** 2
    assert (found.reliability, found.resolution) == pytest.approx((reliability, resolution), abs=1e-12)
    assert found.uncertainty == pytest.approx(0.25)
    assert found.squared_error == pytest.approx(-scores(plays(belief), "brier").mean() / 2)
    total = found.reliability - found.resolution + found.uncertainty + found.within
    assert total == pytest.approx(found.squared_error, abs=1e-12)
    plain = sum((codes == b).mean() * abs(p[codes == b].mean() - y[codes == b].mean()) for b in set(codes.tolist()))
    assert plain == pytest.approx(stats.calibration_error(p, y, bins=bins, debiased=False, draws=20).value, abs=1e-12)


def test_a_bin_of_one_belief_has_no_width_and_its_error_is_that_of_stats():
    belief = [0.75] * 40 + [0.25] * 20
    found = calibration(plays(belief), bins=4)
    assert found.within == pytest.approx(0, abs=1e-12)
    assert found.reliability == pytest.approx((0.75 - 2 / 3) ** 2)
    assert found.resolution == pytest.approx((2 / 3 - 0.5) ** 2)
    p, names = np.ravel([[b, 1 - b] for b in belief]), np.repeat(np.arange(60), 2)
    known = stats.calibration_error(p, np.tile([1, 0], 60), bins=4, clusters=names)
    assert (found.error.value, found.error.high) == pytest.approx((known.value, known.high))


def test_one_cluster_bounds_nothing():
    found = mean_score(plays([0.9, 0.2, 0.4], cluster="f"), "brier")
    assert found.value is None
    assert "cluster" in found.note
    assert accuracy(plays([0.9, 0.2], ["honest", "dishonest"], cluster="f")).balanced.low is None
