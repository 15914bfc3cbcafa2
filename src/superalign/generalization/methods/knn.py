"""Neighbours' labels: keep what agrees with the labels of similar questions (EleutherAI/w2s 2024, "zeta" filter; cf.
TopoFilter, Wu et al. 2020, 2012.04835).

Similar is a high cosine of the student's features, each in standard deviations. A pair and the same pair swapped are
one question, so the sign of a cosine does not count: it says whether a neighbour's label is to be turned round.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.confident import best
from superalign.generalization.reading import Reading

NEIGHBOURS = 20
"""As in the sweeps of EleutherAI/w2s."""
SHARE = 0.5
BLOCK = 1_000
"""Rows whose similarities are held at once."""


class Near(NamedTuple):
    """The nearest questions of each of n."""

    rows: np.ndarray
    """(n, k)."""
    cosine: np.ndarray
    """(n, k) how similar; of pairs the larger of the two orders."""
    swapped: np.ndarray
    """(n, k) bool: pairs that are similar when swapped."""

    def told(self, labels: np.ndarray) -> np.ndarray:
        """(n, k) labels of the neighbours, turned round for swapped pairs."""
        said = labels[self.rows]
        return np.asarray(np.where(self.swapped, 1 - said, said))


def directions(reading: Reading) -> np.ndarray:
    """(n, features) of length 1, or 0: features in standard deviations, of single texts centred."""
    x = reading.x if reading.paired else reading.x - reading.x.mean(axis=0)
    z = (x / (reading.x.std(axis=0) + 1e-6)).astype(np.float32)
    unit: np.ndarray = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9)
    return unit


def nearest(reading: Reading, k: int = NEIGHBOURS) -> Near:
    """The k most similar others of each question, all of them where there are fewer. ValueError for one question."""
    n, unit = len(reading), directions(reading)
    if n < 2:
        raise ValueError(f"{n} questions have no neighbours: bring two or more")
    k, found = min(k, n - 1), []
    for at in range(0, n, BLOCK):
        cosine = unit[at : at + BLOCK] @ unit.T
        alike = np.abs(cosine) if reading.paired else cosine
        swapped = (cosine < 0) & reading.paired
        own = np.arange(len(alike))
        alike[own, at + own] = -np.inf
        rows = np.argpartition(alike, n - k, axis=1)[:, n - k :]
        found.append((rows, np.take_along_axis(alike, rows, axis=1), np.take_along_axis(swapped, rows, axis=1)))
    return Near(*(np.concatenate(part) for part in zip(*found, strict=True)))


def disagreement(lesson: Lesson) -> np.ndarray:
    """(n,) |label − mean label of the neighbours|, to six places: in what order they are summed breaks no tie."""
    told = nearest(lesson.reading).told(lesson.labels)
    return np.asarray(np.abs(lesson.labels - told.mean(1)).round(6))


def fit(lesson: Lesson) -> HeadStudent:
    """On the half whose labels are closest to the mean label of their neighbours."""
    kept = best(-disagreement(lesson), SHARE) | lesson.checked
    return lesson.head(lesson.labels, rows=np.flatnonzero(kept))


KNN = Method(
    name="knn filter",
    title="the half that agrees best with its neighbours",
    source="EleutherAI/w2s, 2024, zeta filter; cf. TopoFilter, Wu et al. 2020, 2012.04835",
    fit=fit,
)
