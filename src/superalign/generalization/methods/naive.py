"""Naive weak-to-strong learning: cross-entropy on what the supervisor said (Burns et al. 2023, 2312.09390, §4.2)."""

from __future__ import annotations

from superalign.generalization.lesson import HeadStudent, Lesson, Method

SOURCE = "Burns et al. 2023, 2312.09390, §4.2"


def fit_soft(lesson: Lesson) -> HeadStudent:
    """On the supervisor's probabilities."""
    return lesson.head(lesson.labels)


def fit_hard(lesson: Lesson) -> HeadStudent:
    """On its verdicts; ½ where it can't decide."""
    return lesson.head(lesson.hard)


NAIVE = Method(name="naive", title="naive, soft labels", source=SOURCE, fit=fit_soft)
NAIVE_HARD = Method(name="naive hard", title="naive, hard labels", source=SOURCE, fit=fit_hard)
