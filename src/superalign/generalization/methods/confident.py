"""Confidence filters: learn from what the supervisor is sure of (EleutherAI/w2s 2024; "confident labels" of Anthropic's
automated researchers, 2026, the baseline that people tuned): the surer half only, or all, weighed by how sure it is.
"""

from __future__ import annotations

import math

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method

SHARE = 0.5
SOURCE = "filters of EleutherAI/w2s, 2024; confident labels in Anthropic's automated researchers, 2026"


def confidence(labels: np.ndarray) -> np.ndarray:
    """(n,) how sure each label is: 0 for a tie, 1 for certainty.

    >>> confidence(np.array([0.5, 0.25, 1.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.asarray(2 * np.abs(labels - 0.5))


def best(scores: np.ndarray, share: float) -> np.ndarray:
    """(n,) bool: that share with the highest scores; as many more as tie with the last of them.

    >>> best(np.array([1.0, 3.0, 2.0, 2.0]), 0.5).tolist()
    [False, True, True, True]
    """
    last = max(math.ceil(share * len(scores)), 1)
    return np.asarray(scores >= np.sort(scores)[-last])


def fit_half(lesson: Lesson) -> HeadStudent:
    """On the surer half; labels that are equally sure are all kept."""
    kept = best(confidence(lesson.labels), SHARE) | lesson.checked
    return lesson.head(lesson.labels, rows=np.flatnonzero(kept))


def fit_weighted(lesson: Lesson) -> HeadStudent:
    """On all labels, each weighed by how sure it is; evenly where none is."""
    sure = confidence(lesson.labels)
    return lesson.head(lesson.labels, weights=lesson.weights * sure if sure.any() else None)


CONFIDENT_HALF = Method(
    name="confident half", title="the half that the supervisor is surer of", source=SOURCE, fit=fit_half
)
CONFIDENCE_WEIGHTED = Method(
    name="confidence weighted", title="labels weighed by how sure they are", source=SOURCE, fit=fit_weighted
)
