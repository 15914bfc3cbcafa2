"""Two rates compared: Wilson, Newcombe–Wilson, risk difference and risk ratio, with and without clusters."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.interval import (
    Array,
    Interval,
    StatsError,
    checked_binary,
    cluster_codes,
    cluster_sums,
    refused,
    same_length,
)


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
    a: ArrayLike,
    b: ArrayLike,
    *,
    clusters_a: Any = None,
    clusters_b: Any = None,
    shared: bool = False,
    level: float = 0.95,
) -> Interval:
    """Mean of a minus mean of b, two samples of zeros and ones (n,) and (m,), errors clustered on each side.

    Welch's t with Satterthwaite's degrees of freedom over clusters. `shared`: the same label on both sides is the same
    cluster (a reviewer who saw some items of each arm), and what it has in common cancels; t on G − 1, G all clusters.
    Refuses with fewer than two clusters on a side, or where every value is the same and an error can't be seen (use
    `newcombe`). Ends never leave [−1, 1].

    >>> round(risk_difference([1, 1, 1, 0], [0, 0, 1, 0]).value, 2)
    0.5
    """
    sides = _sides(a, b, clusters_a, clusters_b, shared)
    method = "clustered risk difference" + (", shared clusters" if shared else "")
    p, q = (float(values.mean()) if len(values) else 0.0 for values in sides.values)
    why = sides.missing or ("" if sides.error(1.0, 1.0)[0] > 0 else "no spread on either side: use newcombe")
    if why:
        return refused(why, n=sides.n, clusters=sides.groups, method=method, level=level)
    variance, df = sides.error(1.0, 1.0)
    half = float(scipy_stats.t.ppf(0.5 + level / 2, df)) * math.sqrt(variance)
    low, high = max(-1.0, p - q - half), min(1.0, p - q + half)
    return Interval(value=p - q, low=low, high=high, level=level, n=sides.n, clusters=sides.groups, method=method)


def risk_ratio(
    a: ArrayLike,
    b: ArrayLike,
    *,
    clusters_a: Any = None,
    clusters_b: Any = None,
    shared: bool = False,
    level: float = 0.95,
) -> Interval:
    """Mean of a over mean of b, two samples of zeros and ones; t on the logarithm (Katz 1978), errors clustered.

    `shared` as in `risk_difference`; the same items on both sides are so compared with one label an item.
    Refuses where a mean is 0 (the logarithm isn't there), no error can be seen, or a side has fewer than two clusters.

    >>> risk_ratio([1, 1, 1, 0], [0, 0, 1, 0]).value
    3.0
    """
    sides = _sides(a, b, clusters_a, clusters_b, shared)
    method = "clustered log risk ratio" + (", shared clusters" if shared else "")
    p, q = (float(values.mean()) if len(values) else 0.0 for values in sides.values)
    why = sides.missing or ("" if p > 0 and q > 0 else "a rate of 0 has no logarithm")
    if not why and sides.error(1 / p, 1 / q)[0] == 0:
        why = "no spread on either side: an error can't be seen"
    if why:
        return refused(why, n=sides.n, clusters=sides.groups, method=method, level=level)
    variance, df = sides.error(1 / p, 1 / q)
    wide = math.exp(float(scipy_stats.t.ppf(0.5 + level / 2, df)) * math.sqrt(variance))
    ratio = p / q
    return Interval(
        value=ratio, low=ratio / wide, high=ratio * wide, level=level, n=sides.n, clusters=sides.groups, method=method
    )


class Sides(NamedTuple):
    """Two samples, and what each cluster adds to the error of each side's mean."""

    values: tuple[Array, Array]
    parts: tuple[Array, Array]
    """(G,) sums of residuals over n, a side; over the same clusters where they are shared."""
    shared: bool

    @property
    def n(self) -> int:
        return len(self.values[0]) + len(self.values[1])

    @property
    def groups(self) -> int:
        return len(self.parts[0]) if self.shared else len(self.parts[0]) + len(self.parts[1])

    @property
    def missing(self) -> str:
        """Why there can be no interval, or nothing."""
        if min(map(len, self.values)) == 0:
            return "a side without values"
        return "fewer than two clusters on a side" if min(map(len, self.parts)) < 2 else ""

    def error(self, x: float, y: float) -> tuple[float, float]:
        """Variance and degrees of freedom of x · mean a − y · mean b."""
        (first, second), (g, h) = self.parts, map(len, self.parts)
        if self.shared:
            return float(((x * first - y * second) ** 2).sum()) * g / (g - 1), g - 1.0
        v, w = x**2 * float((first**2).sum()) * g / (g - 1), y**2 * float((second**2).sum()) * h / (h - 1)
        return v + w, (v + w) ** 2 / (v**2 / (g - 1) + w**2 / (h - 1)) if v + w > 0 else 1.0


def _sides(a: ArrayLike, b: ArrayLike, clusters_a: Any, clusters_b: Any, shared: bool) -> Sides:
    first, second = checked_binary(a, "first answers"), checked_binary(b, "second answers")
    labels = [clusters_a, clusters_b]
    if shared and any(one is None for one in labels):
        raise StatsError("shared clusters need the labels of both sides")
    coded = [cluster_codes(label, len(x)) for label, x in zip(labels, (first, second), strict=True)]
    if shared:
        codes, groups = cluster_codes(np.concatenate([np.asarray(label) for label in labels]), len(first) + len(second))
        coded = [(codes[: len(first)], groups), (codes[len(first) :], groups)]
    parts = [
        cluster_sums(x - x.mean(), codes, groups) / len(x) if len(x) else np.zeros(groups)
        for x, (codes, groups) in zip((first, second), coded, strict=True)
    ]
    return Sides((first, second), (parts[0], parts[1]), shared)
