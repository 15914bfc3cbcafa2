"""Minimum-description-length curriculum (Anthropic's automated researchers, 2026): what is sure first, then everything.

Labels that the supervisor is sure of are taken for the compressible core. Two passes through the surer half, then from
those same weights three passes through all labels at half the rate: published as pseudocode, for a model that is
trained whole. Here a head is, by plain descent as in `early_stopping`, whose rate and batch it shares.
"""

from __future__ import annotations

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.confident import SHARE, best, confidence
from superalign.generalization.methods.early_stopping import descend, inputs_of

CORE, ALL = 2, 3
"""Passes through the core, and through all labels."""
SLOWER = 0.5
"""How much of the rate the second phase keeps."""


def fit(lesson: Lesson) -> HeadStudent:
    """The core, then all."""
    seen = inputs_of(lesson.reading)
    core = np.flatnonzero(best(confidence(lesson.labels), SHARE) | lesson.checked)
    beta = np.zeros(seen.z.shape[1])
    rng = np.random.default_rng([lesson.seed, 41])
    for rows, passes, rate in ((core, CORE, seen.rate), (np.arange(len(seen.z)), ALL, SLOWER * seen.rate)):
        told, weights = lesson.labels[rows], lesson.weights[rows]
        for step in descend(seen.z[rows], told, weights, rate=rate, rng=rng, passes=passes, start=beta):
            beta = step.beta
    return seen.student(beta)


MDL = Method(
    name="mdl curriculum",
    title="the surer half, then all at half the rate",
    source="Anthropic's automated researchers, 2026, MDL curriculum",
    fit=fit,
)
