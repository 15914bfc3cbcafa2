"""Weak-to-strong methods on frozen features: how a strong student uses labels that a weak supervisor gave.

Each takes pair differences (pairs, features), weak soft labels P(first is sound), per-pair weights and the student's
own zero-shot belief, and returns a head. Definitions: Burns et al. 2023 (2312.09390), appendix A; EM posterior:
Dawid and Skene's noise channel with the student's zero-shot belief as prior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from superalign.training.heads import LinearHead, fit_head

L2 = 0.003
REGULARISED_L2 = 3.0
CONFIDENCE, WARMUP = 0.5, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a student is given: features, labels, how much each label counts, which were checked, its own belief."""

    differences: np.ndarray
    labels: np.ndarray
    prior: np.ndarray
    checked: np.ndarray
    """(pairs,) bool: labels that were checked against ground truth."""
    checked_weight: float = 5.0

    @property
    def weights(self) -> np.ndarray:
        """(pairs,): checked labels count `checked_weight` times."""
        return np.where(self.checked, self.checked_weight, 1.0)


def naive(lesson: Lesson) -> LinearHead:
    """Cross-entropy on the weak soft labels."""
    return fit_head(lesson.differences, lesson.labels, l2=L2, weights=lesson.weights)


def regularised(lesson: Lesson) -> LinearHead:
    """The same with a penalty a thousand times as strong, fixed beforehand and not chosen on any validation data."""
    return fit_head(lesson.differences, lesson.labels, l2=REGULARISED_L2, weights=lesson.weights)


def logconf(lesson: Lesson) -> LinearHead:
    """Auxiliary confidence loss: (1 − a)·CE(f, weak) + a·CE(f, 1[f > t]), a rising to 0.5 over a fifth of training.

    t is the median logit, so that half of the pairs count as positive.
    """
    labels = torch.tensor(lesson.labels, dtype=torch.float32)

    def target(logits: torch.Tensor, done: float) -> torch.Tensor:
        a = CONFIDENCE * min(1.0, done / WARMUP)
        return (1 - a) * labels + a * (logits > logits.median()).float()

    return fit_head(lesson.differences, lesson.labels, l2=L2, weights=lesson.weights, target=target)


def em_labels(labels: np.ndarray, prior: np.ndarray, *, rounds: int = 30) -> np.ndarray:
    """Posterior P(first is sound) from hard weak labels through a fitted noise channel, shape (pairs,).

    Start a = .7, b = .3; a in [.5, .99], b in [.01, .5], prior in [.001, .999].
    """
    said, pi = labels > 0.5, np.clip(prior, 0.001, 0.999)
    a, b = 0.7, 0.3
    q = pi
    for _ in range(rounds):
        one = pi * np.where(said, a, 1 - a)
        zero = (1 - pi) * np.where(said, b, 1 - b)
        q = one / (one + zero)
        a = float(np.clip((q * said).sum() / max(q.sum(), 1e-9), 0.5, 0.99))
        b = float(np.clip(((1 - q) * said).sum() / max((1 - q).sum(), 1e-9), 0.01, 0.5))
    return q


def em_posterior(lesson: Lesson) -> LinearHead:
    """Fit the student on the EM posterior; checked labels stay as they were checked."""
    q = np.where(lesson.checked, lesson.labels, em_labels(lesson.labels, lesson.prior))
    return fit_head(lesson.differences, q, l2=L2, weights=lesson.weights)


METHODS: Mapping[str, Callable[[Lesson], LinearHead]] = MappingProxyType(
    {"naive": naive, "regularised": regularised, "logconf": logconf, "em": em_posterior}
)


def zero_shot(surprisal_a: np.ndarray, surprisal_b: np.ndarray) -> np.ndarray:
    """P(first is sound) from mean surprisals alone: sigmoid of twice the difference in standard deviations."""
    gap = surprisal_b - surprisal_a
    return np.asarray(1 / (1 + np.exp(-np.clip(2 * gap / (gap.std() + 1e-9), -8, 8))))
