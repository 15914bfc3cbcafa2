"""The clustered bootstrap that everything here shares: whole clusters are drawn, with replacement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from superalign.stats.interval import Array, Interval, StatsError, cluster_codes, refused

Rows = NDArray[np.intp]
METHODS = ("percentile", "bca")


def drawn_rows(codes: NDArray[np.intp], groups: int, rng: np.random.Generator) -> Rows:
    """Row numbers of one bootstrap sample: `groups` clusters drawn with replacement, all their rows."""
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(groups + 1))
    picked = rng.integers(groups, size=groups)
    return np.concatenate([order[starts[g] : starts[g + 1]] for g in picked])


def bootstrap_interval(
    statistic: Callable[[Rows], float],
    n: int,
    *,
    clusters: Any = None,
    method: str = "bca",
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """A statistic of n rows with a cluster-bootstrap interval; `statistic` takes row numbers and returns a number.

    `percentile`: the quantiles of the draws. `bca`: corrected for bias and skew, the jackknife going over clusters
    (Efron 1987, JASA 82:171). A draw on which the statistic is NaN (a class went missing, say) is drawn again; refuses
    when one in five is, with fewer than two clusters, or when the statistic of all rows is NaN.

    >>> x = np.arange(20.0)
    >>> bootstrap_interval(lambda rows: float(x[rows].mean()), 20).value
    9.5
    """
    if method not in METHODS:
        raise StatsError(f"there is no bootstrap {method!r}: use one of {', '.join(METHODS)}")
    codes, groups = cluster_codes(clusters, n)
    name = f"cluster bootstrap, {method}"
    if groups < 2:
        return refused(f"{groups} clusters: an interval needs two", n=n, clusters=groups, method=name, level=level)
    value = statistic(np.arange(n))
    if not np.isfinite(value):
        return refused("the statistic of all rows isn't a number", n=n, clusters=groups, method=name, level=level)
    found = _draws(statistic, codes, groups, np.random.default_rng(seed), draws)
    if len(found) < draws:
        why = f"the statistic is undefined on {100 * (1 - len(found) / (1.25 * draws)):.0f} % of the draws"
        return refused(why, n=n, clusters=groups, method=name, level=level)
    tails = (1 - level) / 2, (1 + level) / 2
    if method == "bca":
        tails = _bca_tails(found, value, _jackknife(statistic, codes, groups), level)
    low, high = np.quantile(found, tails)
    return Interval(value=value, low=float(low), high=float(high), level=level, n=n, clusters=groups, method=name)


def _draws(
    statistic: Callable[[Rows], float], codes: NDArray[np.intp], groups: int, rng: np.random.Generator, draws: int
) -> Array:
    found: list[float] = []
    for _ in range(int(1.25 * draws)):
        value = statistic(drawn_rows(codes, groups, rng))
        if np.isfinite(value):
            found.append(value)
        if len(found) == draws:
            break
    return np.array(found)


def _jackknife(statistic: Callable[[Rows], float], codes: NDArray[np.intp], groups: int) -> Array:
    """The statistic without each cluster in turn (at most 200 of them, evenly chosen)."""
    left_out = np.unique(np.linspace(0, groups - 1, min(groups, 200)).astype(int))
    found = np.array([statistic(np.flatnonzero(codes != g)) for g in left_out])
    finite: Array = found[np.isfinite(found)]
    return finite


def _bca_tails(found: Array, value: float, without: Array, level: float) -> tuple[float, float]:
    below = float(((found < value).sum() + 0.5 * (found == value).sum()) / len(found))
    bias = float(scipy_stats.norm.ppf(np.clip(below, 1e-6, 1 - 1e-6)))
    centred = without.mean() - without if len(without) else np.zeros(1)
    spread = float((centred**2).sum()) ** 1.5
    skew = float((centred**3).sum()) / (6 * spread) if spread > 0 else 0.0
    outer = float(scipy_stats.norm.ppf(0.5 + level / 2))

    def tail(z: float) -> float:
        return float(scipy_stats.norm.cdf(bias + (bias + z) / (1 - skew * (bias + z))))

    return tail(-outer), tail(outer)
