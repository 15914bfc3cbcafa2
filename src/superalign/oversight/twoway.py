"""Intervals that know of two things at once: other items might have been drawn, and other training seeds.

Every item is played with every seed, so a mean over both varies with either. For cluster g and seed s, the variance of
the mean is σ²_g/G + σ²_s/S + σ²_gs/(GS): the two-way analysis of variance with random effects, which for totals of
unlike size is the two-way cluster-robust variance (Cameron, Gelbach and Miller 2011, J. Bus. Econ. Stat. 29:238) with
its last part made of doubly centred totals; theirs, made of plain ones, takes away an S-th of the variance of items
that all seeds share. Never less than the items' part alone, or the seeds'. Degrees of freedom by Satterthwaite (1946,
Biometrics Bull. 2:110), so that five seeds that hardly differ do not widen what two hundred items say: at five seeds
intervals hold what they promise; at two, down to 88 % where seeds differ far more than items do, and the note says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.oversight.linear import clustered_mean, linearised
from superalign.stats import StatsError, proportion_interval
from superalign.stats.interval import Array, Interval, checked, checked_rate, cluster_codes, refused
from superalign.stats.mean import SAME

ENOUGH = 5
"""Seeds under which a note says that little is known of how they differ."""
ONE = "one seed: how seeds differ is not in the interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far the mean of a sample of items and seeds may lie from that of all."""

    error: float
    """Standard error."""
    df: float
    """Degrees of freedom of its square."""
    clusters: int
    seeds: int

    def quantile(self, level: float) -> float:
        """The half-width of an interval at `level`, in standard errors."""
        return float(scipy_stats.t.ppf(0.5 + checked_rate(level, "level") / 2, self.df))


def spread(values: ArrayLike, clusters: Any, seeds: Any) -> Spread:
    """Standard error of the mean of `values` (n,) over clusters and seeds (n,), crossed, and its degrees of freedom.

    Raises StatsError for fewer than two clusters or seeds, and where a cluster lacks a seed that another has.

    >>> found = spread([0.0, 1.0, 2.0, 3.0], ["a", "b", "a", "b"], [0, 0, 1, 1])
    >>> round(found.error, 3), found.seeds
    (1.118, 2)
    """
    x = checked(values)
    (rows, groups), (columns, runs) = cluster_codes(clusters, len(x)), cluster_codes(seeds, len(x))
    if groups < 2 or runs < 2:
        raise StatsError(f"{groups} clusters and {runs} seeds: a spread over both needs two of each")
    away = np.zeros((groups, runs))
    held = np.zeros((groups, runs))
    np.add.at(away, (rows, columns), x - x.mean())
    np.add.at(held, (rows, columns), 1.0)
    if missing := int((held == 0).sum()):
        raise StatsError(
            f"{missing} of {held.size} pairs of cluster and seed hold no play: play all items with all seeds"
        )
    by_cluster, by_seed = away.sum(1), away.sum(0)
    both = away - held * (by_cluster / held.sum(1))[:, None] - held * (by_seed / held.sum(0))
    least = groups - 1, runs - 1
    parts = (
        (by_cluster**2).sum() * groups / least[0],
        (by_seed**2).sum() * runs / least[1],
        (both**2).sum() * groups * runs / (least[0] * least[1]),
    )
    whole = max(parts[0] + parts[1] - parts[2], parts[0], parts[1])
    doubt = parts[0] ** 2 / least[0] + parts[1] ** 2 / least[1] + parts[2] ** 2 / (least[0] * least[1])
    df = whole**2 / doubt if doubt > 0 else float(min(least))
    return Spread(error=float(np.sqrt(whole)) / len(x), df=max(1.0, float(df)), clusters=groups, seeds=runs)


def said(seeds: int) -> str:
    """What a note says of so many seeds.

    >>> said(2)
    '2 seeds are in the interval, and under 5 tell little of how seeds differ'
    """
    if seeds < 2:
        return ONE
    return f"{seeds} seeds are in the interval" + (
        f", and under {ENOUGH} tell little of how seeds differ" if seeds < ENOUGH else ""
    )


