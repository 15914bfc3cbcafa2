"""Overlap density, twice: questions that hold an easy pattern (the supervisor's) and a hard one (the student's only).

Shin, Cooper and Sala 2024, 2412.03881, overlap detection: *hard* are questions below a change point of the supervisor's
confidence; a question's score is its largest |cosine| with a hard one, and *overlaps* are those of the others above a
change point of the scores: the student learns from these alone. We differ in three ways: features are in standard
deviations, the change point is exact where theirs looks at every fifth place, and the head is penalised as all are.

Anthropic's automated researchers, 2026, under the same name: the half of each verdict whose labels fit the student's
geometry best, by four z-scores that are added: what a cross-fitted head gives the label, how many neighbours share it,
density, and an entropy of the label near half a bit. They don't publish weights and k: weights are 1, and k is `knn`'s.
"""

from __future__ import annotations

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.confident import best, confidence
from superalign.generalization.methods.em import out_of_fold
from superalign.generalization.methods.knn import SHARE, directions, nearest
from superalign.generalization.reading import Reading


def change_point(values: np.ndarray) -> float:
    """The value at which sorted values split in two with the least squares within; −inf where they do not differ.

    >>> change_point(np.array([5.0, 1.0, 1.5, 5.5]))
    5.0
    """
    ordered = np.sort(values)
    if len(ordered) < 2 or ordered[0] == ordered[-1]:
        return float("-inf")
    left = np.arange(1, len(ordered))
    low = np.cumsum(ordered - ordered.mean())[:-1]
    between = low**2 * (1 / left + 1 / (len(ordered) - left))
    return float(ordered[1 + int(np.argmax(between))])


def overlaps(reading: Reading, labels: np.ndarray) -> np.ndarray:
    """(n,) bool: sure questions that are like unsure ones; all are where the supervisor is equally sure of all."""
    sure = confidence(labels)
    hard = sure < change_point(sure)
    if not hard.any():
        return np.ones(len(labels), dtype=bool)
    unit, found = directions(reading), np.zeros(len(labels), dtype=bool)
    alike = np.abs(unit[~hard] @ unit[hard].T).max(axis=1)
    found[~hard] = alike >= change_point(alike)
    return found


def fit(lesson: Lesson) -> HeadStudent:
    """On overlaps, as Shin et al. find them."""
    kept = overlaps(lesson.reading, lesson.labels) | lesson.checked
    return lesson.head(lesson.labels, rows=np.flatnonzero(kept))


def fits(lesson: Lesson) -> np.ndarray:
    """(n,) the automated researchers' score: the sum of four z-scores. Raises ValueError with one cluster."""
    told, near = lesson.hard, nearest(lesson.reading)
    said = out_of_fold(lesson, lesson.labels)
    probe = told * said + (1 - told) * (1 - said)
    smooth = (near.told(told) == told[:, None]).mean(1)
    far = np.sqrt(np.maximum(2 - 2 * near.cosine, 0)).mean(1)
    kept = np.clip(lesson.labels, 1e-6, 1 - 1e-6)
    nats = -kept * np.log(kept) - (1 - kept) * np.log(1 - kept)
    unlike = (nats - np.log(2) / 2) ** 2
    return np.asarray(sum(_z(signal) for signal in (probe, smooth, 1 / (far + 1e-6), -unlike)))


def fit_geometry(lesson: Lesson) -> HeadStudent:
    """On the half of each verdict that scores best."""
    scores, told = fits(lesson), lesson.hard
    kept = lesson.checked.copy()
    for verdict in np.unique(told):
        there = np.flatnonzero(told == verdict)
        kept[there] |= best(scores[there], SHARE)
    return lesson.head(lesson.labels, rows=np.flatnonzero(kept))


def _z(signal: np.ndarray) -> np.ndarray:
    values = signal.astype(np.float64)
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros(len(values))


OVERLAP = Method(
    name="overlap density",
    title="sure questions that are like unsure ones",
    source="Shin, Cooper and Sala 2024, 2412.03881, overlap detection",
    fit=fit,
)
OVERLAP_GEOMETRY = Method(
    name="overlap density, geometry",
    title="labels that fit the student's geometry",
    source="Anthropic's automated researchers, 2026, overlap density",
    fit=fit_geometry,
)
