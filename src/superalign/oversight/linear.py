"""Clustered intervals of means and of smooth functions of means, the same for every measure of oversight.

t on G − 1 degrees of freedom; under 40 clusters the wild cluster bootstrap, as `superalign.stats` has them (`rule`).
Where there are too few clusters for an end, the value is still given, and its ends are open.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superalign.stats import mean_interval
from superalign.stats.interval import Array, Interval, checked, cluster_codes, refused, same_length


def clustered_mean(values: ArrayLike, clusters: Any = None, *, level: float = 0.95) -> Interval:
    """Mean of `values` (n,), clustered; open ends where the wild bootstrap finds none. Refuses one cluster.

    >>> clustered_mean([0.0, 1.0, 1.0, 0.0] * 10).value
    0.5
    >>> found = clustered_mean([1.0, 2.0])
    >>> found.value, found.low, found.note
    (1.5, None, '2 clusters: no mean is rejected on one side at this level')
    """
    x = checked(values)
    found = mean_interval(x, clusters=clusters, level=level, method="rule")
    return replace(found, value=float(x.mean())) if found.value is None and found.clusters > 1 else found


def clustered_difference(first: ArrayLike, second: ArrayLike, clusters: Any = None, *, level: float = 0.95) -> Interval:
    """Mean of first − second over the same plays (n,), clustered as `clustered_mean`.

    >>> clustered_difference([1.0, 1.0] * 20, [0.0, 1.0] * 20).value
    0.5
    """
    a, b = checked(first, "first values"), checked(second, "second values")
    same_length(a, b, "a paired difference needs the same plays on both sides")
    return clustered_mean(a - b, clusters, level=level)


def linearised(
    value: float,
    away: Array,
    clusters: Any,
    *,
    level: float = 0.95,
    least: float = -np.inf,
    most: float = np.inf,
) -> Interval:
    """`value` with the interval of a mean whose rows lie `away` (n,) from it: the delta method, clustered.

    `away` is n times a row's influence, and averages to 0: (x − R y)/ȳ for a ratio R of means. The ends stay within
    `least` and `most`.

    >>> linearised(2.0, np.array([-1.0, 1.0] * 20), None).value
    2.0
    """
    found = clustered_mean(value + away, clusters, level=level)
    if found.low is None or found.high is None:
        return found if found.value is None else replace(found, value=value)
    low, high = max(least, min(value, found.low)), min(most, max(value, found.high))
    return replace(found, value=value, low=low, high=high, method=f"{found.method}, linearised")


def ratio(
    top: ArrayLike,
    bottom: ArrayLike,
    *,
    clusters: Any = None,
    level: float = 0.95,
    least: float = -np.inf,
    most: float = np.inf,
) -> Interval:
    """Σ top / Σ bottom over rows (n,), clustered; refuses where the bottom adds up to 0, or below.

    >>> ratio([2.0, 4.0] * 20, [1.0, 1.0] * 20).value
    3.0
    """
    x, y = checked(top, "numerators"), checked(bottom, "denominators")
    same_length(x, y, "a ratio needs a numerator and a denominator a row")
    if y.sum() <= 0:
        groups = cluster_codes(clusters, len(y))[1]
        return refused("the denominator is 0", n=len(y), clusters=groups, method="linearised", level=level)
    value = float(x.sum() / y.sum())
    return linearised(value, (x - value * y) / y.mean(), clusters, level=level, least=least, most=most)