def crossed_mean(values: ArrayLike, clusters: Any, seeds: Any, *, level: float = 0.95) -> Interval:
    """Mean of `values` (n,) with a t interval over clusters and seeds (n,); of one seed the clustered interval.

    >>> found = crossed_mean([0.1, 0.2, 0.3, 0.2, 0.3, 0.4], [*"abcabc"], [0, 0, 0, 1, 1, 1])
    >>> round(found.value, 3), round(found.low, 3), found.method
    (0.25, 0.001, 'two-way t')
    """
    x = checked(values)
    if len(np.unique(seeds)) < 2 or cluster_codes(clusters, len(x))[1] < 2:
        return _noted(clustered_mean(x, clusters, level=level), seeds)
    found, mean = spread(x, clusters, seeds), float(x.mean())
    half = found.quantile(level) * found.error
    known = Interval(
        value=mean,
        low=mean - half,
        high=mean + half,
        level=level,
        n=len(x),
        clusters=found.clusters,
        method="two-way t",
        note=SAME if np.ptp(x) == 0 else "",
    )
    return _noted(known, seeds)


def crossed_proportion(values: ArrayLike, clusters: Any, seeds: Any, *, level: float = 0.95) -> Interval:
    """Mean of `values` (n,) in [0, 1] over clusters and seeds (n,): Korn–Graubard's interval with the spread of both.

    As `superalign.stats.proportion_interval`, which it is for one seed, and where all values are 0, or all 1.

    >>> found = crossed_proportion([1, 1, 0, 1, 1, 1, 0, 0], [*"abcdabcd"], [0] * 4 + [1] * 4)
    >>> found.value, found.method
    (0.625, 'Korn–Graubard, two-way')
    """
    x = checked(values)
    plain = proportion_interval(x, clusters=clusters, level=level)
    p = float(x.mean())
    if len(np.unique(seeds)) < 2 or plain.value is None or p in (0.0, 1.0):
        return _noted(plain, seeds)
    found, n = spread(x, clusters, seeds), len(x)
    tail = (1 - level) / 2
    wider = (float(scipy_stats.t.ppf(1 - tail, n - 1)) / found.quantile(level)) ** 2
    trials = min(float(n), p * (1 - p) / max(found.error**2, 1e-300) * wider)
    low = float(scipy_stats.beta.ppf(tail, p * trials, trials - p * trials + 1))
    high = float(scipy_stats.beta.ppf(1 - tail, p * trials + 1, trials - p * trials))
    return _noted(replace(plain, low=low, high=high, method="Korn–Graubard, two-way"), seeds)


def crossed_linearised(
    value: float,
    away: Array,
    clusters: Any,
    seeds: Any,
    *,
    level: float = 0.95,
    least: float = -np.inf,
    most: float = np.inf,
) -> Interval:
    """`value` with the interval of a mean whose rows lie `away` (n,) from it, over clusters and seeds: delta method.

    `away` as in `superalign.oversight.linear.linearised`, which it is for one seed.

    >>> crossed_linearised(2.0, np.array([-1.0, 1.0] * 4), [*"aabbaabb"], [0] * 4 + [1] * 4).value
    2.0
    """
    if len(np.unique(seeds)) < 2:
        return _noted(linearised(value, away, clusters, level=level, least=least, most=most), seeds)
    found = crossed_mean(value + away, clusters, seeds, level=level)
    if found.low is None or found.high is None:
        return found
    low, high = max(least, min(value, found.low)), min(most, max(value, found.high))
    return replace(found, value=value, low=low, high=high, method=f"{found.method}, linearised")


def crossed_ratio(
    top: ArrayLike, bottom: ArrayLike, clusters: Any, seeds: Any, *, least: float = -np.inf, level: float = 0.95
) -> Interval:
    """Σ top / Σ bottom over rows (n,), over clusters and seeds; refuses where the bottom adds up to 0, or below.

    >>> crossed_ratio([2.0, 4.0] * 4, [1.0, 1.0] * 4, [*"abcdabcd"], [0] * 4 + [1] * 4).value
    3.0
    """
    x, y = checked(top, "numerators"), checked(bottom, "denominators")
    if y.sum() <= 0:
        groups = cluster_codes(clusters, len(y))[1]
        return refused("the denominator is 0", n=len(y), clusters=groups, method="linearised", level=level)
    value = float(x.sum() / y.sum())
    return crossed_linearised(value, (x - value * y) / y.mean(), clusters, seeds, level=level, least=least)


def _noted(found: Interval, seeds: Any) -> Interval:
    note = said(len(np.unique(seeds)))
    return replace(found, note=f"{found.note}; {note}" if found.note else note)
