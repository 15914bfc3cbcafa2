"""ROC curves with exact ties: area, and the true-positive rate at a fixed false-positive rate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy import stats as scipy_stats

from superalign.stats.interval import (
    Array,
    Interval,
    StatsError,
    checked,
    checked_binary,
    cluster_codes,
    cluster_sums,
    refused,
    same_length,
)


class OperatingPoint(NamedTuple):
    """A point of a ROC curve: the threshold, and the rates of a strict rule and of a randomised one."""

    threshold: float
    tpr: float
    """With ties at the threshold broken at random, so that the false-positive rate is exactly the one asked for."""
    strict_tpr: float
    strict_fpr: float


def _scored(scores: ArrayLike, labels: ArrayLike) -> tuple[Array, Any]:
    values, truth = checked(scores, "scores"), checked_binary(labels, "labels")
    same_length(values, truth, "pass one label a score")
    return values, truth == 1


def _area(positive: Array, negative: Array) -> float:
    ranks = scipy_stats.rankdata(np.concatenate([positive, negative]))
    return float((ranks[: len(positive)].sum() / len(positive) - (len(positive) + 1) / 2) / len(negative))


def auroc(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    clusters: Any = None,
    level: float = 0.95,
    method: str = "logit",
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """Area under the ROC curve, ties counted half, with an interval over clusters.

    `labels` are 1 for positives, 0 for negatives. `logit`: DeLong's variance with clusters (Obuchowski 1997,
    Biometrics 53:567), t on G − 1 degrees of freedom on the logit; where all positives lie above all negatives, or
    below, the bound that as many independent pairs give. `bootstrap`: percentiles of `draws` samples of clusters, too
    narrow with few clusters or near 1; draws that lose a class are drawn again.
    Refuses when one class is missing; with one cluster both ends are open. Raises StatsError on NaN (a missing score
    is not an innocent one), on other labels and other lengths.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).value
    0.75
    """
    values, truth = _scored(scores, labels)
    codes, groups = cluster_codes(clusters, len(values))
    if method not in ("logit", "bootstrap"):
        raise StatsError(f"there is no method {method!r}: use 'logit' or 'bootstrap'")
    if truth.all() or not truth.any():
        return refused("only one class among the labels", n=len(values), clusters=groups, method="auroc", level=level)
    area, name, note = _area(values[truth], values[~truth]), "clustered DeLong, logit t", ""
    low: float | None
    high: float | None
    if groups < 2:
        low, high, note = None, None, "1 cluster: nothing bounds the area, an interval needs two"
    elif method == "bootstrap":
        found = _drawn_areas(values, truth, codes, groups, np.random.default_rng(seed), draws)
        low, high = (float(end) for end in np.quantile(found, [(1 - level) / 2, (1 + level) / 2]))
        name = "cluster bootstrap"
    elif area in (0.0, 1.0):
        pairs = min(len(np.unique(codes[truth])), len(np.unique(codes[~truth])), groups // 2)
        bound = float(((1 - level) / 2) ** (1 / pairs))
        low, high = (bound, 1.0) if area == 1 else (0.0, 1 - bound)
        name, note = "independent pairs, exact", f"perfectly ordered: bounded by {pairs} independent pairs"
    else:
        low, high = _delong(values, truth, codes, groups, area, level)
        note = "every score is the same" if np.ptp(values) == 0 else ""
    return Interval(value=area, low=low, high=high, level=level, n=len(values), clusters=groups, method=name, note=note)


def _delong(values: Array, truth: Any, codes: Any, groups: int, area: float, level: float) -> tuple[float, float]:
    """Ends on the logit; each item's placement among the other class is its part of the area."""
    positive, negative = values[truth], values[~truth]
    parts = np.empty(len(values))
    for own, other, sign in ((truth, negative, 1.0), (~truth, positive, -1.0)):
        ranked, mine = np.sort(other), values[own]
        below = (np.searchsorted(ranked, mine, "left") + np.searchsorted(ranked, mine, "right")) / (2 * len(other))
        parts[own] = sign * (below - below.mean()) / len(mine)
    error = float(np.sqrt((cluster_sums(parts, codes, groups) ** 2).sum() * groups / (groups - 1)))
    middle = np.log(area / (1 - area))
    half = float(scipy_stats.t.ppf(0.5 + level / 2, groups - 1)) * error / (area * (1 - area))
    low, high = special.expit([middle - half, middle + half])
    return float(min(low, area)), float(max(high, area))


def _drawn_areas(values: Array, truth: Any, codes: Any, groups: int, rng: np.random.Generator, draws: int) -> Array:
    """Areas of `draws` samples of clusters; one that loses a class is drawn again, up to twenty draws for each."""
    order = np.argsort(values, kind="stable")
    ordered, cluster, positive = values[order], codes[order], truth[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    found: list[Array] = []
    for at in range(0, 20 * draws, 100):
        picked = rng.integers(groups, size=(min(100, 20 * draws - at), groups))
        found.append(_areas(np.stack([np.bincount(p, minlength=groups) for p in picked]), cluster, positive, starts))
        if sum(map(len, found)) >= draws:
            break
    return np.concatenate(found)[:draws]


def _areas(counts: Any, cluster: Any, positive: Any, starts: Any) -> Array:
    """Areas of samples given as counts (draws, clusters), items ordered by score; samples of one class are left out."""
    weight = counts[:, cluster].astype(np.float64)
    hits, all_ = (np.add.reduceat(w, starts, axis=1) for w in (weight * positive, weight))
    pos = hits.sum(1)
    neg = all_.sum(1) - pos
    kept = (pos > 0) & (neg > 0)
    hits, all_, pos, neg = hits[kept], all_[kept], pos[kept], neg[kept]
    ranks = np.cumsum(all_, axis=1) - (all_ - 1) / 2
    found: Array = ((hits * ranks).sum(1) / pos - (pos + 1) / 2) / neg
    return found


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, *, fpr: float) -> OperatingPoint:
    """True-positive rate at exactly `fpr`: P₊(s > τ) + P₊(s = τ) · clip((α − P₋(s > τ)) / P₋(s = τ), 0, 1).

    τ is the largest score at which P₋(s ≥ τ) exceeds α; the strict rates flag s > τ only.
    Raises StatsError when a class is missing, or a label is not 0 or 1.

    >>> tpr_at_fpr([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1], fpr=0.0).tpr
    0.6666666666666666
    """
    values, truth = _scored(scores, labels)
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
