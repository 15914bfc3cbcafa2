"""Means and paired differences with clustered standard errors (Miller 2024, 2411.00640, §2.2 and §4.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.interval import Array, Interval, StatsError, checked, cluster_codes, cluster_sums, refused
from superalign.stats.wild import ends, weights

SAME = "every value is the same: no spread was seen, and an interval without width is no certainty"
FEW = 40
"""Under so many clusters `method="rule"` takes the wild bootstrap: clustered t intervals are too narrow there."""


def mean_interval(
    x: ArrayLike, *, clusters: Any = None, level: float = 0.95, method: str = "t", seed: int = 0, draws: int = 2000
) -> Interval:
    """Mean of `x` (n,) with a t interval on G − 1 degrees of freedom, errors clustered by `clusters` (n,).

    The variance is Σ_g (Σ_{i∈g} e_i)² / n² · G/(G − 1). Without clusters it is the usual standard error of a mean.
    `method`: `t`; `wild`, the restricted wild cluster bootstrap, inverted (Cameron, Gelbach and Miller 2008; seeded);
    or `rule`: wild under FEW clusters, else t, and the interval's own `method` says which it was. A t interval of
    fewer says so in its note.
    Refuses with fewer than two clusters or no values; raises StatsError on NaN. Where every value is the same the
    interval has no width, and its note says so: for zeros and ones use `proportion_interval`.

    >>> mean_interval([0.0, 1.0, 1.0, 1.0]).value
    0.75
    """
    values = checked(x)
    codes, groups = cluster_codes(clusters, len(values))
    if groups < 2:
        return refused(
            f"{groups} clusters: an interval needs two",
            n=len(values),
            clusters=groups,
            method="t",
            level=level,
        )
    if method not in ("t", "wild", "rule"):
        raise StatsError(f"there is no method {method!r}: use 't', 'wild' or 'rule'")
    if method == "wild" or (method == "rule" and groups < FEW):
        return _wild(values, codes, groups, level, np.random.default_rng(seed), draws)
    mean = float(values.mean())
    sums = np.bincount(codes, weights=values - mean, minlength=groups)
    error = float(np.sqrt((sums**2).sum() * groups / (groups - 1))) / len(values)
    half = float(scipy_stats.t.ppf(0.5 + level / 2, groups - 1)) * error
    return Interval(
        value=mean,
        low=mean - half,
        high=mean + half,
        level=level,
        n=len(values),
        clusters=groups,
        method="clustered t",
        note=SAME if np.ptp(values) == 0 else _narrow(groups) if groups < min(FEW, len(values)) else "",
    )


def _narrow(groups: int) -> str:
    return f"{groups} clusters: a t interval runs narrow where they are skewed or of unlike size; see method='rule'"


def _wild(values: Array, codes: Any, groups: int, level: float, rng: np.random.Generator, draws: int) -> Interval:
    sums, sizes = cluster_sums(values, codes, groups), cluster_sums(np.ones(len(values)), codes, groups)
    drawn, law = weights(groups, level, draws, rng)
    mean, name = float(values.mean()), f"wild cluster bootstrap, {law}"
    if np.allclose(sums, sizes * mean):
        low, high = mean, mean  # every cluster has the same mean: the t interval has no width either
    else:
        found = ends(sums, sizes, drawn, level)
        if found is None:
            why = f"{groups} clusters: no mean is rejected on one side at this level"
            return refused(why, n=len(values), clusters=groups, method=name, level=level)
        low, high = found
    note = SAME if np.ptp(values) == 0 else ""
    return Interval(value=mean, low=low, high=high, level=level, n=len(values), clusters=groups, method=name, note=note)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    clusters: Any = None,
    level: float = 0.95,
    method: str = "t",
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """Mean of a − b over the same items, clustered; methods as in `mean_interval`.

    Raises StatsError when the lengths differ.

    >>> paired_difference([1, 1, 0, 1], [0, 1, 0, 0]).value
    0.5
    """
    first, second = checked(a, "first values"), checked(b, "second values")
    if len(first) != len(second):
        raise StatsError(
            f"{len(first)} and {len(second)} values: a paired difference needs the same items on both sides"
        )
    return mean_interval(first - second, clusters=clusters, level=level, method=method, seed=seed, draws=draws)
