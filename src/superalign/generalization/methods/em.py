"""EM posterior: the supervisor as a noisy channel over the student's own beliefs (Dawid and Skene 1979, §2).

With a = P(said yes | yes), b = P(said yes | no) and the zero-shot belief as prior, EM finds channel and posteriors; the
student is fitted on these. Further rounds take as prior what a head says of questions that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.reading import probability

SOURCE = (
    "Dawid and Skene 1979, §2, with a model's belief as prior; rounds as in Anthropic's automated researchers, 2026"
)


def em_labels(labels: np.ndarray, prior: np.ndarray, *, rounds: int = 30) -> np.ndarray:
    """Posterior P(yes) from the verdicts of weak labels through a fitted noise channel, shape (n,).

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


def fit_rounds(rounds: int) -> Callable[[Lesson], HeadStudent]:
    """The method with so many rounds; checked labels stay as they were checked."""

    def posterior(lesson: Lesson, prior: np.ndarray) -> np.ndarray:
        return np.where(lesson.checked, lesson.labels, em_labels(lesson.labels, prior))

    def fit(lesson: Lesson) -> HeadStudent:
        q = posterior(lesson, lesson.reading.belief)
        for _ in range(rounds - 1):
            q = posterior(lesson, out_of_fold(lesson, q))
        return lesson.head(q)

    return fit


def out_of_fold(lesson: Lesson, labels: np.ndarray) -> np.ndarray:
    """(n,) P(yes) of two heads, each fitted on `labels` of one half of the clusters and asked about the other."""
    side, said = lesson.held(0.5), np.empty(len(labels))
    for held in (side, ~side):
        there = np.flatnonzero(held)
        head = lesson.head(labels, rows=np.flatnonzero(~held))
        said[there] = probability(head.logits(lesson.reading.take(there)))
    return said


EM = Method(name="em", title="EM posterior, one round", source=SOURCE, fit=fit_rounds(1))
EM_3 = Method(name="em, 3 rounds", title="EM posterior, three rounds", source=SOURCE, fit=fit_rounds(3))
