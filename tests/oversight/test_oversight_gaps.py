"""Gaps between generator, discriminator and critic, and uplift: against brute force, and against simulations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign import stats
from superalign.oversight.gaps import (
    ONE_SEED,
    area,
    combined,
    critic,
    crossed,
    dc_gap,
    flags_of,
    generator,
    over_reliance,
    own_flaws,
    paired_accuracy,
    rate,
    uplift,
    verdicts,
)
from superalign.oversight.linear import linearised
from superalign.stats import StatsError

FAST = settings(max_examples=15, deadline=None)
BITS = st.integers(0, 1)


def grid(seeds, items):
    """Clusters and seeds of rows that all seeds share."""
    return {"clusters": np.tile(np.arange(items), seeds), "seeds": np.repeat(np.arange(seeds), items)}


# -- items × seeds


def test_without_seeds_it_is_the_clustered_interval():
    away = np.random.default_rng(0).normal(size=120)
    away -= away.mean()
    clusters = np.repeat(np.arange(60), 2)
    assert crossed(0.3, away, clusters) == linearised(0.3, away, clusters)


def test_one_seed_says_that_it_is_one():
    away = np.tile([-0.5, 0.5], 40)
    found = crossed(0.5, away, np.arange(80), np.zeros(80, dtype=int))
    assert found.note == ONE_SEED
    assert (found.low, found.high) == (linearised(0.5, away, None).low, linearised(0.5, away, None).high)


def test_seeds_that_answer_alike_add_nothing():
    once = np.random.default_rng(1).integers(0, 2, 60).astype(float)
    once -= once.mean()
    alone = stats.mean_interval(once)
    found = crossed(0.0, np.tile(once, 5), **grid(5, 60))
    assert found.low == pytest.approx(alone.low)
    assert found.high == pytest.approx(alone.high)
    assert found.clusters == 60


def test_seeds_that_differ_widen_and_few_of_them_cost_degrees_of_freedom():
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(5, 200))
    apart = noise + 3 * rng.normal(size=(5, 1))
    widths = []
    for values in (noise, apart):
        away = (values - values.mean()).ravel()
        found = crossed(0.0, away, **grid(5, 200))
        widths.append(found.high - found.low)
    assert widths[1] > 8 * widths[0]
    by_seed = stats.mean_interval(apart.mean(1))
    assert widths[1] == pytest.approx(by_seed.high - by_seed.low, rel=0.05)


def test_the_two_way_interval_holds_what_is_true():
    """300 simulations, 50 texts read by 5 seeds, both with effects of their own; nominal 95 %."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(300):
        values = rng.normal(size=(1, 50)) + 0.3 * rng.normal(size=(5, 1)) + rng.normal(size=(5, 50))
        found = crossed(values.mean(), (values - values.mean()).ravel(), **grid(5, 50))
        held += found.low <= 0 <= found.high
    assert 0.91 <= held / 300 <= 0.99


def test_one_cluster_is_refused_and_ends_stay_inside():
    found = crossed(0.5, np.array([-0.5, 0.5]), np.zeros(2), np.arange(2))
    assert found.value is None
    assert "needs two" in found.note
    wide = crossed(0.9, np.tile([-5.0, 5.0], 20), **grid(2, 20), least=0.0, most=1.0)
    assert 0.0 <= wide.low <= wide.high <= 1.0


# -- rates


def test_a_rate_without_spread_counts_clusters_not_rows():
    found = rate(np.ones(200), **grid(5, 40))
    assert found.value == 1.0
    assert found.low == pytest.approx(stats.proportion_interval(np.ones(40)).low)
    assert rate([0.0] * 8).high == pytest.approx(stats.proportion_interval([0.0] * 8).high)


@pytest.mark.parametrize("seeds", [None, [0, 0, 1]])
def test_a_rate_refuses_what_is_none(seeds):
    with pytest.raises(StatsError, match=r"a proportion needs|a rate needs"):
        rate([0.0, 2.0, 1.0], seeds=seeds)
    with pytest.raises(StatsError, match="NaN"):
        rate([0.0, float("nan"), 1.0], seeds=seeds)
    assert rate([], seeds=None if seeds is None else []).value is None


