"""Methods that learn from weak labels: each against its definition, by hand, and on data whose answer is known."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from superalign.generalization import Lesson, Method, Reading, score
from superalign.generalization.lesson import L2, Supervised
from superalign.generalization.methods import early_stopping, epiplexity, knn, losses, mdl, overlap
from superalign.generalization.methods.bootstrapping import BOOTSTRAPPING, passed_on
from superalign.generalization.methods.confident import CONFIDENCE_WEIGHTED, CONFIDENT_HALF, best
from superalign.generalization.methods.early_stopping import EARLY_STOPPING_CHEATING, EARLY_STOPPING_HONEST
from superalign.generalization.methods.em import out_of_fold
from superalign.generalization.methods.ensemble import BAGGED, BOOSTED, MEMBERS, bagged, boost
from superalign.generalization.methods.naive import NAIVE
from superalign.generalization.methods.relabelling import RELABELLING, RELABELLING_3, relabelled
from superalign.generalization.reading import probability
from superalign.training.heads import fit_head

ALL: tuple[Method, ...] = (
    EARLY_STOPPING_HONEST,
    EARLY_STOPPING_CHEATING,
    CONFIDENT_HALF,
    CONFIDENCE_WEIGHTED,
    losses.PRODUCT,
    losses.ENTROPY,
    losses.WINDOW,
    losses.REVERSE_KL,
    BOOTSTRAPPING,
    BAGGED,
    BOOSTED,
    RELABELLING,
    RELABELLING_3,
    knn.KNN,
    overlap.OVERLAP,
    overlap.OVERLAP_GEOMETRY,
    mdl.MDL,
    epiplexity.EPIPLEXITY,
)
SPLITS = {"early stopping, honest", "early stopping, cheating", "relabelling", "relabelling, 3 rounds"} | {
    "overlap density, geometry",
    "epiplexity",
}
"""Those that hold clusters out."""
each = pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)


def _reading(x: np.ndarray, *, paired: bool) -> Reading:
    half = np.full(len(x), 0.5)
    if paired:
        return Reading(first=x / 2, second=-x / 2, belief=half)
    return Reading(first=x + 3, second=None, belief=half)


def _lesson(*, n: int = 384, noise: float = 0.2, paired: bool = True, seed: int = 0) -> Lesson:
    """Labels in 64ths, wrong for a share `noise`, mostly where they are unsure."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * n, 10))
    truth = x[:, 0] + 0.5 * x[:, 1] > 0
    wrong = rng.random(n) < noise
    sure = np.where(wrong, rng.integers(1, 24, n), rng.integers(8, 32, n)) / 64
    labels = np.where(truth[:n] ^ wrong, 0.5 + sure, 0.5 - sure)
    clusters = np.array([f"c{i % 24}" for i in range(n)])
    seen, parts = x[:, :6], {"few": x[:n, :4], "more": x[:n, :8]}
    return Lesson(
        reading=_reading(x[:n], paired=paired),
        labels=labels,
        clusters=clusters,
        checked=np.zeros(n, dtype=bool),
        seed=seed,
        supervised=Supervised(
            half_a=_reading(seen[n:], paired=paired),
            truth_a=truth[n:] ^ (rng.random(n) < 0.1),
            clusters_a=clusters,
            half_b=_reading(seen[:n], paired=paired),
            l2=0.01,
        ),
        between={name: _reading(part, paired=paired) for name, part in parts.items()},
    )


def _truth(lesson: Lesson) -> np.ndarray:
    x = lesson.reading.x - (0 if lesson.reading.paired else 3)
    return x[:, 0] + 0.5 * x[:, 1] > 0


def _for(method: Method, lesson: Lesson) -> Lesson:
    """With the truth for those that cheat, and for nobody else."""
    return replace(lesson, truth=_truth(lesson)) if method.kind == "cheating" else lesson


