"""The clustered bootstrap that everything here shares: whole clusters are drawn, with replacement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from superalign.stats.interval import Array, Interval, StatsError, cluster_codes, refused

Rows = NDArray[np.intp]
METHODS = ("percentile", "basic", "bca", "studentised")
BLOCKS = 20
"""A studentised draw takes its error from leaving out so many blocks of its clusters in turn, at most."""


def drawn_counts(groups: int, rng: np.random.Generator, draws: int) -> NDArray[np.int64]:
    """How often each cluster is drawn (draws, groups): for statistics of weights."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=draws)


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

    `percentile`: the quantiles of the draws. `basic`: those mirrored at the value, against bias. `bca`: corrected for
    bias and skew, the jackknife going over clusters (Efron 1987, JASA 82:171). `studentised`: quantiles of the draws'
    t, each with an error of its own from a block jackknife of its clusters (Davison and Hinkley 1997, §5.2): the best
    with few clusters, and twenty times the work.
    A draw on which the statistic (or its error) is not a number, since a class went missing, say, is drawn again;
    refuses when one in five is, with fewer than two clusters, or when the statistic of all rows is NaN.

    >>> x = np.arange(20.0)
    >>> bootstrap_interval(lambda rows: float(x[rows].mean()), 20).value
    9.5
    """
    if method not in METHODS:
        raise StatsError(f"there is no bootstrap {method!r}: use one of {', '.join(METHODS)}")
    codes, groups = cluster_codes(clusters, n)
    name = f"cluster bootstrap, {method}"

    def no(why: str) -> Interval:
        return refused(why, n=n, clusters=groups, method=name, level=level)

    if groups < 2:
        return no(f"{groups} clusters: an interval needs two")
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    value = statistic(np.arange(n))
    if not np.isfinite(value):
        return no("the statistic of all rows isn't a number")
    rng, tails = np.random.default_rng(seed), ((1 - level) / 2, (1 + level) / 2)
    t = method == "studentised"
    error = _error(statistic, members) if t else 0.0

    def one() -> float:
        drawn = [members[g] for g in rng.integers(groups, size=groups)]
        again = statistic(np.concatenate(drawn))
        if not t:
            return again
        spread = _error(statistic, drawn)
        return (again - value) / spread if spread > 0 else float("nan")

    found = _draws(one, draws)
    if len(found) < draws:
        return no(f"the statistic is undefined on {100 * (1 - len(found) / int(1.25 * draws)):.0f} % of the draws")
    if method == "bca":
        tails = _bca_tails(found, value, _without(statistic, members, 200), level)
    low, high = (float(end) for end in np.quantile(found, tails))
    if method == "basic":
        low, high = 2 * value - high, 2 * value - low
    if t:
        low, high = value - high * error, value - low * error
    return Interval(value=value, low=low, high=high, level=level, n=n, clusters=groups, method=name)


def _draws(one: Callable[[], float], draws: int) -> Array:
    """That many finite draws, or fewer where a fifth of the attempts failed."""
    found: list[float] = []
    for _ in range(int(1.25 * draws)):
        value = one()
        if np.isfinite(value):
            found.append(value)
        if len(found) == draws:
            break
    return np.array(found)


def _without(statistic: Callable[[Rows], float], members: list[Rows], most: int) -> Array:
    """The statistic without each cluster in turn; with more than `most` of them, without each of so many blocks."""
    blocks = [np.concatenate(members[i::most]) for i in range(min(len(members), most))]
    found = np.array([statistic(np.concatenate(blocks[:i] + blocks[i + 1 :])) for i in range(len(blocks))])
    finite: Array = found[np.isfinite(found)]
    return finite


def _error(statistic: Callable[[Rows], float], members: list[Rows]) -> float:
    """Standard error by the jackknife over blocks of clusters; NaN where fewer than two of those are defined."""
    found = _without(statistic, members, BLOCKS)
    if len(found) < 2:
        return float("nan")
    return float(np.sqrt((len(found) - 1) / len(found) * ((found - found.mean()) ** 2).sum()))


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
