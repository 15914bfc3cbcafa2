"""Power: what a sample can show (Fleiss, Levin and Paik 2003, §4.2; Miller 2411.00640, §5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize
from scipy import stats as scipy_stats

from superalign.stats.binomial import binomial_interval
from superalign.stats.interval import StatsError, checked, checked_rate, cluster_codes


def mde_two_proportions(p: float, n: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """The smallest rise above `p` that two independent samples of `n` each show with that power, two-sided.

    Solves δ = z₁₋α/₂ √(2 p̄ q̄ / n) + z_power √((p q + (p + δ)(q − δ)) / n), p̄ the mean of both rates. Where even a
    rise to 1 would not show, 1 − p. Raises StatsError outside 0 ≤ p ≤ 1, n ≥ 1, 0 < power, level < 1.

    >>> [round(mde_two_proportions(0.6, n), 3) for n in (200, 600, 1000)]
    [0.132, 0.078, 0.06]
    """
    if not (0 <= p <= 1 and n >= 1 and 0 < power < 1 and 0 < level < 1):
        raise StatsError(f"p = {p}, n = {n}, power = {power}, level = {level}: rates lie in [0, 1] and n is at least 1")
    outer, inner = scipy_stats.norm.ppf(0.5 + level / 2), scipy_stats.norm.ppf(power)

    def short(delta: float) -> float:
        q = p + delta
        mean = (p + q) / 2
        pooled, own = 2 * mean * (1 - mean) / n, (p * (1 - p) + q * (1 - q)) / n
        return float(delta - outer * pooled**0.5 - inner * max(own, 0.0) ** 0.5)

    if p >= 1 or short(1 - p) <= 0:
        return 1 - p
    return float(optimize.brentq(short, 1e-12, 1 - p, xtol=1e-12))


def sample_size_two_proportions(p: float, delta: float, *, power: float = 0.8, level: float = 0.95) -> int:
    """The smallest n a side at which a rise of `delta` above `p` shows: the inverse of `mde_two_proportions`.

    >>> sample_size_two_proportions(0.6, 0.0604) in range(990, 1010)
    True
    """
    if not 0 < delta <= 1 - p:
        raise StatsError(f"delta = {delta}: a rise above p = {p} lies in (0, {1 - p:g}]")
    low, high = 1, 2
    while mde_two_proportions(p, high, power=power, level=level) > delta:
        low, high = high, 2 * high
        if high > 1 << 40:
            raise StatsError(f"no sample shows a rise of {delta}: choose a larger one")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if mde_two_proportions(p, middle, power=power, level=level) > delta else (low, middle)
        )
    return high


def intraclass_correlation(x: ArrayLike, clusters: Any) -> float:
    """Share of the variance of `x` (n,) that lies between clusters, by analysis of variance (Donner 1986); may be < 0.

    Raises StatsError with fewer than two clusters, or where every cluster has one value.

    >>> intraclass_correlation([0, 0, 1, 1], ["a", "a", "b", "b"])
    1.0
    """
    values = checked(x)
    codes, groups = cluster_codes(clusters, len(values))
    n = len(values)
    if groups < 2 or groups == n:
        raise StatsError(
            f"{groups} clusters of {n} values: a correlation within clusters needs two, one of them larger"
        )
    sizes = np.bincount(codes, minlength=groups).astype(np.float64)
    means = np.bincount(codes, weights=values, minlength=groups) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (groups - 1)
    within = float(((values - means[codes]) ** 2).sum()) / (n - groups)
    usual = (n - float((sizes**2).sum()) / n) / (groups - 1)
    total = between + (usual - 1) * within
    return (between - within) / total if total > 0 else 0.0


def design_effect(sizes: ArrayLike, icc: float) -> float:
    """By how much clusters of these sizes (G,) inflate the variance of a mean: 1 + (m(1 + cv²) − 1) · icc.

    >>> design_effect([10, 10, 10], 0.1)
    1.9
    """
    m = checked(sizes, "cluster sizes")
    if len(m) == 0 or m.min() < 1:
        raise StatsError("cluster sizes are at least 1, and there is at least one cluster")
    return max(1e-12, 1 + (float((m**2).sum() / m.sum()) - 1) * icc)


def mde_mean(
    sd: float, n: int, *, clusters: int | None = None, icc: float = 0.0, power: float = 0.8, level: float = 0.95
) -> float:
    """The smallest mean (of a paired difference, say) that n values of that standard deviation show.

    (t₁₋α/2 + t_power) · sd · √(design effect / n) on G − 1 degrees of freedom, clusters of equal size (Miller
    2411.00640, §5; Bloom 1995 for the t quantiles).

    >>> round(mde_mean(1.0, 100), 2)
    0.28
    """
    groups = n if clusters is None else clusters
    if not (sd >= 0 and n >= groups >= 2):
        raise StatsError(f"sd = {sd}, {n} values in {groups} clusters: two clusters at least, and a value in each")
    checked_rate(power, "power")
    spread = sd * (design_effect([n / groups] * groups, icc) / n) ** 0.5
    quantiles = scipy_stats.t.ppf([0.5 + checked_rate(level, "level") / 2, power], groups - 1)
    return float(quantiles.sum() * spread)


def power_mean(
    effect: float, sd: float, n: int, *, clusters: int | None = None, icc: float = 0.0, level: float = 0.95
) -> float:
    """The chance that n values with that mean and standard deviation show it, two-sided, by the noncentral t.

    >>> round(power_mean(0.5, 1.0, 34), 2)
    0.81
    """
    groups = n if clusters is None else clusters
    if not (sd > 0 and n >= groups >= 2):
        raise StatsError(f"sd = {sd}, {n} values in {groups} clusters: two clusters at least, and a value in each")
    spread = sd * (design_effect([n / groups] * groups, icc) / n) ** 0.5
    bar = float(scipy_stats.t.ppf(0.5 + checked_rate(level, "level") / 2, groups - 1))
    away = abs(effect) / spread
    tails = scipy_stats.nct.sf(bar, groups - 1, away) + scipy_stats.nct.cdf(-bar, groups - 1, away)
    return float(tails)


def sample_size_mean(
    effect: float, sd: float, *, cluster_size: int = 1, icc: float = 0.0, power: float = 0.8, level: float = 0.95
) -> int:
    """The fewest values, in clusters of `cluster_size`, that show a mean of `effect`: the inverse of `power_mean`.

    For a paired difference of zeros and ones, sd = √(share that differ − effect²) (Miller 2411.00640, §5).

    >>> sample_size_mean(0.5, 1.0), sample_size_mean(0.5, 1.0, cluster_size=5, icc=0.2)
    (34, 70)
    """
    if effect == 0 or not (sd > 0 and cluster_size >= 1):
        raise StatsError(f"effect = {effect}, sd = {sd}, clusters of {cluster_size}: none of them may be 0")
    checked_rate(power, "power")

    def enough(groups: int) -> bool:
        n = groups * cluster_size
        return power_mean(effect, sd, n, clusters=groups, icc=icc, level=level) >= power

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > 1 << 40:
            raise StatsError(f"no sample shows a mean of {effect} with sd {sd}: choose a larger one")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high * cluster_size


def binomial_power(
    p: float, n: int, *, least: float | None = None, most: float | None = None, level: float = 0.95
) -> float:
    """The chance that n trials at true rate `p` put the exact interval's lower end at `least` or its upper at `most`.

    It answers: how many organisms must a check be tried on?

    >>> [round(binomial_power(1.0, n, least=0.8), 1) for n in (16, 17)]
    [0.0, 1.0]
    """
    if (least is None) == (most is None):
        raise StatsError("say either `least`, for the lower end, or `most`, for the upper end")
    if not (0 <= p <= 1 and n >= 1):
        raise StatsError(f"p = {p}, n = {n}: a rate lies in [0, 1] and n is at least 1")
    found = [binomial_interval(k, n, level=level) for k in range(n + 1)]
    able = [(i.low or 0.0) >= least if least is not None else (i.high or 1.0) <= (most or 0.0) for i in found]
    return float(scipy_stats.binom.pmf(np.flatnonzero(able), n, p).sum())


def trials_needed(
    p: float,
    *,
    least: float | None = None,
    most: float | None = None,
    power: float = 0.8,
    level: float = 0.95,
    limit: int = 2000,
) -> int:
    """The smallest n whose `binomial_power` is `power`; StatsError when `limit` trials aren't enough.

    >>> trials_needed(1.0, least=0.8), trials_needed(0.0, most=0.1)
    (17, 36)
    """
    checked_rate(power, "power")
    for n in range(1, limit + 1):
        if binomial_power(p, n, least=least, most=most, level=level) >= power:
            return n
    raise StatsError(f"{limit} trials at a true rate of {p} don't reach it: no rate that near its bound can")
