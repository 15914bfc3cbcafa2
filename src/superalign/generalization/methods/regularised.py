"""Naive learning under a penalty: what a student can't fit easily, it leaves to the supervisor's mistakes.

The penalty is fixed beforehand, or chosen on held-out labels: of the supervisor, which is honest, or true ones, which
is cheating and printed beside it (Burns et al. 2023, 2312.09390, §5.1.1, on early stopping; penalties as in ridge).
"""

from __future__ import annotations

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method

PENALTY = 3.0
"""A thousand times that of naive learning."""
TRIED = (0.003, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
SOURCE = "ridge penalty; selection as in Burns et al. 2023, 2312.09390, §5.1.1"


def fit(lesson: Lesson) -> HeadStudent:
    """With the one penalty."""
    return lesson.head(lesson.labels, l2=PENALTY)


def fit_honest(lesson: Lesson) -> HeadStudent:
    """With the penalty that agrees best with held-out labels of the supervisor."""
    return _chosen(lesson, lesson.labels)


def fit_cheating(lesson: Lesson) -> HeadStudent:
    """With the penalty that does best on held-out true labels. Raises ValueError where the lesson has none."""
    if lesson.truth is None:
        raise ValueError("choosing by the truth needs the truth: this lesson holds none")
    return _chosen(lesson, lesson.truth.astype(float))


def _chosen(lesson: Lesson, goal: np.ndarray) -> HeadStudent:
    """Fitted on all labels with the penalty that does best by `goal` on a fifth of the clusters; ties: the stronger."""
    held = lesson.held()
    rest, there = np.flatnonzero(~held), np.flatnonzero(held)

    def right(l2: float) -> float:
        logits = lesson.head(lesson.labels, l2=l2, rows=rest).logits(lesson.reading.take(there))
        return float(((logits > 0) == (goal[there] > 0.5)).mean())

    return lesson.head(lesson.labels, l2=max(TRIED, key=lambda l2: (right(l2), l2)))


REGULARISED = Method(name="regularised", title=f"naive, penalty {PENALTY:g}", source=SOURCE, fit=fit)
REGULARISED_HONEST = Method(
    name="regularised, honest choice", title="penalty chosen by held-out weak labels", source=SOURCE, fit=fit_honest
)
REGULARISED_CHEATING = Method(
    name="regularised, cheating choice",
    title="penalty chosen by held-out true labels",
    source=SOURCE,
    fit=fit_cheating,
    kind="cheating",
)
