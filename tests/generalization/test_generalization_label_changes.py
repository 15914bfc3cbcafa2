"""Weak labels changed or left out: chains, ensembles, relabelling, neighbours, overlap; by hand or by known truth."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from superalign.generalization.methods import knn, overlap
from superalign.generalization.methods.bootstrapping import BOOTSTRAPPING, passed_on
from superalign.generalization.methods.confident import best
from superalign.generalization.methods.em import out_of_fold
from superalign.generalization.methods.ensemble import BAGGED, BOOSTED, MEMBERS, bagged, boost
from superalign.generalization.methods.relabelling import relabelled
from superalign.generalization.reading import probability
from superalign.training.heads import fit_head

SPEC = importlib.util.spec_from_file_location("label_lessons", Path(__file__).with_name("label_lessons.py"))
made = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made)


# Chains, ensembles, relabelling


def test_the_chain_by_hand_and_checked_labels_survive_it():
    lesson = made.lesson_of(n=96)
    lesson = replace(lesson, checked=np.arange(96) < 4)
    told = lesson.labels
    for name in ("few", "more"):
        said = lesson.head(told, reading=lesson.between[name]).logits(lesson.between[name])
        told = np.where(np.arange(96) < 4, lesson.labels, probability(said))
    assert passed_on(lesson) == pytest.approx(told)
    made.same_student(BOOTSTRAPPING, lesson, lesson.head(told).logits(lesson.reading))
    assert not BOOTSTRAPPING.playable(replace(lesson, between={}))


def test_bagging_one_cluster_is_the_supervisor_itself():
    school = made.lesson_of().supervised
    assert school is not None
    alone = replace(school, clusters_a=np.full(len(school.truth_a), "only"))
    head = fit_head(school.half_a.x, school.truth_a.astype(float), l2=school.l2)
    assert bagged(alone, 0) == pytest.approx(head.probabilities(school.half_b.x))
    assert np.abs(bagged(school, 0) - bagged(alone, 0)).max() > 1e-3
    assert bagged(school, 0).tolist() != bagged(school, 1).tolist()


def test_boosting_by_hand():
    school = made.lesson_of().supervised
    assert school is not None
    heads, votes = boost(school)
    assert 2 <= len(heads) == len(votes) <= MEMBERS
    wrong = (heads[0].logits(school.half_a.x) > 0) != school.truth_a
    assert votes[0] == pytest.approx(np.log((1 - wrong.mean()) / wrong.mean()) / 2)
    share = np.where(wrong, 0.5 / wrong.sum(), 0.5 / (~wrong).sum())  # a head is at chance on its successor's weights
    after = fit_head(school.half_a.x, school.truth_a.astype(float), l2=school.l2, weights=share * len(share))
    assert heads[1].weight == pytest.approx(after.weight, abs=1e-4)


@pytest.mark.parametrize("case", ["never wrong", "at chance"])
def test_boosting_stops_with_the_first_head(case):
    school = made.lesson_of(n=96).supervised
    assert school is not None
    x = np.where(school.truth_a, 1.0, -1.0)[:, None] * np.ones(2) * (case == "never wrong")
    assert len(boost(replace(school, half_a=made.reading_of(x, paired=True)))[0]) == 1


def test_ensembles_need_a_schooled_supervisor():
    lesson = replace(made.lesson_of(n=96), supervised=None)
    assert not BAGGED.playable(lesson)
    with pytest.raises(ValueError, match="refits its supervisor"):
        BOOSTED.fit(lesson)


def test_relabelling_by_hand_and_out_of_fold():
    lesson = replace(made.lesson_of(n=96), checked=np.arange(96) < 4)
    once = np.where(lesson.checked, lesson.labels, out_of_fold(lesson, lesson.labels))
    assert relabelled(lesson, 1).tolist() == once.tolist()
    thrice = relabelled(replace(lesson, labels=once), 2)
    assert relabelled(lesson, 3) == pytest.approx(np.where(lesson.checked, lesson.labels, thrice))
    side = lesson.held(0.5)
    lied = replace(lesson, labels=np.where(side, 1 - lesson.labels, lesson.labels))
    mine = side & ~lesson.checked
    assert relabelled(lied, 1)[mine].tolist() == once[mine].tolist()


# Neighbours and overlap


@pytest.mark.parametrize("paired", [True, False], ids=["pairs", "singles"])
def test_neighbours_are_those_of_scikit_learn(paired):
    from sklearn.neighbors import NearestNeighbors

    reading = made.reading_of(np.random.default_rng(0).normal(size=(60, 5)), paired=paired)
    near, unit = knn.nearest(reading, 4), knn.directions(reading)
    both = np.concatenate([unit, -unit]) if paired else unit
    rows = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(both).kneighbors(unit, return_distance=False)[:, 1:]
    assert [set(row) for row in near.rows] == [set(row % 60) for row in rows]
    assert [set(row[swap]) for row, swap in zip(near.rows, near.swapped, strict=True)] == [
        {at - 60 for at in row if at >= 60} for row in rows
    ]


def test_the_label_of_a_swapped_neighbour_is_turned_round():
    x = np.array([[1.0, 0.1], [-1.0, -0.1], [0.1, -1.0], [0.1, -1.1]])
    near = knn.nearest(made.reading_of(x, paired=True), 1)
    assert near.rows[:, 0].tolist() == [1, 0, 3, 2]
    assert near.told(np.array([0.9, 0.2, 0.3, 0.4]))[:, 0] == pytest.approx([0.8, 0.1, 0.4, 0.3])
    assert not knn.nearest(made.reading_of(x, paired=False), 1).swapped.any()


def test_neighbours_outvote_a_wrong_label():
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2 == 0
    x = np.where(truth[:, None], [3.0, 1.0], [1.0, 3.0]) + 0.1 * rng.normal(size=(200, 2))
    wrong = rng.random(200) < 0.2
    lesson = replace(
        made.lesson_of(n=200),
        reading=made.reading_of(x, paired=False),
        labels=(truth ^ wrong).astype(float),
        between={},
    )
    apart = knn.disagreement(lesson)
    assert apart[wrong].min() > 0.5 > apart[~wrong].max()
    kept = np.flatnonzero(best(-apart, 0.5))
    made.same_student(knn.KNN, lesson, lesson.head(lesson.labels, rows=kept).logits(lesson.reading))
    with pytest.raises(ValueError, match="no neighbours"):
        knn.nearest(lesson.reading.take(np.array([0])))


@pytest.mark.parametrize("seed", range(4))
def test_the_change_point_has_the_least_squares_within(seed):
    values = np.random.default_rng(seed).gamma(1.0, size=25)
    ordered = np.sort(values)
    within = [ordered[:k].var() * k + ordered[k:].var() * (25 - k) for k in range(1, 25)]
    assert overlap.change_point(values) == ordered[1 + int(np.argmin(within))]
    assert overlap.change_point(np.full(5, 0.3)) == -np.inf


def test_overlaps_hold_both_patterns():
    """Easy ones show the first pattern, hard ones the second, overlaps both; the supervisor sees only the first."""
    rng = np.random.default_rng(0)
    kind = np.arange(300) % 3
    sign = rng.choice([-1.0, 1.0], 300)
    x = np.stack([sign * (kind != 1), sign * (kind != 0)], axis=1) + 0.02 * rng.normal(size=(300, 2))
    labels = 0.5 + 0.4 * sign * (kind != 1) + 0.01 * rng.normal(size=300)
    reading = made.reading_of(x, paired=True)
    assert np.flatnonzero(overlap.overlaps(reading, labels)).tolist() == np.flatnonzero(kind == 2).tolist()
    assert overlap.overlaps(reading, np.where(sign > 0, 0.9, 0.1).round(1)).all()


def test_geometry_adds_four_z_scores_and_keeps_half_of_each_verdict():
    lesson = made.lesson_of(n=96)
    scores, told = overlap.fits(lesson), lesson.hard
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    near, said = knn.nearest(lesson.reading), out_of_fold(lesson, lesson.labels)
    wrong = told != made.truth_of(lesson)
    assert scores[wrong].mean() < scores[~wrong].mean()
    alike, p = (near.told(told) == told[:, None]).mean(1), np.where(told == 1, said, 1 - said)
    nats = -(lesson.labels * np.log(lesson.labels) + (1 - lesson.labels) * np.log(1 - lesson.labels))
    dense = 1 / (np.sqrt(2 - 2 * near.cosine).mean(1) + 1e-6)
    parts = [(part - part.mean()) / part.std() for part in (p, alike, dense, -((nats - np.log(2) / 2) ** 2))]
    assert scores == pytest.approx(sum(parts), abs=1e-4)
    kept = [row for v in (0.0, 1.0) for row in np.flatnonzero((told == v) & (scores >= np.median(scores[told == v])))]
    made.same_student(
        overlap.OVERLAP_GEOMETRY, lesson, lesson.head(lesson.labels, rows=np.sort(kept)).logits(lesson.reading)
    )