def _same(method: Method, lesson: Lesson, other: np.ndarray) -> None:
    assert method.fit(lesson).logits(lesson.reading) == pytest.approx(other, abs=1e-4)


# What holds for every one of them


@each
@pytest.mark.parametrize("paired", [True, False], ids=["pairs", "singles"])
def test_each_learns_more_than_it_was_told_and_the_same_again(method, paired):
    """The second time beside a false truth, which only cheats would read."""
    lesson, fresh = _for(method, _lesson(paired=paired)), _lesson(paired=paired, seed=1)
    assert method.playable(lesson)
    logits = method.fit(lesson).logits(fresh.reading)
    assert np.isfinite(logits).all()
    assert score(logits, _truth(fresh)).mean() > 0.87 > score(lesson.labels - 0.5, _truth(lesson)).mean()
    blind = lesson if method.kind == "cheating" else replace(lesson, truth=~_truth(lesson))
    assert method.fit(blind).logits(fresh.reading).tolist() == logits.tolist()


@each
def test_swapped_pairs_teach_the_same_student(method):
    def swapped(reading: Reading) -> Reading:
        return replace(reading, first=reading.second, second=reading.first)

    lesson = _for(method, _lesson())
    school = lesson.supervised
    assert school is not None
    turned = replace(
        lesson,
        reading=swapped(lesson.reading),
        labels=1 - lesson.labels,
        truth=None if lesson.truth is None else ~lesson.truth,
        between={name: swapped(reading) for name, reading in lesson.between.items()},
        supervised=replace(
            school, half_a=swapped(school.half_a), half_b=swapped(school.half_b), truth_a=~school.truth_a
        ),
    )
    said = method.fit(lesson).logits(lesson.reading)
    assert method.fit(turned).logits(lesson.reading) == pytest.approx(said, abs=1e-3)
    assert method.fit(lesson).logits(swapped(lesson.reading)) == pytest.approx(-said)


@each
@pytest.mark.parametrize(("told", "paired"), [(0.5, True), (1.0, False)], ids=["ties, pairs", "yes, singles"])
def test_labels_that_say_nothing_are_no_accident(method, told, paired):
    lesson = _for(method, _lesson(n=96, paired=paired))
    logits = method.fit(replace(lesson, labels=np.full(96, told))).logits(lesson.reading)
    assert np.isfinite(logits).all()


@each
def test_one_cluster_is_refused_by_those_that_hold_out(method):
    lesson = replace(_for(method, _lesson(n=96)), clusters=np.full(96, "only"))
    if method.name in SPLITS:
        with pytest.raises(ValueError, match="one cluster"):
            method.fit(lesson)
    else:
        assert np.isfinite(method.fit(lesson).logits(lesson.reading)).all()


def test_cheats_need_the_truth():
    with pytest.raises(ValueError, match="needs the truth"):
        EARLY_STOPPING_CHEATING.fit(_lesson(n=96))


@each
def test_checked_labels_pull_harder(method):
    """Of contrary labels on the same questions those win that are checked."""
    lesson = _for(method, _lesson(n=96))
    doubled = np.tile(np.arange(96), 2)
    held = lesson.supervised
    assert held is not None
    truth = _truth(lesson)
    both = replace(
        lesson,
        reading=lesson.reading.take(doubled),
        labels=np.concatenate([truth, ~truth]).astype(float),
        clusters=lesson.clusters[doubled],
        checked=np.arange(192) < 96,
        truth=None if lesson.truth is None else truth[doubled],
        between={name: reading.take(doubled) for name, reading in lesson.between.items()},
        supervised=replace(held, half_b=held.half_b.take(doubled)),
    )
    assert score(method.fit(both).logits(lesson.reading), truth).mean() > 0.7


def test_names_kinds_and_sources():
    assert len({method.name for method in ALL}) == len(ALL)
    assert [method.name for method in ALL if method.kind != "labels"] == ["early stopping, cheating"]
    assert all(method.source and method.title and not method.truths for method in ALL)