def test_ends_squared_and_added_are_newcombes():
    parts = [stats.wilson_interval(56, 70), stats.wilson_interval(48, 80)]
    found, known = combined(parts, [1.0, -1.0]), stats.newcombe((56, 70), (48, 80))
    assert found.value == pytest.approx(known.value)
    assert (found.low, found.high) == (pytest.approx(known.low), pytest.approx(known.high))


def test_a_part_that_was_refused_refuses_the_sum():
    assert combined([rate([]), rate([1.0] * 9)], [0.5, 0.5]).note == "a part has no interval"


# -- discriminator


@FAST
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), BITS), min_size=1, max_size=30))
def test_balanced_accuracy_is_the_mean_of_both_sides(rows):
    said, bad = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = verdicts(said, bad).balanced
    if min(bad.sum(), len(bad) - bad.sum()) < 2:
        return  # a side without an interval
    assert found.value == pytest.approx((said[bad == 1].mean() + (1 - said[bad == 0]).mean()) / 2)
    if found.low is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_always_flagging_is_a_coin_and_costs_every_sound_text():
    bad = np.tile([0, 1], 30)
    found = verdicts(np.ones(60), bad)
    assert found.balanced.value == 0.5
    assert found.balanced.low < 0.5 < found.balanced.high
    assert (found.caught.value, found.false.value) == (1.0, 1.0)


def test_a_side_that_is_missing_is_refused_not_left_out():
    found = verdicts([1.0] * 5, [1] * 5)
    assert found.balanced.value is None
    assert found.false.value is None
    assert found.caught.value == 1.0


def test_verdicts_and_their_texts_must_fit():
    with pytest.raises(StatsError, match="NaN"):
        verdicts([float("nan"), 1], [0, 1])
    with pytest.raises(StatsError, match="one flag and one truth"):
        verdicts([1.0], [0, 1])
    with pytest.raises(StatsError, match="½ is a tie"):
        verdicts([2.0, 1.0], [0, 1])
    with pytest.raises(StatsError, match="not 0 or 1"):
        verdicts([1.0, 1.0], [0, 0.5])


def test_flags_go_by_each_rows_own_cut():
    assert flags_of([1.0, 1.0, 1.0], np.array([0.0, 1.0, 2.0])).tolist() == [1.0, 0.5, 0.0]
    for doubt, cut in (([float("nan")], 0.0), ([1.0], float("nan"))):
        with pytest.raises(StatsError, match="NaN"):
            flags_of(doubt, cut)


def test_the_area_without_seeds_is_the_house_s_own_and_with_seeds_the_mean():
    rng = np.random.default_rng(4)
    bad = np.tile([0.0, 1.0], 60)
    doubts = [bad + rng.normal(size=120), 100 * (0.3 * bad + rng.normal(size=120))]
    alone = [stats.auroc(doubt, bad) for doubt in doubts]
    assert area(doubts[0], bad) == alone[0]
    found = area(np.concatenate(doubts), np.tile(bad, 2), **grid(2, 120))
    assert found.value == pytest.approx(np.mean([each.value for each in alone]))
    assert found.low < found.value < found.high


def test_the_area_s_two_way_error_is_delong_s_where_seeds_agree():
    rng = np.random.default_rng(5)
    bad = np.tile([0.0, 1.0], 100)
    doubt = bad + rng.normal(size=200)
    once, thrice = stats.auroc(doubt, bad), area(np.tile(doubt, 3), np.tile(bad, 3), **grid(3, 200))
    assert thrice.value == pytest.approx(once.value)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.03)


