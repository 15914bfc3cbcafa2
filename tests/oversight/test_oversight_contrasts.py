"""Contrasts between protocols and controls: paired, clustered, corrected."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from superalign import stats
from superalign.oversight.contrasts import VERDICTS, contrasts
from superalign.oversight.incentives import arms
from superalign.oversight.rows import episode_rows
from superalign.oversight.scores import scores
from superalign.oversight.twoway import crossed_mean, spread
from superalign.stats import StatsError

FAST = settings(max_examples=30, deadline=None)


def plays(belief, clusters=40, **more):
    n = len(belief)
    return episode_rows(
        item=[f"q{i}" for i in range(n)], cluster=[f"c{i % clusters}" for i in range(n)], belief=belief, **more
    )


def board(seed=0, n=200, clusters=40, shifts=(0.0, 0.3, -0.3)):
    """Unaided and one protocol a shift of the judge's log-odds."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=n)
    rows = {"unaided": plays(1 / (1 + np.exp(-(0.5 + hard + rng.normal(size=n)))), clusters)}
    for i, shift in enumerate(shifts):
        rows[f"p{i}"] = plays(1 / (1 + np.exp(-(0.5 + 6 * shift + hard + rng.normal(size=n)))), clusters)
    return rows


@pytest.mark.parametrize("clusters", [100, 40, 39, 12])
@pytest.mark.parametrize("measure", ["accuracy", "brier", "log"])
def test_the_interval_is_that_of_stats(measure, clusters):
    """t from forty clusters on, the wild bootstrap under them: equal to the last digit."""
    rows = board(clusters=clusters)
    first, second = scores(rows["p1"], measure), scores(rows["unaided"], measure)
    known = stats.paired_difference(first, second, clusters=rows["p1"].cluster, method="rule")
    found = next(c for c in contrasts(rows, measure=measure) if c.protocol == "p1")
    assert found.estimate == pytest.approx((first - second).mean())
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert found.method == known.method
    assert found.method.startswith("wild") == (clusters < 40)
    assert (found.plays, found.clusters, found.family) == (200, clusters, "primary")


@FAST
@given(st.integers(0, 10_000), st.sampled_from([40, 15]), st.sampled_from([0.9, 0.95, 0.99]))
def test_p_is_under_the_level_where_the_interval_leaves_out_zero(seed, clusters, level):
    for found in contrasts(board(seed, n=80, clusters=clusters), level=level):
        if found.low is not None and min(abs(found.low), abs(found.high)) > 1e-6:
            assert (found.p <= 1 - level) == (found.low > 0 or found.high < 0)
        assert found.p_holm >= found.p - 1e-15
        assert found.verdict in VERDICTS


def test_p_of_t_is_the_usual_one_where_plays_are_their_own_clusters():
    rows = board(clusters=200, shifts=(0.0, 0.02, 0.05))
    for found in contrasts(rows, measure="brier"):
        a, b = scores(rows[found.protocol], "brier"), scores(rows["unaided"], "brier")
        assert found.p == pytest.approx(reference.ttest_rel(a, b).pvalue, rel=1e-9, abs=0)


def test_holm_is_over_the_primary_family_and_the_rest_is_exploratory():
    rows = board(1, shifts=(0.05, 0.1, 0.15, 0.2))
    everything = contrasts(rows)
    assert [c.p_holm for c in everything] == pytest.approx(stats.holm([c.p for c in everything]).tolist())
    found = contrasts(rows, [("p2", "unaided"), ("p3", "p2")])
    assert [(c.protocol, c.control, c.family) for c in found] == [
        ("p2", "unaided", "primary"), ("p3", "p2", "primary"), ("p0", "unaided", "exploratory"),
        ("p1", "unaided", "exploratory"), ("p3", "unaided", "exploratory"),
    ]  # fmt: skip
    assert [c.p_holm for c in found[:2]] == pytest.approx(stats.holm([c.p for c in found[:2]]).tolist())
    rest = stats.benjamini_hochberg([c.p for c in found[2:]]).tolist()
    assert [c.p_bh for c in found[2:]] == pytest.approx(rest)
    assert all(c.p_bh is None for c in found[:2])
    assert all(c.p_holm is None for c in found[2:])