def test_importing_them_loads_no_heavy_library():
    names = {method.fit.__module__ for method in ALL}
    assert len(names) == 10
    lines = "; ".join(f"import {name}" for name in sorted(names))
    code = f"import sys; {lines}; print(sorted({{'torch', 'sklearn', 'transformers', 'peft'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# Early stopping


def test_descent_by_hand():
    """Batches of all three questions: the order does not matter, and a weight of 3 counts as three."""
    z, y, w = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=np.float32), np.array([1.0, 0.0, 1.0]), [3, 1, 2]
    steps = early_stopping.descend(z, y, np.array(w), rate=0.1, rng=np.random.default_rng(0))
    first = next(steps).beta.copy()
    grad = sum(weight / 2 * (0.5 - told) * row for row, told, weight in zip(z, y, w, strict=True)) / 3
    assert first == pytest.approx(-0.1 * grad)
    p = 1 / (1 + np.exp(-z @ first))
    grad = sum(weight / 2 * (said - told) * row for row, said, told, weight in zip(z, p, y, w, strict=True)) / 3
    assert next(steps).beta == pytest.approx(first - 0.1 * grad)


def test_every_pass_meets_all_questions_in_a_new_order():
    z, rng = np.ones((70, 1), dtype=np.float32), np.random.default_rng(0)
    steps = list(early_stopping.descend(z, np.ones(70), np.ones(70), rate=0.1, rng=rng, passes=3))
    assert [len(step.rows) for step in steps] == [32, 32, 6] * 3
    orders = [np.concatenate([step.rows for step in steps[at : at + 3]]).tolist() for at in (0, 3, 6)]
    assert all(sorted(order) == list(range(70)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_steps_regularise_as_a_penalty_does():
    """Unlike a few steps of Adam, whose weights are all as large: t steps are about the penalty 1/(rate·t)."""
    lesson = _lesson()
    rate = early_stopping.inputs_of(lesson.reading).rate
    norms = []
    for stop in (16, 256, 4096):
        walked = early_stopping.path(lesson, (stop,))[0].head.weight
        fitted = lesson.head(lesson.labels, l2=1 / (rate * stop)).head.weight
        assert walked @ fitted / np.linalg.norm(walked) / np.linalg.norm(fitted) > 0.95
        norms.append(np.linalg.norm(walked))
    assert norms[0] < 0.9 * norms[1]
    assert norms[1] < norms[2]


def test_a_path_has_the_students_along_it():
    lesson = _lesson(n=96)
    along, alone = early_stopping.path(lesson, (4, 32)), early_stopping.path(lesson, (32,))
    assert along[1].head.weight.tolist() == alone[0].head.weight.tolist()
    assert along[0].head.weight.tolist() != along[1].head.weight.tolist()


def test_honest_and_cheating_stops_differ_where_the_supervisor_errs_by_a_rule():
    """Truth lies along many features and is learned first; the supervisor's rule is one feature, and comes late."""
    rng, n = np.random.default_rng(3), 600
    truth, x = rng.random(n) < 0.5, rng.normal(size=(n, 40))
    x[:, :39] += np.where(truth, 1, -1)[:, None]
    labels = np.where(np.abs(x[:, 39]) > 0.5, x[:, 39] > 0, truth).astype(float)
    lesson = replace(_lesson(n=n), reading=_reading(x, paired=True), labels=labels, truth=truth)
    honest, cheating = (
        score(method.fit(lesson).logits(lesson.reading), truth).mean()
        for method in (EARLY_STOPPING_HONEST, EARLY_STOPPING_CHEATING)
    )
    assert cheating > 0.98
    assert honest < 0.8
    _same(EARLY_STOPPING_HONEST, lesson, EARLY_STOPPING_HONEST.fit(replace(lesson, truth=None)).logits(lesson.reading))


def test_ties_stop_first(monkeypatch):
    lesson = _lesson(n=96)
    flat = replace(lesson, reading=_reading(np.zeros((96, 2)) + 1, paired=True), labels=np.full(96, 0.9))
    monkeypatch.setattr(early_stopping, "STOPS", (2, 4, 8))
    assert (
        EARLY_STOPPING_HONEST.fit(flat).head.weight.tolist() == early_stopping.path(flat, (2,))[0].head.weight.tolist()
    )


def test_nan_among_features_is_refused():
    broken = _reading(np.array([[1.0, np.nan]]), paired=True)
    with pytest.raises(ValueError, match="NaN"):
        early_stopping.inputs_of(broken)


# Confidence


@pytest.mark.parametrize(
    ("scores", "share", "kept"),
    [([1, 2, 3, 4], 0.5, [2, 3]), ([1, 2, 3], 0.5, [1, 2]), ([1, 1, 1], 0.3, [0, 1, 2]), ([3, 1, 3, 2], 0.2, [0, 2])],
)
def test_best_keeps_ties(scores, share, kept):
    assert np.flatnonzero(best(np.array(scores), share)).tolist() == kept


def test_confident_half_and_weights_by_hand():
    lesson = _lesson(n=96)
    rows = np.argsort(-np.abs(lesson.labels - 0.5))[:48]
    rows = np.flatnonzero(np.abs(lesson.labels - 0.5) >= np.abs(lesson.labels[rows] - 0.5).min())
    _same(CONFIDENT_HALF, lesson, lesson.head(lesson.labels, rows=rows).logits(lesson.reading))
    weighed = lesson.head(lesson.labels, weights=np.abs(2 * lesson.labels - 1)).logits(lesson.reading)
    _same(CONFIDENCE_WEIGHTED, lesson, weighed)


def test_hard_labels_are_all_equally_sure():
    lesson = _lesson(n=96)
    hard = replace(lesson, labels=lesson.hard)
    for method in (CONFIDENT_HALF, CONFIDENCE_WEIGHTED):
        _same(method, hard, NAIVE.fit(hard).logits(hard.reading))


# Losses


@pytest.mark.parametrize(
    ("loss", "p", "y", "done", "target"),
    [
        (losses.product, 0.6, 0.8, 0.5, 0.48 / 0.56),
        (losses.product, 0.5, 0.8, 0.0, 0.8),
        (losses.entropy, 0.6, 0.9, 0.0, 0.9),
        (losses.entropy, 0.6, 0.9, 0.1, 0.75 * 0.9 + 0.25 * 0.6),
        (losses.entropy, 0.6, 0.9, 1.0, 0.75),
        (losses.window, 0.64, 0.1, 0.5, 0.1),
        (losses.window, 0.66, 0.1, 0.5, 0.66),
        (losses.window, 0.34, 0.9, 0.5, 0.34),
        (losses.reverse_kl, 0.7, 0.7, 0.5, 0.7),
    ],
)
def test_targets_by_hand(loss, p, y, done, target):
    assert float(loss(_logit(p), _logit(y), done)) == pytest.approx(target, abs=1e-6)


def test_reverse_kl_has_the_gradient_of_its_definition():
    logits, told = torch.linspace(-3, 3, 7, requires_grad=True), torch.tensor([2.0, -1, 0, 4, -4, 1, 0.5])
    p, q = logits.sigmoid(), told.sigmoid()
    (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum().backward()
    assert logits.grad is not None
    target = losses.reverse_kl(logits.detach(), told, 0.0)
    assert (p.detach() - target).tolist() == pytest.approx(logits.grad.tolist(), abs=1e-5)


def test_self_targets_rise_without_a_jump_and_reach_their_top():
    told = [float(losses.entropy(_logit(0.5), _logit(0.9), step / 80)) for step in range(81)]
    assert told[0] == pytest.approx(0.9)
    assert min(told) == told[-1] == pytest.approx(0.7)
    assert max(np.abs(np.diff(told))) < 0.02


def _logit(p: float) -> torch.Tensor:
    return torch.tensor(p, dtype=torch.float64).logit()


# Chains, ensembles, relabelling


def test_the_chain_by_hand_and_checked_labels_survive_it():
    lesson = _lesson(n=96)
    lesson = replace(lesson, checked=np.arange(96) < 4)
    told = lesson.labels
    for name in ("few", "more"):
        said = lesson.head(told, reading=lesson.between[name]).logits(lesson.between[name])
        told = np.where(np.arange(96) < 4, lesson.labels, probability(said))
    assert passed_on(lesson) == pytest.approx(told)
    _same(BOOTSTRAPPING, lesson, lesson.head(told).logits(lesson.reading))
    assert not BOOTSTRAPPING.playable(replace(lesson, between={}))


def test_bagging_one_cluster_is_the_supervisor_itself():
    school = _lesson().supervised
    assert school is not None
    alone = replace(school, clusters_a=np.full(len(school.truth_a), "only"))
    head = fit_head(school.half_a.x, school.truth_a.astype(float), l2=school.l2)
    assert bagged(alone, 0) == pytest.approx(head.probabilities(school.half_b.x))
    assert np.abs(bagged(school, 0) - bagged(alone, 0)).max() > 1e-3
    assert bagged(school, 0).tolist() != bagged(school, 1).tolist()


def test_boosting_by_hand():
    school = _lesson().supervised
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
    school = _lesson(n=96).supervised
    assert school is not None
    x = np.where(school.truth_a, 1.0, -1.0)[:, None] * np.ones(2) * (case == "never wrong")
    assert len(boost(replace(school, half_a=_reading(x, paired=True)))[0]) == 1


def test_ensembles_need_a_schooled_supervisor():
    lesson = replace(_lesson(n=96), supervised=None)
    assert not BAGGED.playable(lesson)
    with pytest.raises(ValueError, match="refits its supervisor"):
        BOOSTED.fit(lesson)


def test_relabelling_by_hand_and_out_of_fold():
    lesson = replace(_lesson(n=96), checked=np.arange(96) < 4)
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

    reading = _reading(np.random.default_rng(0).normal(size=(60, 5)), paired=paired)
    near, unit = knn.nearest(reading, 4), knn.directions(reading)
    both = np.concatenate([unit, -unit]) if paired else unit
    rows = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(both).kneighbors(unit, return_distance=False)[:, 1:]
    assert [set(row) for row in near.rows] == [set(row % 60) for row in rows]
    assert [set(row[swap]) for row, swap in zip(near.rows, near.swapped, strict=True)] == [
        {at - 60 for at in row if at >= 60} for row in rows
    ]


def test_the_label_of_a_swapped_neighbour_is_turned_round():
    x = np.array([[1.0, 0.1], [-1.0, -0.1], [0.1, -1.0], [0.1, -1.1]])
    near = knn.nearest(_reading(x, paired=True), 1)
    assert near.rows[:, 0].tolist() == [1, 0, 3, 2]
    assert near.told(np.array([0.9, 0.2, 0.3, 0.4]))[:, 0] == pytest.approx([0.8, 0.1, 0.4, 0.3])
    assert not knn.nearest(_reading(x, paired=False), 1).swapped.any()


def test_neighbours_outvote_a_wrong_label():
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2 == 0
    x = np.where(truth[:, None], [3.0, 1.0], [1.0, 3.0]) + 0.1 * rng.normal(size=(200, 2))
    wrong = rng.random(200) < 0.2
    lesson = replace(
        _lesson(n=200), reading=_reading(x, paired=False), labels=(truth ^ wrong).astype(float), between={}
    )
    apart = knn.disagreement(lesson)
    assert apart[wrong].min() > 0.5 > apart[~wrong].max()
    kept = np.flatnonzero(best(-apart, 0.5))
    _same(knn.KNN, lesson, lesson.head(lesson.labels, rows=kept).logits(lesson.reading))
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
    reading = _reading(x, paired=True)
    assert np.flatnonzero(overlap.overlaps(reading, labels)).tolist() == np.flatnonzero(kind == 2).tolist()
    assert overlap.overlaps(reading, np.where(sign > 0, 0.9, 0.1).round(1)).all()


def test_geometry_adds_four_z_scores_and_keeps_half_of_each_verdict():
    lesson = _lesson(n=96)
    scores, told = overlap.fits(lesson), lesson.hard
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    near, said = knn.nearest(lesson.reading), out_of_fold(lesson, lesson.labels)
    wrong = told != _truth(lesson)
    assert scores[wrong].mean() < scores[~wrong].mean()
    alike, p = (near.told(told) == told[:, None]).mean(1), np.where(told == 1, said, 1 - said)
    nats = -(lesson.labels * np.log(lesson.labels) + (1 - lesson.labels) * np.log(1 - lesson.labels))
    dense = 1 / (np.sqrt(2 - 2 * near.cosine).mean(1) + 1e-6)
    parts = [(part - part.mean()) / part.std() for part in (p, alike, dense, -((nats - np.log(2) / 2) ** 2))]
    assert scores == pytest.approx(sum(parts), abs=1e-4)
    kept = [row for v in (0.0, 1.0) for row in np.flatnonzero((told == v) & (scores >= np.median(scores[told == v])))]
    _same(overlap.OVERLAP_GEOMETRY, lesson, lesson.head(lesson.labels, rows=np.sort(kept)).logits(lesson.reading))


# Curriculum and epiplexity


def test_the_core_comes_first_then_everything_at_half_the_rate(monkeypatch):
    lesson, seen = _lesson(n=96), []

    def descend(z, labels, weights, **options):
        seen.append((np.sort(labels).tolist(), options["passes"], options["rate"], np.abs(options["start"]).sum()))
        return early_stopping.descend(z, labels, weights, **options)

    monkeypatch.setattr(mdl, "descend", descend)
    mdl.MDL.fit(lesson)
    core = best(np.abs(lesson.labels - 0.5), 0.5)
    assert [part[0] for part in seen] == [np.sort(lesson.labels[core]).tolist(), np.sort(lesson.labels).tolist()]
    assert [part[1] for part in seen] == [2, 3]
    assert seen[1][2] == pytest.approx(seen[0][2] / 2)
    assert seen[0][3] == 0 < seen[1][3]


@pytest.mark.parametrize(
    ("drops", "moved"),
    [
        ([5.0, 4.0, 3.0, 2.0, 1.0], [0, 0, 0, 0, 0.25]),
        ([1.0, 1.0, 1.0], [0, 0, 0]),
        (list(range(10)), [0.75**2, 0.5**2, 0.25**2, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_smoothing_by_hand(drops, moved):
    assert epiplexity.smoothing(np.array(drops)) == pytest.approx(moved)


def test_structure_drops_and_noise_does_not():
    lesson = _lesson(noise=0.0)
    noise = np.arange(len(lesson.labels)) % 3 == 0
    coin = np.random.default_rng(5).random(len(noise)) < 0.5
    drops = epiplexity.epiplexity(lesson, np.where(noise, coin, _truth(lesson)).astype(float))
    assert drops[~noise].mean() > 0.15 > drops[noise].mean() + 0.15


def test_smoothed_labels_teach_and_checked_ones_are_left():
    lesson = replace(_lesson(n=96), checked=np.arange(96) < 4)
    refined = np.where(lesson.checked, lesson.labels, out_of_fold(lesson, lesson.labels))
    moved = epiplexity.smoothing(epiplexity.epiplexity(lesson, refined))
    told = np.where(lesson.checked, lesson.labels, refined + moved * (0.5 - refined))
    _same(epiplexity.EPIPLEXITY, lesson, lesson.head(told, l2=L2).logits(lesson.reading))
