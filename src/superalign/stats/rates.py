"""Two rates compared: Wilson, Newcombe–Wilson, risk difference and risk ratio, with and without clusters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from superalign.stats.interval import Interval, StatsError, checked_binary, cluster_codes, refused, same_length


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Proportion with Wilson's score interval (1927): closer to its level than the exact one, not below it always.

    >>> round(wilson_interval(8, 8).low, 3)
    0.676
    """
    if not 0 <= successes <= n:
        raise StatsError(f"{successes} successes of {n}: they must lie between 0 and n")
    if n == 0:
        return refused("0 trials: nothing was measured", n=0, clusters=0, method="Wilson", level=level)
    low, high = _wilson(successes / n, n, level)
    return Interval(value=successes / n, low=low, high=high, level=level, n=n, clusters=n, method="Wilson")


def _wilson(p: float, n: float, level: float) -> tuple[float, float]:
    z = float(scipy_stats.norm.ppf(0.5 + level / 2))
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if p == 0 else max(0.0, middle - half)), (1.0 if p == 1 else min(1.0, middle + half))


def newcombe(a: tuple[int, int], b: tuple[int, int], *, level: float = 0.95) -> Interval:
    """Difference of two independent proportions, (successes, n) each: Newcombe's hybrid score (1998, method 10).

    >>> found = newcombe((56, 70), (48, 80))
    >>> round(found.low, 4), round(found.high, 4)
    (0.0524, 0.3339)
    """
    (x, n), (y, m) = a, b
    if not (0 <= x <= n and 0 <= y <= m):
        raise StatsError(f"{x} of {n} and {y} of {m}: successes must lie between 0 and n")
    if n == 0 or m == 0:
        return refused("a side without trials", n=n + m, clusters=n + m, method="Newcombe–Wilson", level=level)
    p, q = x / n, y / m
    (l1, u1), (l2, u2) = _wilson(p, n, level), _wilson(q, m, level)
    return Interval(
        value=p - q,
        low=p - q - math.hypot(p - l1, u2 - q),
        high=p - q + math.hypot(u1 - p, q - l2),
        level=level,
        n=n + m,
        clusters=n + m,
        method="Newcombe–Wilson",
    )


def newcombe_paired(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Interval:
    """Difference of two proportions on the same items (n,), each 0 or 1 (Newcombe 1998, Stat. Med. 17:2635, method 10).

    Items are taken as independent; with clusters use `paired_difference`.

    >>> newcombe_paired([1, 1, 0, 1], [1, 0, 0, 0]).value
    0.5
    """
    first, second = checked_binary(a, "first answers"), checked_binary(b, "second answers")
    same_length(first, second, "a paired difference needs the same items on both sides")
    n = len(first)
    if n == 0:
        return refused("0 items: nothing was measured", n=0, clusters=0, method="Newcombe, paired", level=level)
    both, one = float((first * second).sum()), float((first * (1 - second)).sum())
    other, none = float(((1 - first) * second).sum()), float(((1 - first) * (1 - second)).sum())
    p, q = (both + one) / n, (both + other) / n
    (l1, u1), (l2, u2) = _wilson(p, n, level), _wilson(q, n, level)
    margins = (both + one) * (other + none) * (both + other) * (one + none)
    cross = both * none - one * other
    if cross > n / 2:
        cross -= n / 2
    elif cross >= 0:
        cross = 0.0
    phi = cross / math.sqrt(margins) if margins > 0 else 0.0

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    return Interval(
        value=p - q,
        low=p - q - reach(p - l1, u2 - q),
        high=p - q + reach(u1 - p, q - l2),
        level=level,
        n=n,
        clusters=n,
        method="Newcombe, paired",
    )


def risk_difference(
    a: ArrayLike, b: ArrayLike, *, clusters_a: Any = None, clusters_b: Any = None, level: float = 0.95
) -> Interval:
    """Mean of a minus mean of b, two independent samples of zeros and ones, errors clustered on each side.

    Welch's t with Satterthwaite's degrees of freedom over clusters. Refuses with fewer than two clusters on a side, or
    where every value is the same and an error can't be seen (use `newcombe`).

    >>> round(risk_difference([1, 1, 1, 0], [0, 0, 1, 0]).value, 2)
    0.5
    """
    p, v, g = _clustered(a, clusters_a, "first answers")
    q, w, h = _clustered(b, clusters_b, "second answers")
    n = len(np.asarray(a)) + len(np.asarray(b))
    method = "clustered risk difference"
    if min(g, h) < 2 or v + w == 0:
        why = "fewer than two clusters on a side" if min(g, h) < 2 else "no spread on either side: use newcombe"
        return refused(why, n=n, clusters=g + h, method=method, level=level)
    df = (v + w) ** 2 / (v**2 / (g - 1) + w**2 / (h - 1))
    half = float(scipy_stats.t.ppf(0.5 + level / 2, df)) * math.sqrt(v + w)
    low, high = max(-1.0, p - q - half), min(1.0, p - q + half)
    return Interval(value=p - q, low=low, high=high, level=level, n=n, clusters=g + h, method=method)


def risk_ratio(
    a: ArrayLike, b: ArrayLike, *, clusters_a: Any = None, clusters_b: Any = None, level: float = 0.95
) -> Interval:
    """Mean of a over mean of b, two independent samples of zeros and ones; t on the logarithm, errors clustered.

    Refuses where a mean is 0 (the logarithm isn't there) or a side has fewer than two clusters.

    >>> risk_ratio([1, 1, 1, 0], [0, 0, 1, 0]).value
    3.0
    """
    p, v, g = _clustered(a, clusters_a, "first answers")
    q, w, h = _clustered(b, clusters_b, "second answers")
    n = len(np.asarray(a)) + len(np.asarray(b))
    method = "clustered log risk ratio"
    if min(g, h) < 2 or p == 0 or q == 0:
        why = "fewer than two clusters on a side" if min(g, h) < 2 else "a rate of 0 has no logarithm"
        return refused(why, n=n, clusters=g + h, method=method, level=level)
    x, y = v / p**2, w / q**2
    if x + y == 0:
        return refused("no spread on either side", n=n, clusters=g + h, method=method, level=level)
    df = (x + y) ** 2 / (x**2 / (g - 1) + y**2 / (h - 1))
    half = float(scipy_stats.t.ppf(0.5 + level / 2, df)) * math.sqrt(x + y)
    ratio = p / q
    return Interval(
        value=ratio,
        low=ratio * math.exp(-half),
        high=ratio * math.exp(half),
        level=level,
        n=n,
        clusters=g + h,
        method=method,
    )


def _clustered(x: ArrayLike, clusters: Any, name: str) -> tuple[float, float, int]:
    """Mean, variance of the mean over clusters, and their number."""
    values = checked_binary(x, name)
    codes: NDArray[np.intp]
    codes, groups = cluster_codes(clusters, len(values))
    if len(values) == 0 or groups < 2:
        return 0.0, 0.0, groups
    mean = float(values.mean())
    sums = np.bincount(codes, weights=values - mean, minlength=groups)
    return mean, float((sums**2).sum()) * groups / (groups - 1) / len(values) ** 2, groups
