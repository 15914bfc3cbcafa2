"""Bootstrapping (Burns et al. 2023, 2312.09390, §4.3): weak → … → strong, each labels for the next."""

from __future__ import annotations

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.reading import probability


def passed_on(lesson: Lesson) -> np.ndarray:
    """(n,) labels as the last model between makes them; checked ones stay as they were checked."""
    labels = lesson.labels
    for reading in lesson.between.values():
        said = lesson.head(labels, reading=reading).logits(reading)
        labels = np.where(lesson.checked, lesson.labels, probability(said))
    return labels


def fit(lesson: Lesson) -> HeadStudent:
    """On what the chain of models between says."""
    return lesson.head(passed_on(lesson))


BOOTSTRAPPING = Method(
    name="bootstrapping",
    title="through the sizes between, each labels for the next",
    source="Burns et al. 2023, 2312.09390, §4.3, bootstrapping with intermediate model sizes",
    fit=fit,
    needs=frozenset({"between"}),
)
