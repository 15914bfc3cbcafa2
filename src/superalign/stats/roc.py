"""ROC curves with exact ties: area, and the true-positive rate at a fixed false-positive rate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from superalign.stats.interval import Array, Interval, StatsError, checked, cluster_codes, refused


class OperatingPoint(NamedTuple):
    """A point of a ROC curve: the threshold, and the rates of a strict rule and of a randomised one."""

    threshold: float
    tpr: float
    """With ties at the threshold broken at random, so that the false-positive rate is exactly the one asked for."""
    strict_tpr: float
    strict_fpr: float


def _area(positive: Array, negative: Array) -> float:
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[: len(positive)].sum() / len(positive) - (len(positive) + 1) / 2) / len(negative))


def auroc(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    clusters: Any = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """Area under the ROC curve, ties counted half, with a cluster-bootstrap percentile interval.

    `labels` are 1 for positives. Refuses when one class is missing; raises StatsError on NaN: a missing score is
    not an innocent one. Draws that lose a class are drawn again.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).value
    0.75
    """
    values, truth = checked(scores, "scores"), checked(labels, "labels") > 0.5
    codes, groups = cluster_codes(clusters, len(values))
    if truth.all() or not truth.any():
        return refused("only one class among the labels", n=len(values), clusters=groups, method="auroc", level=level)
    area = _area(values[truth], values[~truth])
    rng, found = np.random.default_rng(seed), []
    members = [np.flatnonzero(codes == g) for g in range(groups)]
    for _ in range(20 * draws):
        rows = np.concatenate([members[g] for g in rng.integers(groups, size=groups)])
        if truth[rows].any() and not truth[rows].all():
            found.append(_area(values[rows][truth[rows]], values[rows][~truth[rows]]))
        if len(found) == draws:
            break
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        value=area,
        low=float(low),
        high=float(high),
        level=level,
        n=len(values),
        clusters=groups,
        method="cluster bootstrap",
    )


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, *, fpr: float) -> OperatingPoint:
    """True-positive rate at exactly `fpr`: P₊(s > τ) + P₊(s = τ) · clip((α − P₋(s > τ)) / P₋(s = τ), 0, 1).

    τ is the largest score at which P₋(s ≥ τ) exceeds α; the strict rates flag s > τ only.
    Raises StatsError when a class is missing.

    >>> tpr_at_fpr([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1], fpr=0.0).tpr
    0.6666666666666666
    """
    values, truth = checked(scores, "scores"), checked(labels, "labels") > 0.5
    positive, negative = values[truth], values[~truth]
    if len(positive) == 0 or len(negative) == 0:
        raise StatsError("a rate needs both positives and negatives: one class is missing")
    levels = np.unique(negative)[::-1]
    reached = np.array([(negative >= level).mean() for level in levels])
    tau = float(levels[min(int(np.searchsorted(reached, fpr, side="right")), len(levels) - 1)])
    above, tied = float((negative > tau).mean()), float((negative == tau).mean())
    share = float(np.clip((fpr - above) / tied, 0, 1))
    strict = float((positive > tau).mean())
    return OperatingPoint(
        threshold=tau,
        tpr=strict + share * float((positive == tau).mean()),
        strict_tpr=strict,
        strict_fpr=above,
    )


def best_cut(low: ArrayLike, high: ArrayLike) -> float:
    """The cut that best tells `high` values from `low` ones, by balanced accuracy: what lies above it counts as high.

    On ties the middle of the best cuts; each cut lies half-way between two neighbouring values, so that neither side
    is grazed. Raises StatsError for NaN, or when one side is empty or all values are the same.

    >>> best_cut([0, 1], [3, 4])
    2.0
    """
    under, over = checked(low, "low"), checked(high, "high")
    if len(under) == 0 or len(over) == 0:
        raise StatsError("a cut needs values on both sides: one side is empty")
    values = np.unique(np.concatenate([under, over]))
    if len(values) < 2:
        raise StatsError(f"a cut needs two different values: all are {values[0]}")
    cuts = (values[1:] + values[:-1]) / 2
    right = np.searchsorted(np.sort(under), cuts) / len(under) - np.searchsorted(np.sort(over), cuts) / len(over)
    best = np.flatnonzero(right >= right.max() - 1e-12)
    return float(cuts[best[len(best) // 2]])
