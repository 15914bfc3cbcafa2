"""Epiplexity (Anthropic's automated researchers, 2026; the measure is Finzi et al. 2026, 2601.03220): labels that
become compressible carry structure, those that never do are noise.

Weak labels are replaced by out-of-fold ones. A probe is trained on these, and a label's epiplexity is the drop of its
loss between the first time that the probe meets it and the last. The lower two fifths are smoothed towards ½, the worst
most, and the student learns from all. Published as pseudocode, for a model that is trained whole; here the probe is a
head under plain descent, as in `early_stopping`, and the symmetry of heads stands for swap augmentation.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.early_stopping import descend, inputs_of
from superalign.generalization.methods.em import out_of_fold

PASSES = 5
"""Of the probe: as many as all of their runs make."""
TAIL = 0.4
CURVE = 2.0
"""The published γ."""


def smoothing(epiplexity: np.ndarray) -> np.ndarray:
    """(n,) how far each label is moved to ½: 0 above the tail, ((tail − rank)/tail)^γ in it; equals are ranked equal.

    >>> smoothing(np.array([4.0, 1.0, 2.0, 5.0, 3.0])).round(2).tolist()
    [0.0, 0.25, 0.0, 0.0, 0.0]
    """
    rank = rankdata(epiplexity) / len(epiplexity)
    return np.asarray(np.clip((TAIL - rank) / TAIL, 0, 1) ** CURVE)


def epiplexity(lesson: Lesson, labels: np.ndarray) -> np.ndarray:
    """(n,) nats by which the loss on each label falls between the probe's first and last meeting with it."""
    seen, losses = inputs_of(lesson.reading), np.zeros((PASSES, len(labels)))
    met = np.zeros(len(labels), dtype=np.int64)
    rng = np.random.default_rng([lesson.seed, 43])
    for step in descend(seen.z, labels, lesson.weights, rate=seen.rate, rng=rng, passes=PASSES):
        told, said = labels[step.rows], np.clip(step.said, 1e-7, 1 - 1e-7)
        losses[met[step.rows], step.rows] = -told * np.log(said) - (1 - told) * np.log(1 - said)
        met[step.rows] += 1
    return np.asarray(losses[0] - losses[-1])


def fit(lesson: Lesson) -> HeadStudent:
    """On smoothed out-of-fold labels; checked ones stay as they were checked. Raises ValueError with one cluster."""
    refined = np.where(lesson.checked, lesson.labels, out_of_fold(lesson, lesson.labels))
    moved = smoothing(epiplexity(lesson, refined))
    return lesson.head(np.where(lesson.checked, refined, (1 - moved) * refined + moved / 2))


EPIPLEXITY = Method(
    name="epiplexity",
    title="labels that never become compressible are smoothed",
    source="Anthropic's automated researchers, 2026; Finzi et al. 2026, 2601.03220",
    fit=fit,
)
