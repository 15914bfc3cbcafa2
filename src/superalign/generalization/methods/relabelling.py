"""Relabelling (EleutherAI/w2s 2024): labels are replaced by what a student says that was not fitted on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.em import out_of_fold

SOURCE = "EleutherAI/w2s, 2024, relabelling by a cross-fitted logistic probe; cf. Reed et al. 2014, 1412.6596"


def relabelled(lesson: Lesson, rounds: int) -> np.ndarray:
    """(n,) labels after so many rounds of two-fold relabelling; checked ones stay as they were checked."""
    labels = lesson.labels
    for _ in range(rounds):
        labels = np.where(lesson.checked, lesson.labels, out_of_fold(lesson, labels))
    return labels


def fit_rounds(rounds: int) -> Callable[[Lesson], HeadStudent]:
    """The method with so many rounds."""
    return lambda lesson: lesson.head(relabelled(lesson, rounds))


RELABELLING = Method(name="relabelling", title="out-of-fold labels", source=SOURCE, fit=fit_rounds(1))
RELABELLING_3 = Method(
    name="relabelling, 3 rounds", title="out-of-fold labels, three rounds", source=SOURCE, fit=fit_rounds(3)
)
