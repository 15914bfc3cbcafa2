"""Weak labels fitted otherwise: early stopping, confidence, losses, curricula; each against its definition, by hand."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from superalign.generalization import score
from superalign.generalization.lesson import L2
from superalign.generalization.methods import early_stopping, epiplexity, losses, mdl
from superalign.generalization.methods.confident import CONFIDENCE_WEIGHTED, CONFIDENT_HALF, best
from superalign.generalization.methods.early_stopping import EARLY_STOPPING_CHEATING, EARLY_STOPPING_HONEST
from superalign.generalization.methods.em import out_of_fold
from superalign.generalization.methods.naive import NAIVE

SPEC = importlib.util.spec_from_file_location("label_lessons", Path(__file__).with_name("label_lessons.py"))
made = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made)


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
    lesson = made.lesson_of()
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
    lesson = made.lesson_of(n=96)
    along, alone = early_stopping.path(lesson, (4, 32)), early_stopping.path(lesson, (32,))
    assert along[1].head.weight.tolist() == alone[0].head.weight.tolist()
    assert along[0].head.weight.tolist() != along[1].head.weight.tolist()


def test_honest_and_cheating_stops_differ_where_the_supervisor_errs_by_a_rule():
    """Truth lies along many features and is learned first; the supervisor's rule is one feature, and comes late."""
    rng, n = np.random.default_rng(3), 600
    truth, x = rng.random(n) < 0.5, rng.normal(size=(n, 40))
    x[:, :39] += np.where(truth, 1, -1)[:, None]
    labels = np.where(np.abs(x[:, 39]) > 0.5, x[:, 39] > 0, truth).astype(float)
    lesson = replace(made.lesson_of(n=n), reading=made.reading_of(x, paired=True), labels=labels, truth=truth)
    honest, cheating = (
        score(method.fit(lesson).logits(lesson.reading), truth).mean()
        for method in (EARLY_STOPPING_HONEST, EARLY_STOPPING_CHEATING)
    )
    assert cheating > 0.98
    assert honest < 0.8
    made.same_student(
        EARLY_STOPPING_HONEST, lesson, EARLY_STOPPING_HONEST.fit(replace(lesson, truth=None)).logits(lesson.reading)
    )


def test_ties_stop_first(monkeypatch):
    lesson = made.lesson_of(n=96)
    flat = replace(lesson, reading=made.reading_of(np.zeros((96, 2)) + 1, paired=True), labels=np.full(96, 0.9))
    monkeypatch.setattr(early_stopping, "STOPS", (2, 4, 8))
    assert (
        EARLY_STOPPING_HONEST.fit(flat).head.weight.tolist() == early_stopping.path(flat, (2,))[0].head.weight.tolist()
    )


def test_nan_among_features_is_refused():
    broken = made.reading_of(np.array([[1.0, np.nan]]), paired=True)
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
    lesson = made.lesson_of(n=96)
    rows = np.argsort(-np.abs(lesson.labels - 0.5))[:48]
    rows = np.flatnonzero(np.abs(lesson.labels - 0.5) >= np.abs(lesson.labels[rows] - 0.5).min())
    made.same_student(CONFIDENT_HALF, lesson, lesson.head(lesson.labels, rows=rows).logits(lesson.reading))
    weighed = lesson.head(lesson.labels, weights=np.abs(2 * lesson.labels - 1)).logits(lesson.reading)
    made.same_student(CONFIDENCE_WEIGHTED, lesson, weighed)


def test_hard_labels_are_all_equally_sure():
    lesson = made.lesson_of(n=96)
    hard = replace(lesson, labels=lesson.hard)
    for method in (CONFIDENT_HALF, CONFIDENCE_WEIGHTED):
        made.same_student(method, hard, NAIVE.fit(hard).logits(hard.reading))


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


# Curriculum and epiplexity


def test_the_core_comes_first_then_everything_at_half_the_rate(monkeypatch):
    lesson, seen = made.lesson_of(n=96), []

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
    lesson = made.lesson_of(noise=0.0)
    noise = np.arange(len(lesson.labels)) % 3 == 0
    coin = np.random.default_rng(5).random(len(noise)) < 0.5
    drops = epiplexity.epiplexity(lesson, np.where(noise, coin, made.truth_of(lesson)).astype(float))
    assert drops[~noise].mean() > 0.15 > drops[noise].mean() + 0.15


def test_smoothed_labels_teach_and_checked_ones_are_left():
    lesson = replace(made.lesson_of(n=96), checked=np.arange(96) < 4)
    refined = np.where(lesson.checked, lesson.labels, out_of_fold(lesson, lesson.labels))
    moved = epiplexity.smoothing(epiplexity.epiplexity(lesson, refined))
    told = np.where(lesson.checked, lesson.labels, refined + moved * (0.5 - refined))
    made.same_student(epiplexity.EPIPLEXITY, lesson, lesson.head(told, l2=L2).logits(lesson.reading))
