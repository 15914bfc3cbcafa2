"""Answers of one setting, graded: what is right, how well the order is right, and a mean over seeds and clusters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from superalign.generalization.material import score
from superalign.stats.interval import Array, Interval, StatsError, cluster_codes, refused
from superalign.stats.mean import SAME
from superalign.stats.pgr import Sample, by_cluster, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One student of one setting and supervision beside its bounds: all log-odds of yes, one row a seed.

    A log-odds that is no finite number counts as wrong, 0 as half right. Raises StatsError where shapes differ.
    """

    truth: np.ndarray
    """(n,) bool: is the answer yes?"""
    clusters: np.ndarray
    """(n,) what is resampled together."""
    floor: np.ndarray
    """(seeds, n) the supervisor's."""
    ceiling: np.ndarray
    """(seeds, n) of the strong model fitted on the truth of the same questions."""
    student: np.ndarray
    """(seeds, n)"""

    def __post_init__(self) -> None:
        n = len(self.truth)
        if n == 0 or len(self.clusters) != n:
            raise StatsError(f"{n} answers and {len(self.clusters)} cluster labels: bring one of each a question")
        for name in ("floor", "ceiling", "student"):
            shape = getattr(self, name).shape
            if len(shape) != 2 or shape[1] != n or shape[0] != len(self.floor) or shape[0] == 0:
                raise StatsError(f"{name} has shape {shape}: bring (seeds, {n}), the same seeds for all three")

    @property
    def codes(self) -> np.ndarray:
        """(n,) the clusters as numbers."""
        return cluster_codes(self.clusters, len(self.truth))[0]

    @property
    def sides(self) -> tuple[Array, Array, Array]:
        """Correctness (seeds, n) of floor, student and ceiling."""
        floor, student, ceiling = (score(side, self.truth) for side in (self.floor, self.student, self.ceiling))
        return floor, student, ceiling

    def of(self, student: np.ndarray) -> Graded:
        """The same bounds beside another student, (k, n), of the first k seeds."""
        k = len(student)
        return replace(self, student=student, floor=self.floor[:k], ceiling=self.ceiling[:k])


class Mean(NamedTuple):
    """A mean over seeds and clusters, and what its interval is made of."""

    interval: Interval
    error: float
    """Standard error."""
    df: float


def mean_over(
    values: np.ndarray, clusters: np.ndarray, *, level: float = 0.95, least: float = -np.inf, most: float = np.inf
) -> Mean:
    """Mean of `values` (seeds, n) over items `clusters` (n,) that all seeds share, t over seeds and clusters.

    The variance is that of `superalign.stats.pgr`, and never under the clusters' part or the seeds' alone; degrees of
    freedom by Satterthwaite (1946) over all of its parts, also where the seeds' own is estimated as 0: with few seeds
    that estimate is no knowledge. Ends stay inside [least, most]. Refuses with one cluster.

    >>> mean_over(np.array([[0.0, 1.0, 1.0, 1.0]]), np.arange(4)).interval.value
    0.75
    """
    rows, name = list(np.atleast_2d(values)), "t over seeds and clusters"
    sample = by_cluster(rows, rows, rows, [clusters] * len(rows))
    groups, value = sample.sizes.shape[1], float(sample.means[:, 0].mean())
    if groups < 2:
        no = refused("1 clusters: an interval needs two", n=sample.n, clusters=groups, method=name, level=level)
        return Mean(no, float("nan"), float("nan"))
    error, df = _spread_of(sample)
    half = float(scipy_stats.t.ppf(0.5 + level / 2, df)) * error
    interval = Interval(
        value=value,
        low=max(value - half, least),
        high=min(value + half, most),
        level=level,
        n=sample.n,
        clusters=groups,
        method=name,
        note=SAME if np.ptp(values) == 0 else _seeds(len(rows)),
    )
    return Mean(interval, error, df)


def _spread_of(sample: Sample) -> tuple[float, float]:
    """Standard error and degrees of freedom of the first side's mean."""
    seeds, groups = sample.sizes.shape
    items, apart, noise = (float(part[0, 0]) for part in spread(sample))
    if seeds == 1:
        return float(np.sqrt(items)), float(groups - 1)
    whole = max(items + apart - noise, items, apart)
    doubt = items**2 / (groups - 1) + apart**2 / (seeds - 1) + noise**2 / ((seeds - 1) * (groups - 1))
    return float(np.sqrt(whole)), max(1.0, whole**2 / doubt) if doubt > 0 else float(groups - 1)


def _seeds(seeds: int) -> str:
    return "1 seed: the interval holds no noise of seeds" if seeds == 1 else ""


def accuracy(logits: np.ndarray, truth: np.ndarray, clusters: np.ndarray, *, level: float = 0.95) -> Interval:
    """Share right of logits (seeds, n), as `score` counts, over seeds and clusters."""
    return mean_over(score(logits, truth), clusters, level=level, least=0.0, most=1.0).interval


def area(logits: np.ndarray, truth: np.ndarray, clusters: np.ndarray, *, level: float = 0.95) -> Interval:
    """Area under the ROC curve of logits (seeds, n), mean over seeds, clustered; refuses where one class is missing."""
    if not two_classes(truth):
        groups = cluster_codes(clusters, len(truth))[1]
        return refused("only one class among the answers", n=len(truth), clusters=groups, method="auroc", level=level)
    found = mean_over(area_parts(logits, truth), clusters, level=level, least=0.0, most=1.0).interval
    return replace(found, method="DeLong placements, t over seeds and clusters")


def two_classes(truth: np.ndarray) -> bool:
    """Are there questions of both answers?"""
    return bool(0 < int(np.count_nonzero(truth)) < len(truth))


def area_parts(logits: np.ndarray, truth: np.ndarray) -> Array:
    """Each item's part of the area under the ROC curve, (seeds, n); their mean is the area, ties counted half.

    With V an item's placement among the other class (DeLong et al. 1988), a positive's part is A + n/n₁·(V − A) and a
    negative's A + n/n₀·(V − A): the infinitesimal jackknife's pseudo-values. Their clustered variance is Obuchowski's
    (1997), and what is said of a mean (seeds, clusters, PGR) can be said of the area. A log-odds that is no finite
    number is placed last in its class. Raises StatsError where one class is missing.

    >>> float(area_parts(np.array([[0.1, 0.4, 0.35, 0.8]]), np.array([False, False, True, True])).mean())
    0.75
    """
    yes = np.asarray(truth, dtype=bool)
    if not two_classes(yes):
        raise StatsError(f"all {len(yes)} answers are the same: an area needs both classes")
    return np.stack([_parts(row, yes) for row in np.atleast_2d(np.asarray(logits, dtype=np.float64))])


def _parts(row: Array, yes: np.ndarray) -> Array:
    known = np.where(np.isfinite(row), row, np.where(yes, -np.inf, np.inf))
    placed: Array = np.empty(len(row))
    for own, sign in ((yes, 1), (~yes, -1)):
        other = np.sort(sign * known[~own])
        mine = sign * known[own]
        placed[own] = (np.searchsorted(other, mine, "left") + np.searchsorted(other, mine, "right")) / (2 * len(other))
    whole = placed[yes].mean()
    scaled: Array = whole + len(row) / np.where(yes, yes.sum(), (~yes).sum()) * (placed - whole)
    return scaled
