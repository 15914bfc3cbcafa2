"""Bootstrapping by consistency: the model labels, learns from what it said consistently, and labels again.

Simple unsupervised elicitation (Shrivastava et al.) prompts a model with examples that it labelled itself, and keeps
answers that do not change with the examples. Here a context is a head fitted on a third of the questions (by cluster),
the first labels are zero-shot beliefs, and a question is kept where the two heads that never met it agree; these then
are the next round's examples. Nothing of the supervisor is used. On pairs, heads agree with themselves in both orders.
"""

from __future__ import annotations

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.reading import probability

FOLDS = 3
ROUNDS = 3


def fit(lesson: Lesson) -> HeadStudent:
    """Three rounds, then a head on what is kept. Raises ValueError with fewer than three clusters."""
    labels, kept, same = lesson.reading.belief, np.ones(len(lesson.reading), dtype=bool), np.ones(len(lesson.reading))
    fold = folded(lesson)
    for _ in range(ROUNDS):
        heads = [lesson.head(labels, rows=np.flatnonzero(kept & (fold == one)), weights=same) for one in range(FOLDS)]
        labels, kept = judged(np.stack([head.logits(lesson.reading) for head in heads]), fold)
    return lesson.head(labels, rows=np.flatnonzero(kept), weights=same)


def judged(logits: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) mean P(yes) of the heads that did not learn from a question, and whether all of them say the same.

    `logits` (folds, n) are those of the heads, each fitted on the fold (n,) of its number.

    >>> p, kept = judged(np.array([[9.0, 9.0], [0.5, -0.5], [0.5, 0.5]]), np.array([0, 0]))
    >>> p.round(2).tolist(), kept.tolist()
    ([0.62, 0.5], [True, False])
    """
    rows = np.arange(len(fold))
    others = np.stack([logits[(fold + far) % len(logits), rows] for far in range(1, len(logits))])
    agreed = (np.sign(others) == np.sign(others[0])).all(axis=0) & (others[0] != 0)
    return probability(others).mean(axis=0), np.asarray(agreed)


def folded(lesson: Lesson) -> np.ndarray:
    """(n,) fold of each question, clusters kept whole and drawn by the seed."""
    names, codes = np.unique(lesson.clusters, return_inverse=True)
    if len(names) < FOLDS:
        raise ValueError(f"{len(names)} clusters make no {FOLDS} folds: bring questions of more")
    return np.asarray(np.random.default_rng([lesson.seed, 47]).permutation(len(names))[codes] % FOLDS)


CONSISTENT = Method(
    name="consistent bootstrapping",
    title="self-labelled, kept where heads that never met a question agree",
    source="Shrivastava et al., Simple unsupervised elicitation; our reading for frozen features",
    fit=fit,
    kind="unsupervised",
)
