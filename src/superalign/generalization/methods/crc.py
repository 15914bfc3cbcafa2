"""Contrastive representation clustering: the direction along which the two texts of pairs differ most.

CRC-TPC of Burns et al. 2022 (2212.03827) takes the top principal component of differences and cuts
at 0. Nothing tells which side is the right one: the supervisor's labels do, or zero-shot beliefs. Where the supervisor,
or any other loud feature, differs more than truth does, this finds that. Differences are scaled as for heads, and
every pair counts in both orders, so that their mean is 0. It needs pairs.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.mean_difference import pointed

SOURCE = "Burns et al. 2022, 2212.03827, CRC-TPC"
PAIRS = frozenset({"pairs"})


def fit(lesson: Lesson) -> HeadStudent:
    """The top component, its sign by the supervisor's labels."""
    return _fitted(lesson, lesson.labels, lesson.weights)


def fit_zero_shot(lesson: Lesson) -> HeadStudent:
    """The top component, its sign by the student model's zero-shot belief."""
    return _fitted(lesson, lesson.reading.belief, np.ones(len(lesson.reading)))


def _fitted(lesson: Lesson, told: np.ndarray, weights: np.ndarray) -> HeadStudent:
    x = lesson.reading.x
    scale = x.std(axis=0) + 1e-6
    direction = components(x / scale, 1)[:, 0]
    return pointed(x, direction * side(x / scale @ direction, told, weights), scale)


def components(z: np.ndarray, count: int) -> np.ndarray:
    """(features, count) leading principal directions of (n, features) differences in both orders, greatest first."""
    width = z.shape[1]
    z = z.astype(np.float64)
    axes = eigh(z.T @ z / len(z), subset_by_index=[max(width - count, 0), width - 1])[1]
    return np.asarray(axes[:, ::-1])


def side(logits: np.ndarray, told: np.ndarray, weights: np.ndarray) -> float:
    """1 if the signs of (n,) logits agree with (n,) probabilities, as sure as each is, −1 if they contradict them.

    >>> side(np.array([1.0, -1.0]), np.array([0.2, 0.6]), np.ones(2))
    -1.0
    """
    return -1.0 if (weights * np.sign(logits) * (2 * told - 1)).sum() < 0 else 1.0


CRC = Method(name="crc", title="top principal component of contrast differences", source=SOURCE, fit=fit, needs=PAIRS)
CRC_ZERO_SHOT = Method(
    name="crc, zero-shot sign",
    title="the same, its sign by the model's own belief",
    source=SOURCE,
    fit=fit_zero_shot,
    kind="unsupervised",
    needs=PAIRS,
)
