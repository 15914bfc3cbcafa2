"""Students that answer alike: what identical answers show, what they can't, and that nearly the same shows no more."""

import numpy as np
import pytest

from superalign.generalization.contrasts import DOUBT, FEW, contrasts
from superalign.stats import StatsError, equivalence
from superalign.stats.unseen import icc_at_most, none_met


def right(groups, size, *, seeds=3, rate=0.9, seed=0, icc=0.0):
    """Correctness (seeds, n) and clusters (n,): each item right in all seeds or nearly, correlated within clusters."""
    rng, clusters = np.random.default_rng(seed), np.repeat(np.arange(groups), size)
    shares = rng.beta(rate * (1 - icc) / icc, (1 - rate) * (1 - icc) / icc, groups) if icc else np.full(groups, rate)
    items = rng.random(len(clusters)) < shares[clusters]
    moved = rng.random((seeds, len(clusters))) < 0.02
    return (items ^ moved).astype(float), clusters


def compared(a, b, clusters, **options):
    (found,) = contrasts({"a": a, "b": b}, clusters, [("a", "b")], **options)
    return found


@pytest.mark.parametrize(
    ("groups", "size", "verdict"),
    [
        (45, 66, "equivalent"),  # the full preset
        (150, 20, "equivalent"),
        (500, 1, "equivalent"),
        (40, 5, "not told"),
        (200, 1, "not told"),
        (8, 50, "not told"),
        (8, 5, "not told"),
        (3, 1000, "not told"),  # three clusters tell little of how alike their items are
    ],
)
def test_identical_answers_are_alike_as_far_as_differences_would_have_been_seen(groups, size, verdict):
    a, clusters = right(groups, size)
    found = compared(a, a.copy(), clusters)
    assert (found.verdict, found.p, found.difference.value) == (verdict, 1.0, 0.0)
    assert 0.99**groups + DOUBT >= found.p_same - 1e-12
    if size == 1:
        assert found.p_same == pytest.approx(0.99**groups + DOUBT)


def test_the_chance_is_that_of_the_answers_own_correlation():
    a, clusters = right(60, 30, icc=0.1)
    icc = icc_at_most(a.mean(0), clusters, level=1 - DOUBT)
    assert 0.1 < icc < 0.5
    assert compared(a, a, clusters).p_same == pytest.approx(none_met([30] * 60, 0.01, icc) + DOUBT)
    loose, _ = right(60, 30)
    assert compared(loose, loose, clusters).p_same < compared(a, a, clusters).p_same


def test_a_wider_margin_is_shown_sooner_and_a_larger_family_later():
    a, clusters = right(40, 10)
    assert compared(a, a, clusters).verdict == "not told"
    assert compared(a, a, clusters, margin=0.05).verdict == "equivalent"
    much, labels = right(45, 66)
    students = {"a": much} | {f"b{i}": much.copy() for i in range(40)}
    alone = compared(much, much, labels)
    many = contrasts(students, labels, [("a", f"b{i}") for i in range(40)])
    assert many[0].p_same == alone.p_same
    assert many[0].same == pytest.approx(min(1.0, 40 * alone.p_same))


@pytest.mark.parametrize("groups", [20, 150, 400])
def test_where_right_answers_tell_no_correlation_a_cluster_is_one_trial(groups):
    clusters = np.repeat(np.arange(groups), 20)
    whole = np.tile((clusters % 4 > 0).astype(float), (2, 1))
    for same in (np.ones((2, len(clusters))), whole):
        found = compared(same, same.copy(), clusters)
        assert found.p_same == pytest.approx(0.99**groups + DOUBT)
        assert found.verdict == ("equivalent" if groups == 400 else "not told")


def test_a_constant_difference_is_told_and_never_alike():
    clusters = np.repeat(np.arange(20), 5)
    found = compared(np.ones((2, 100)), np.zeros((2, 100)), clusters)
    assert (found.verdict, found.p, found.p_same) == ("better", 2.0**-19, 1.0)
    assert compared(np.zeros((2, 100)), np.ones((2, 100)), clusters).verdict == "worse"
    few = compared(np.ones((2, 8)), np.zeros((2, 8)), np.repeat(np.arange(4), 2))
    assert (few.verdict, few.p) == ("not told", 2.0**-3)