def test_the_area_at_its_edges():
    bad = np.tile([0.0, 1.0], 30)
    assert area(np.tile(bad, 2), np.tile(bad, 2), **grid(2, 60)).value == 1.0
    same = area(np.zeros(120), np.tile(bad, 2), **grid(2, 60))
    assert same.value == 0.5
    assert same.low < 0.5 < same.high
    lone = np.concatenate([bad, np.ones(60)])
    assert area(lone, lone, **grid(2, 60)).note == "a seed has texts of one kind alone"


@FAST
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=20))
def test_pairs_are_antisymmetric_and_ties_half(pairs):
    a, b = np.array(pairs, dtype=float).T
    there, back = paired_accuracy(a, b), paired_accuracy(b, a)
    assert there.value + back.value == pytest.approx(1)
    assert there.value == pytest.approx(np.mean([1.0 if y > x else 0.5 if y == x else 0.0 for x, y in pairs]))


# -- critic, and the gap


def test_a_critic_s_units_are_one_plus_validity_over_two():
    rng = np.random.default_rng(6)
    bad = np.tile([1, 0], 100)
    valid = bad * rng.integers(0, 2, 200)
    found = critic(valid, np.ones(200), bad)
    assert found.equivalent.value == pytest.approx((1 + found.validity.value) / 2)
    assert found.unfounded.value == 1.0
    assert found.hallucination.value == pytest.approx(1 - valid.mean())


def test_a_critic_who_claims_nothing_hallucinates_nothing_and_that_is_no_number():
    found = critic([1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0])
    assert found.hallucination.value is None
    assert found.unfounded.value == 0.0
    assert found.validity.value == 1.0


def test_no_claim_about_a_sound_text_is_valid():
    with pytest.raises(StatsError, match="1 valid claims about sound texts"):
        critic([1, 1], [1, 1], [1, 0])
    with pytest.raises(StatsError, match="one place, one claim"):
        critic([1, 0], [1], [1, 0])


@FAST
@given(st.lists(st.tuples(BITS, BITS), min_size=4, max_size=30))
def test_the_gap_is_the_difference_of_what_it_compares(rows):
    bad = np.arange(len(rows)) % 2
    d, c = np.array(rows, dtype=float).T
    c = c * bad
    found = dc_gap(d, c, bad)
    assert found.value == pytest.approx(verdicts(d, bad).balanced.value - verdicts(c, bad).balanced.value)
    assert dc_gap(c, d, bad).value == pytest.approx(-found.value)


def test_two_that_are_always_right_have_no_gap_but_an_interval():
    bad = np.tile([0.0, 1.0], 50)
    found = dc_gap(np.tile(bad, 3), np.tile(bad, 3), np.tile(bad, 3), **grid(3, 100))
    assert found.value == 0.0
    assert -0.1 < found.low < 0 < found.high < 0.1


def test_two_who_know_nothing_have_a_gap_until_luck_is_taken_off():
    """A coin, and a finger put anywhere among 12 places, on 2,000 pairs; what it points at unseen is luck alone."""
    rng, n = np.random.default_rng(12), 2000
    bad = np.r_[np.zeros(n), np.ones(n)]
    coin = rng.integers(0, 2, 2 * n)
    valid, luck = (np.r_[np.zeros(n), rng.random(n) < 1 / 12] for _ in range(2))
    pair = np.tile(np.arange(n), 2)
    gross, net = (dc_gap(coin, valid, bad, pair, blind=blind) for blind in (None, luck))
    assert gross.high < 0
    assert gross.value == pytest.approx(-1 / 24, abs=0.025)
    v, b = valid[n:].mean(), luck[n:].mean()
    assert net.value == pytest.approx(gross.value + (v - (v - b) / (1 - b)) / 2)
    assert net.low < 0 < net.high


def test_a_perfect_critic_owes_nothing_to_luck_and_one_that_needs_no_eyes_tells_nothing():
    bad = np.tile([0.0, 1.0], 30)
    luck = bad * np.tile([0, 1, 0, 0], 15)
    assert dc_gap(bad, bad, bad, blind=luck).value == 0.0
    refusal = dc_gap(bad, bad, bad, blind=bad)
    assert refusal.value is None
    assert "nothing is left to tell" in refusal.note