def test_a_verdict_needs_the_corrected_p():
    """A difference that shows alone no longer does among twenty that are looked at."""
    rng = np.random.default_rng(2)
    alone = rng.random(200) < 0.6
    better = alone | (rng.random(200) < 0.06)
    rows = {"unaided": plays(np.where(alone, 0.9, 0.1)), "p": plays(np.where(better, 0.9, 0.1))}
    (found,) = contrasts(rows)
    assert found.p < 0.05
    assert found.verdict == "better"
    many = rows | {f"same {i}": rows["unaided"] for i in range(20)}
    crowd = {c.protocol: c for c in contrasts(many)}
    assert crowd["p"].p == found.p
    assert crowd["p"].p_holm == pytest.approx(min(1, 21 * found.p))
    assert (crowd["p"].verdict == "better") == (21 * found.p <= 0.05)
    assert crowd["p"].verdict == "not told"


def test_every_verdict_can_be_reached():
    rng = np.random.default_rng(3)
    alone = np.where(rng.random(2000) < 0.6, 0.9, 0.1)
    flipped = alone.copy()
    flipped[:4] = 1 - flipped[:4]
    rows = {
        "unaided": plays(alone, 400),
        "oracle": plays(np.full(2000, 0.9), 400),
        "liar": plays(np.full(2000, 0.1), 400),
        "same": plays(alone, 400),
        "near": plays(flipped, 400),
        "noise": plays(np.where(rng.random(2000) < 0.6, 0.9, 0.1), 400),
    }
    found = {c.protocol: c for c in contrasts(rows)}
    assert {name: c.verdict for name, c in found.items()} == {
        "oracle": "better", "liar": "worse", "same": "equivalent", "near": "equivalent", "noise": "not told",
    }  # fmt: skip
    assert found["same"].p == 1
    assert found["near"].p_equivalence < 0.05 < found["noise"].p_equivalence


def test_equivalence_is_corrected_as_differences_are():
    """Alike by itself, and no longer among twenty that are looked at; the family's p is Holm's, or the other one's."""
    alone = np.where(np.random.default_rng(8).random(400) < 0.6, 0.9, 0.1)
    rows = {"unaided": plays(alone, 200), "same": plays(alone, 200)}
    (found,) = contrasts(rows)
    assert found.p_equivalence == pytest.approx(0.98**200)
    assert found.verdict == "equivalent"
    noise = {f"p{i}": plays(np.random.default_rng(i).permutation(alone), 200) for i in range(19)}
    for primary, correct in ((None, stats.holm), ((), stats.benjamini_hochberg)):
        crowd = contrasts(rows | noise, primary)
        assert [c.p_same for c in crowd] == pytest.approx(correct([c.p_equivalence for c in crowd]).tolist())
        assert next(c for c in crowd if c.protocol == "same").verdict == "not told"


def test_equivalence_is_that_of_stats_and_under_forty_clusters_of_the_wild_interval_too():
    rng = np.random.default_rng(4)
    for clusters, seed in itertools.product((100, 20), range(4)):
        alone = np.where(rng.random(600) < 0.7, 0.8, 0.3)
        other = np.where(rng.random(600) < 0.01 * (seed + 1), 1.1 - alone, alone)
        rows = {"unaided": plays(alone, clusters), "p": plays(other, clusters)}
        a, b = (scores(rows[name], "accuracy") for name in ("p", "unaided"))
        known = stats.equivalence(a, b, margin=0.02, clusters=rows["p"].cluster)
        wild = stats.paired_difference(a, b, clusters=rows["p"].cluster, level=0.9, method="rule")
        (found,) = contrasts(rows, margin=0.02)
        assert found.p_equivalence >= known.p - 1e-12
        if clusters == 100:
            assert found.p_equivalence == pytest.approx(known.p)
        inside = clusters == 100 or (wild.low is not None and wild.low > -0.02 and wild.high < 0.02)
        if found.verdict not in ("better", "worse"):
            assert (found.verdict == "equivalent") == (known.shown and inside)