@pytest.mark.parametrize("margin", [0.6, 0.9])
def test_a_constant_difference_inside_a_wide_margin_counts_clusters(margin):
    clusters = np.repeat(np.arange(30), 4)
    a, b = np.ones((2, 120)), np.full((2, 120), 0.5)
    found = compared(a, b, clusters, margin=margin)
    assert found.p_same == pytest.approx((1 - (margin - 0.5) / 1.5) ** 30)
    assert found.p_same == pytest.approx(equivalence(a[0], b[0], margin=margin, clusters=clusters).p)
    assert found.verdict == "better"


def test_differences_that_cancel_in_every_cluster_are_not_answers_that_are_the_same():
    clusters = np.repeat(np.arange(45), 66)
    a, b = (np.tile((np.arange(len(clusters)) % 2 == k).astype(float), (3, 1)) for k in (0, 1))
    found = compared(a, b, clusters)
    assert (found.difference.value, found.p, found.verdict) == (0.0, 1.0, "not told")
    assert found.p_same == pytest.approx(0.99**45)


def test_seeds_that_cancel_are_not_answers_that_are_the_same():
    clusters = np.repeat(np.arange(40), 30)
    a = np.stack([clusters % 2, 1 - clusters % 2]).astype(float)
    found = compared(a, 1 - a, clusters)
    assert (found.difference.value, found.verdict) == (0.0, "not told")


@pytest.mark.parametrize("other", [1, 3, 9])
def test_nearly_the_same_in_few_clusters_is_no_more_alike_than_the_same(other):
    """One answer in each of so many clusters: t alone would call this alike where identical answers are not told."""
    a, clusters = right(12, 60)
    b = a.copy()
    for group in range(other):
        b[0, group * 60] = 1 - b[0, group * 60]
    assert other < FEW
    near, same = compared(a, b, clusters), compared(a, a, clusters)
    assert near.p_same >= same.p_same > 0.05
    assert near.verdict == same.verdict == "not told"
    big, labels = right(60, 60)
    c = big.copy()
    c[0, 0] = 1 - c[0, 0]
    assert compared(big, c, labels).verdict == compared(big, big, labels).verdict == "equivalent"


def test_where_many_clusters_differ_their_spread_alone_tells():
    a, clusters = right(12, 400)
    b = a.copy()
    a[:, ::400] = np.arange(12) % 2
    b[:, ::400] = 1 - a[:, ::400]
    found = compared(a, b, clusters)
    half = found.difference.high - found.difference.value
    assert found.verdict == "equivalent"
    assert found.p_same < 1e-4 < compared(a, a, clusters).p_same
    assert half < 0.01 - abs(found.difference.value)


def test_a_difference_outside_the_margin_is_never_alike_however_few_differ():
    a, clusters = right(40, 20)
    b = a.copy()
    a[:, :40], b[:, :40] = 1.0, 0.0
    found = compared(a, b, clusters)
    assert found.difference.value == pytest.approx(0.05)
    assert found.p_same == 1.0
    assert found.verdict == "not told"


@pytest.mark.parametrize("icc", [0.3, 0.5])
def test_a_true_difference_of_the_margin_is_hardly_ever_called_alike(icc):
    """The law that hides most: few clusters hold all differences, correlated as right answers are."""
    rng, alike, unseen = np.random.default_rng(7), 0, 0
    held = 0.01 + icc * 0.99
    for i in range(200):
        a, clusters = right(45, 40, seeds=1, icc=icc, seed=i)
        holding = rng.random(45) < 0.01 / held
        apart = holding[clusters] & (rng.random(len(clusters)) < held)
        if not apart.any():
            unseen += 1
            alike += compared(a, a.copy(), clusters).verdict == "equivalent"
    assert unseen > 30
    assert alike <= 0.05 * 200


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan")])
def test_a_margin_that_is_none_is_refused(margin):
    a, clusters = right(20, 5)
    with pytest.raises(StatsError, match="margin"):
        compared(a, a, clusters, margin=margin)
