"""Are stated probabilities right on average? The expected calibration error over bins of equal mass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.bootstrap import drawn_counts
from superalign.stats.interval import Array, Interval, StatsError, cluster_codes, refused
from superalign.stats.probabilities import forecasts


def calibration_error(
    p: ArrayLike,
    outcome: ArrayLike,
    *,
    bins: int = 10,
    debiased: bool = True,
    clusters: Any = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """Expected calibration error of binary events over `bins` of equal mass, clustered.

    Plain (`debiased=False`): Σ_b n_b/n |mean p − mean y|. It is biased upwards, the more the fewer items a bin holds,
    so its interval is made to hold at least its level: wide, and down to 0 where noise alone could be all of it.
    `debiased` takes the root-mean-square form without that part (Kumar, Liang and Ma 2019, 1909.10155, §4); its
    interval is a cluster jackknife's t on the square, which is smooth, and then the root.
    Items that share a probability share a bin. Raises StatsError with fewer items than twice the bins.

    >>> round(calibration_error([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1], bins=2, debiased=False, draws=50).value, 3)
    0.0
    """
    forecast, happened = forecasts(p, outcome)
    n = len(forecast)
    if bins < 1 or n < 2 * bins:
        raise StatsError(f"{n} items in {bins} bins: a bin needs two items at least")
    codes = _binned(forecast, bins)
    if debiased:
        return _jackknifed(forecast, happened, codes, clusters, level)

    return _bootstrapped(forecast, happened, codes, clusters, level, np.random.default_rng(seed), draws)


def _bootstrapped(
    p: Array, y: Array, bins: Any, clusters: Any, level: float, rng: np.random.Generator, draws: int
) -> Interval:
    """Upper end: the draws' quantile. Lower end: the value less Σ_b n_b/n |error of bin b's gap|, as drawn."""
    codes, groups = cluster_codes(clusters, len(p))
    name = "cluster bootstrap, lower end by the triangle inequality"
    if groups < 2:
        return refused(f"{groups} clusters: an interval needs two", n=len(p), clusters=groups, method=name, level=level)
    count = int(bins.max()) + 1
    items, over = (
        np.bincount(codes * count + bins, weights=w, minlength=groups * count).reshape(groups, count)
        for w in (np.ones(len(p)), p - y)
    )
    gap = over.sum(0) / np.maximum(items.sum(0), 1)
    value = float((items.sum(0) * np.abs(gap)).sum() / len(p))
    counts = drawn_counts(groups, rng, draws)
    held, above = counts @ items, counts @ over
    off = (held * np.abs(above / np.maximum(held, 1) - gap)).sum(1) / held.sum(1)
    tail = (1 + level) / 2
    low = max(0.0, value - float(np.quantile(off, tail)))
    high = max(value, float(np.quantile(np.abs(above).sum(1) / held.sum(1), tail)))
    return Interval(value=value, low=low, high=high, level=level, n=len(p), clusters=groups, method=name)


def _jackknifed(p: Array, y: Array, bins: Any, clusters: Any, level: float) -> Interval:
    codes, groups = cluster_codes(clusters, len(p))
    name = "cluster jackknife of the square, t"
    if groups < 2:
        return refused(f"{groups} clusters: an interval needs two", n=len(p), clusters=groups, method=name, level=level)
    square, most = _square(p, y, bins), min(groups, 400)
    parts = codes if most == groups else codes % most  # many clusters: jackknifed in that many blocks
    without = np.array([_square(p[parts != g], y[parts != g], bins[parts != g]) for g in range(most)])
    error = float(np.sqrt((most - 1) / most * ((without - without.mean()) ** 2).sum()))
    half = float(scipy_stats.t.ppf(0.5 + level / 2, most - 1)) * error
    value, low, high = (float(np.sqrt(max(x, 0.0))) for x in (square, square - half, square + half))
    return Interval(value=value, low=low, high=high, level=level, n=len(p), clusters=groups, method=name)


def _binned(p: Array, bins: int) -> Any:
    """Bin of each item: equal mass, ties together."""
    order = np.sort(p)
    edges = order[np.linspace(0, len(p) - 1, bins + 1)[1:-1].round().astype(int)]
    return np.searchsorted(np.unique(edges), p, side="right")


def _square(p: Array, y: Array, bins: Any) -> float:
    """Mean squared gap without the part that noise in the bins adds; it may be negative."""
    counts = np.bincount(bins).astype(np.float64)
    keep = counts > 0
    mean_p, mean_y = (np.bincount(bins, weights=x)[keep] / counts[keep] for x in (p, y))
    noise = mean_y * (1 - mean_y) / np.maximum(counts[keep] - 1, 1)
    return float((counts[keep] * ((mean_p - mean_y) ** 2 - noise)).sum() / counts.sum())