def test_twelve_unlike_clusters_are_not_called_equivalent_by_t_alone():
    """Six differences in 511 plays, all one way: t lies inside the margin, the wild interval does not."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(12), np.maximum(2, rng.lognormal(2.5, 1, 12)).astype(int))
    off = rng.random(len(cluster)) < 0.012
    names = [f"q{i}" for i in range(len(cluster))]
    rows = {
        name: episode_rows(item=names, cluster=cluster, belief=belief)
        for name, belief in (("unaided", np.full(len(off), 0.9)), ("p", np.where(off, 0.1, 0.9)))
    }
    a, b = (scores(rows[name], "accuracy") for name in ("p", "unaided"))
    assert stats.equivalence(a, b, margin=0.02, clusters=cluster).shown
    assert contrasts(rows)[0].verdict == "not told"


@FAST
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_plays_does_not_matter_and_sides_can_be_swapped(seed, shuffle):
    rows = board(seed, n=80, shifts=(0.1,))
    order = list(range(80))
    shuffle.shuffle(order)
    p = rows["p0"]
    mixed = episode_rows(item=p.item[order], cluster=p.cluster[order], belief=p.belief[order])
    (one,), (other,) = contrasts(rows), contrasts(rows | {"p0": mixed})
    assert (one.estimate, one.low, one.p) == pytest.approx((other.estimate, other.low, other.p))
    (turned,) = contrasts(rows, [("unaided", "p0")])[:1]
    assert (turned.estimate, turned.low, turned.high) == pytest.approx((-one.estimate, -one.high, -one.low))
    assert turned.p == pytest.approx(one.p)
    pair = {"better": "worse", "worse": "better"}
    assert turned.verdict == pair.get(one.verdict, one.verdict)


def test_both_sides_of_a_play_count_half_against_one_judgement():
    """The liar's play and the honest one are averaged before they meet the unaided judge."""
    n = 50
    item = np.repeat([f"q{i}" for i in range(n)], 2)
    two = episode_rows(item=item, cluster=item, side=["honest", "dishonest"] * n, belief=[0.9, 0.1] * n)
    names = item[::2]
    one = episode_rows(item=names, cluster=names, belief=np.where(np.arange(n) < 30, 0.9, 0.1))
    (found,) = contrasts({"unaided": one, "consultancy": two})
    assert found.estimate == pytest.approx(0.5 - 0.6)
    assert found.plays == n


def seeded(values, n=60):
    """Plays of n items with three seeds."""
    item, seed = np.tile([f"q{i}" for i in range(n)], 3), np.repeat([0, 1, 2], n)
    return episode_rows(item=item, cluster=item, seed=seed, belief=values)


def test_seeds_pair_with_seeds_and_are_in_the_interval():
    a, b = np.random.default_rng(6).random((2, 180))
    rows = {"unaided": seeded(b), "p": seeded(a)}
    (found,) = contrasts(rows, measure="brier")
    difference = scores(rows["p"], "brier") - scores(rows["unaided"], "brier")
    known = crossed_mean(difference, rows["p"].cluster, rows["p"].seed)
    assert (found.plays, found.clusters, found.method) == (180, 60, "two-way t")
    assert (found.estimate, found.low, found.high) == pytest.approx((known.value, known.low, known.high))
    assert "3 seeds are in the interval" in found.note
    error = spread(difference, rows["p"].cluster, rows["p"].seed)
    assert found.p == pytest.approx(2 * reference.t.sf(abs(known.value) / error.error, error.df))
    assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)


def test_what_one_seed_is_better_by_is_no_verdict():
    """A third of the seeds does all the good: pooled it is told apart, and seeds that might be drawn may do none."""
    base = np.random.default_rng(9).random(60) < 0.5
    lucky = np.concatenate([base | (np.random.default_rng(10).random(60) < 0.6), base, base])
    rows = {"unaided": seeded(np.where(np.tile(base, 3), 0.9, 0.1)), "p": seeded(np.where(lucky, 0.9, 0.1))}
    (found,) = contrasts(rows)
    pooled = stats.paired_difference(
        scores(rows["p"], "accuracy"), scores(rows["unaided"], "accuracy"), clusters=rows["p"].cluster
    )
    assert pooled.low > 0
    assert found.low < 0
    assert found.verdict == "not told"


