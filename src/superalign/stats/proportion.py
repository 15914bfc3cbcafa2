"""Proportions of clustered trials, near 0 and 1 too (Korn and Graubard 1998, Survey Methodology 24:193)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.interval import Interval, StatsError, checked, cluster_codes, refused


def proportion_interval(x: ArrayLike, *, clusters: Any = None, level: float = 0.95) -> Interval:
    """Mean of `x` (n,) in [0, 1] with a Clopper–Pearson interval on the effective number of trials.

    That number is p(1 − p)/v, v the clustered variance of the mean, scaled by the squared ratio of the t quantiles on
    n − 1 and G − 1 degrees of freedom, and never above n. Where all values are 0, or all 1, v says nothing and each
    cluster counts as one trial. Ends never leave [0, 1]; values between 0 and 1 (ties, means over seeds) are allowed.
    Refuses with fewer than two clusters; raises StatsError on NaN and on values outside [0, 1].

    >>> round(proportion_interval([1.0] * 8).low, 3)
    0.631
    """
    values = checked(x)
    if len(values) and (values.min() < 0 or values.max() > 1):
        raise StatsError(f"values from {values.min():g} to {values.max():g}: a proportion needs values in [0, 1]")
    n = len(values)
    codes, groups = cluster_codes(clusters, n)
    if groups < 2:
        why = f"{groups} clusters: an interval needs two"
        return refused(why, n=n, clusters=groups, method="Korn–Graubard", level=level)
    p, tail = float(values.mean()), (1 - level) / 2
    trials = float(groups) if p in (0.0, 1.0) else _effective(values - p, codes, groups, p * (1 - p), tail)
    hits = p * trials
    return Interval(
        value=p,
        low=0.0 if p == 0 else float(scipy_stats.beta.ppf(tail, hits, trials - hits + 1)),
        high=1.0 if p == 1 else float(scipy_stats.beta.ppf(1 - tail, hits + 1, trials - hits)),
        level=level,
        n=n,
        clusters=groups,
        method="Korn–Graubard",
    )


def _effective(residuals: Any, codes: Any, groups: int, spread: float, tail: float) -> float:
    n = len(residuals)
    sums = np.bincount(codes, weights=residuals, minlength=groups)
    variance = float((sums**2).sum()) * groups / (groups - 1) / n**2
    wider = (scipy_stats.t.ppf(1 - tail, n - 1) / scipy_stats.t.ppf(1 - tail, groups - 1)) ** 2
    return min(float(n), spread / max(variance, 1e-300) * float(wider))