def test_the_interval_beyond_luck_holds_what_is_true():
    """200 simulations of 200 pairs: validity .5, luck .2, so .375 beyond it; a discriminator of .7; nominal 95 %."""
    rng, held, n = np.random.default_rng(13), 0, 200
    bad, pair = np.r_[np.zeros(n), np.ones(n)], np.tile(np.arange(n), 2)
    for _ in range(200):
        right = rng.random(2 * n) < 0.7
        valid, luck = (np.r_[np.zeros(n), rng.random(n) < p] for p in (0.5, 0.2))
        found = dc_gap(np.where(right, bad, 1 - bad), valid, bad, pair, blind=luck)
        held += found.low <= 0.7 - (1 + 0.375) / 2 <= found.high
    assert 0.9 <= held / 200 <= 0.99


def test_what_both_miss_cancels():
    """The same texts are hard for both: the paired interval is narrower than one of independent sides."""
    rng = np.random.default_rng(7)
    bad = np.tile([0.0, 1.0], 150)
    hard = rng.random(300) < 0.4
    d, c = (np.where(hard, 1 - bad, bad) for _ in range(2))
    c = np.where(rng.random(300) < 0.05, 1 - c, c)
    found = dc_gap(d, c, bad)
    apart = combined([verdicts(x, bad).balanced for x in (d, c)], [1.0, -1.0])
    assert found.high - found.low < 0.6 * (apart.high - apart.low)


# -- generator


def test_a_perfect_discriminator_reaches_the_ceiling_and_a_blind_one_adds_nothing():
    right = np.random.default_rng(8).integers(0, 2, (50, 6)).astype(float)
    best = generator(right, 1 - right)
    assert best.best.value == best.ceiling.value == right.max(1).mean()
    blind = generator(right, np.zeros_like(right))
    assert blind.gap.value == pytest.approx(0)
    assert blind.one.value == pytest.approx(right.mean())
    worst = generator(right, right)
    assert worst.best.value == right.min(1).mean()


@FAST
@given(st.lists(st.lists(st.tuples(BITS, st.integers(0, 2)), min_size=3, max_size=3), min_size=2, max_size=12))
def test_best_of_k_by_hand(questions):
    right = np.array([[r for r, _ in q] for q in questions], dtype=float)
    doubt = np.array([[d for _, d in q] for q in questions], dtype=float)
    hand = [np.mean([r for r, d in q if d == min(x for _, x in q)]) for q in questions]
    found = generator(right, doubt)
    assert found.best.value == pytest.approx(np.mean(hand))
    assert found.gap.value == pytest.approx(np.mean(hand) - right.mean())


def test_one_sample_leaves_nothing_to_choose():
    assert generator([[1], [0], [1]], [[0.2], [0.1], [0.7]]).gap.value == 0.0


@pytest.mark.parametrize(
    ("right", "doubt"), [([1, 0], [1, 0]), ([[1, 0]], [[1]]), (np.zeros((0, 3)), np.zeros((0, 3)))]
)
def test_samples_need_questions_and_as_many_doubts(right, doubt):
    with pytest.raises(StatsError, match="questions, K"):
        generator(right, doubt)


def test_a_missing_doubt_is_not_the_least():
    with pytest.raises(StatsError, match="NaN"):
        generator([[1, 0]], [[float("nan"), 1.0]])


def test_flaws_of_one_s_own_beyond_chance():
    valid, chance = np.tile([1, 0, 1, 1], 20), np.full(80, 0.25)
    found, beyond = own_flaws(valid, chance)
    assert (found.value, beyond.value) == (0.75, 0.5)
    assert beyond.high - beyond.low == pytest.approx(2 * (beyond.high - 0.5))
    none, over = own_flaws([], [])
    assert none.value is None
    assert over.value is None


# -- uplift


