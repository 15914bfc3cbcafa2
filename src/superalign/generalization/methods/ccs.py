"""Contrast-consistent search (Burns et al. 2022, 2212.03827, §2.2): what is true of one text is false of the other.

L = (p(x⁺) − (1 − p(x⁻)))² + min(p(x⁺), p(x⁻))²: be consistent, and not undecided. x⁺ is the first text of a pair and
x⁻ the second, read as "this one is right", each normalised with its own mean and deviation, *of the questions that were
learned from* (elk took those of the exam, its issue 5, or none there, its pull request 232). L-BFGS from ten random
starts under weight decay .01, as elk; the least L, without decay, wins; the supervisor's labels give the sign. It needs
pairs. Our saving: a start runs on at most 1,000 pairs, and the best one goes on with all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from superalign.generalization.lesson import Lesson, Method
from superalign.generalization.methods.crc import PAIRS, side
from superalign.generalization.methods.probe import ContrastProbe
from superalign.generalization.reading import probability
from superalign.training.heads import LinearHead

STARTS = 10
STEPS = 100
"""Of L-BFGS, at most, from each start."""
DECAY = 0.01
PART = 1_000
"""Pairs that a start runs on."""
SOURCE = "Burns et al. 2022, 2212.03827, §2.2; weight decay and L-BFGS as in EleutherAI's elk"


class Side(NamedTuple):
    """All texts of one place, first or second."""

    z: np.ndarray
    """(n, features) float32, normalised."""
    mean: np.ndarray
    deviation: np.ndarray
    """(features,); infinite for a feature that does not vary, which so counts as 0."""


def side_of(x: np.ndarray) -> Side:
    """(n, features), normalised by itself."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation = np.where(deviation > 1e-6, deviation, np.inf)
    return Side(((x - mean) / deviation).astype(np.float32), mean, deviation)


def ccs_loss(plus: np.ndarray, minus: np.ndarray) -> np.ndarray:
    """L of p(x⁺) and p(x⁻), of any one shape.

    >>> ccs_loss(np.array([1.0, 0.5, 0.9]), np.array([0.0, 0.5, 0.3])).round(2).tolist()
    [0.0, 0.25, 0.13]
    """
    return np.asarray((plus - (1 - minus)) ** 2 + np.minimum(plus, minus) ** 2)


def fit(lesson: Lesson) -> ContrastProbe:
    """The best of ten starts. Raises ValueError for single texts."""
    read = lesson.reading
    if read.second is None:
        raise ValueError("contrast-consistent search needs pairs: single texts contradict nothing")
    plus, minus = side_of(read.first), side_of(read.second)
    rng = np.random.default_rng([lesson.seed, 31])
    part, width = rng.permutation(len(read))[:PART], plus.z.shape[1]
    starts = rng.normal(size=(STARTS, width + 1)) / np.sqrt(width)
    found = [searched(start, plus.z[part], minus.z[part]) for start in starts]
    best = min(found, key=lambda theta: objective(theta, plus.z[part], minus.z[part], 0.0)[0])
    best = searched(best, plus.z, minus.z)
    probe = probe_of(plus, minus, best[:-1], best[-1])
    if side(probe.logits(read), lesson.labels, lesson.weights) < 0:
        probe = probe_of(plus, minus, -best[:-1], -best[-1])
    return probe


def searched(start: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> np.ndarray:
    """(features + 1,) weight and offset where L-BFGS ends."""
    options = {"maxiter": STEPS, "ftol": 1e-5}
    return np.asarray(minimize(objective, start, (plus, minus, DECAY), "L-BFGS-B", jac=True, options=options).x)


def objective(theta: np.ndarray, plus: np.ndarray, minus: np.ndarray, decay: float) -> tuple[float, np.ndarray]:
    """Mean L plus decay/2 · |θ|², and its gradient; θ (features + 1,) holds the weight, then the offset."""
    weight = theta[:-1].astype(np.float32)
    p, q = probability(plus @ weight + theta[-1]), probability(minus @ weight + theta[-1])
    off, least = 2 * (p + q - 1) / len(p), 2 * np.minimum(p, q) / len(p)
    up, down = (off + least * (p < q)) * p * (1 - p), (off + least * (p >= q)) * q * (1 - q)
    slope = up.astype(np.float32) @ plus + down.astype(np.float32) @ minus
    gradient = np.append(slope, up.sum() + down.sum()) + decay * theta
    return float(ccs_loss(p, q).mean() + decay * (theta @ theta) / 2), gradient


def probe_of(plus: Side, minus: Side, weight: np.ndarray, offset: float) -> ContrastProbe:
    """The probe with this weight and offset that normalises other texts as these were."""
    first, second = (
        LinearHead(weight=weight, scale=one.deviation, centre=one.mean, offset=float(offset)) for one in (plus, minus)
    )
    return ContrastProbe(first=first, second=second)


CCS = Method(name="ccs", title="contrast-consistent search", source=SOURCE, fit=fit, needs=PAIRS)