def test_two_seeds_that_disagree_bound_an_accuracy_by_what_it_can_be():
    item, seed = np.tile([f"q{i}" for i in range(60)], 2), np.repeat([0, 1], 60)
    rows = {
        name: episode_rows(item=item, cluster=item, seed=seed, belief=np.where(seed == 0, first, second))
        for name, first, second in (("unaided", 0.1, 0.1), ("p", 0.9, 0.1))
    }
    (found,) = contrasts(rows)
    assert (found.low, found.estimate, found.high) == (-1.0, 0.5, 1.0)
    assert found.verdict == "not told"
    assert contrasts(rows, measure="brier")[0].high > 1.5


def test_seeds_that_all_agree_have_a_test_without_spread():
    rows = {"unaided": seeded(np.full(180, 0.1)), "p": seeded(np.full(180, 0.9)), "same": seeded(np.full(180, 0.1))}
    found = {c.protocol: c for c in contrasts(rows)}
    assert found["p"].p == pytest.approx(2.0**-59)
    assert found["p"].verdict == "better"
    assert found["same"].p == 1
    assert found["same"].p_equivalence == pytest.approx(0.98**60)


def test_a_failed_judgement_counts_against_its_protocol():
    belief = np.full(80, 0.9)
    silent = np.where(np.arange(80) < 30, math.nan, belief)
    (found,) = contrasts({"unaided": plays(belief), "p": plays(silent)})
    assert found.estimate == pytest.approx(-30 / 80)
    assert found.verdict == "worse"


def test_score_differences_can_be_compared_as_well():
    rows = board(7, shifts=(0.2,))
    (found,) = contrasts(rows, measure="asd", margin=0.05)
    expected = arms(rows["p0"], "brier").difference.mean() - arms(rows["unaided"], "brier").difference.mean()
    assert found.estimate == pytest.approx(expected)


def test_a_difference_without_spread_has_the_p_of_a_sign_test():
    """Five clusters that all differ by one: 2^-4, and no certainty."""
    rows = {"unaided": plays(np.full(20, 0.1), 5), "p": plays(np.full(20, 0.9), 5)}
    (found,) = contrasts(rows)
    assert (found.estimate, found.p, found.verdict) == (1.0, 2**-4, "not told")
    (many,) = contrasts({"unaided": plays(np.full(40, 0.1)), "p": plays(np.full(40, 0.9))})
    assert many.p == pytest.approx(2**-39)
    assert many.verdict == "better"


BAD = [
    ({"unaided": plays([0.5, 0.6])}, {}, "nothing to compare"),
    ({"debate": plays([0.5, 0.6])}, {}, "no rows of unaided"),
    (board(), {"primary": [("p0", "oracle")]}, "no rows of oracle"),
    (board(), {"primary": [("p0", "unaided")] * 2}, "once"),
    (board(), {"primary": [("p0", "p0")]}, "another one"),
    (board(), {"measure": "elo"}, "no measure 'elo'"),
    (board(), {"margin": 0.0}, "margin"),
    (board(), {"level": 1.0}, "level"),
    (board(clusters=1), {}, "1 clusters"),
    ({"unaided": plays([0.5, 0.6]), "p": plays([0.5])}, {}, "lacks 1 that it has"),
]


@pytest.mark.parametrize(("rows", "more", "says"), BAD)
def test_what_cannot_be_compared_is_an_error(rows, more, says):
    with pytest.raises(StatsError, match=says):
        contrasts(rows, **more)


def test_without_primary_pairs_all_are_exploratory():
    found = contrasts(board(), primary=())
    assert {each.family for each in found} == {"exploratory"}
    assert all(each.p_holm is None and each.p_bh is not None for each in found)