def test_help_on_the_same_texts_is_newcombe_s_pair():
    rng = np.random.default_rng(9)
    alone, aided = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    found = uplift([*aided, 0, 0], [*alone, 0, 0], [1] * 60 + [0, 0])
    assert found.difference == stats.newcombe_paired(aided, alone)
    shared = np.arange(60)
    ratio = stats.risk_ratio(aided, alone, clusters_a=shared, clusters_b=shared, shared=True)
    assert found.ratio.value == pytest.approx(ratio.value)
    assert (found.ratio.low, found.ratio.high) == (pytest.approx(ratio.low), pytest.approx(ratio.high))


def test_half_as_many_again_is_one_and_a_half():
    aided, alone = np.repeat([1, 1, 1, 0], 25), np.repeat([1, 1, 0, 0], 25)
    found = uplift(np.r_[aided, [0, 0]], np.r_[alone, [0, 0]], np.r_[np.ones(100), [0, 0]], np.arange(102))
    assert found.ratio.value == pytest.approx(1.5)
    assert found.difference.value == pytest.approx(0.25)
    assert 0.15 < found.difference.low < 0.25 < found.difference.high < 0.35


def test_where_nothing_was_caught_there_is_no_ratio():
    found = uplift([1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0])
    assert found.ratio.value is None
    assert found.ratio.note == "a rate of 0 has no logarithm"
    assert found.difference.value == 1.0


def test_help_that_flags_sound_texts_is_charged_for_it():
    bad = np.r_[np.ones(40), np.zeros(40)]
    found = uplift(np.ones(80), np.r_[np.tile([1, 0], 20), np.zeros(40)], bad, np.arange(80))
    assert found.false.value == 1.0
    assert found.false.low > 0.8
    assert found.aided.balanced.value == 0.5
    assert found.alone.balanced.value == 0.75


def test_ties_are_no_verdicts_of_a_judge_who_checks():
    with pytest.raises(StatsError, match="not 0 or 1"):
        uplift([0.5, 1], [0, 1], [1, 0])
    with pytest.raises(StatsError, match="same texts"):
        uplift([1], [0, 1], [1, 0])


def test_the_ratio_s_interval_over_items_and_seeds_holds_what_is_true():
    """120 simulations: 5 critics of skill .4 ± .05 against checks at random, .125; nominal 95 %."""
    rng, held = np.random.default_rng(10), 0
    for _ in range(120):
        skill = np.clip(0.4 + 0.05 * rng.normal(size=(5, 1)), 0, 1)
        aided, alone = rng.random((5, 120)) < skill, rng.random((5, 120)) < 0.125
        rows = grid(5, 120)
        sound = {key: np.r_[values, values[:2]] for key, values in rows.items()}
        bad = np.r_[np.ones(600), [0, 0]]
        found = uplift(np.r_[aided.ravel(), [0, 0]], np.r_[alone.ravel(), [0, 0]], bad, **sound).ratio
        held += found.low <= 0.4 / 0.125 <= found.high
    assert 0.9 <= held / 120 < 1.0


def test_the_logarithm_is_symmetric():
    rng = np.random.default_rng(11)
    aided, alone = (np.r_[rng.random(50) < p, [0, 0]].astype(int) for p in (0.7, 0.4))
    bad, rows = np.r_[np.ones(50), [0, 0]], {"clusters": np.arange(52)}
    there, back = uplift(aided, alone, bad, **rows).ratio, uplift(alone, aided, bad, **rows).ratio
    assert there.value * back.value == pytest.approx(1)
    assert math.log(there.low) == pytest.approx(-math.log(back.high))


@pytest.mark.parametrize("accepted", list(itertools.product([0, 1], repeat=3)))
def test_over_reliance_counts_false_claims_alone(accepted):
    found = over_reliance([*accepted, 1, 1], [0, 0, 0, 1, 1])
    assert found.value == pytest.approx(sum(accepted) / 3)


def test_without_false_claims_nobody_can_over_rely():
    assert over_reliance([1, 1], [1, 1]).value is None
