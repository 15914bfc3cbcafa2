"""Performance gap recovered (Burns et al. 2023, 2312.09390, §3), with an interval, and a refusal when it is noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.interval import Array, Interval, StatsError, checked, cluster_codes, refused


def _ratio(weak: Array, student: Array, ceiling: Array) -> Array:
    gap = ceiling - weak
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap > 0, (student - weak) / gap, np.nan)


def pgr(
    weak: Sequence[ArrayLike],
    student: Sequence[ArrayLike],
    ceiling: Sequence[ArrayLike],
    *,
    clusters: Sequence[Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """(student − weak) / (ceiling − weak) of mean correctness, with a hierarchical bootstrap interval.

    Each argument is one array of per-item correctness a seed. A draw resamples seeds, then within a seed clusters,
    the same for weak, student and ceiling, so that the interval covers seeds, test sampling and the denominator.
    Refuses when the ceiling is not above the floor, or when the gap's own interval touches zero.

    >>> pgr([[0, 0, 1, 0] * 50], [[1, 0, 1, 0] * 50], [[1, 1, 1, 0] * 50]).value
    0.5
    """
    if not (len(weak) == len(student) == len(ceiling)) or not weak:
        raise StatsError(f"{len(weak)}, {len(student)}, {len(ceiling)} seeds: pass the same seeds for all three")
    sums: list[Array] = []
    sizes: list[Array] = []
    for i in range(len(weak)):
        three = np.stack([checked(side[i], f"values of seed {i}") for side in (weak, student, ceiling)])
        codes, groups = cluster_codes(None if clusters is None else clusters[i], three.shape[1])
        sums.append(np.stack([np.bincount(codes, weights=row, minlength=groups) for row in three]))
        sizes.append(np.bincount(codes, minlength=groups).astype(np.float64))
    n, groups = int(sum(s.sum() for s in sizes) / len(sizes)), min(len(s) for s in sizes)
    means = np.stack([s.sum(1) / size.sum() for s, size in zip(sums, sizes, strict=True)])
    point = means.mean(0)
    if point[2] <= point[0]:
        why = f"the ceiling ({point[2]:.3f}) is not above the weak floor ({point[0]:.3f}): there is no gap to recover"
        return refused(why, n=n, clusters=groups, method="hierarchical bootstrap", level=level)
    rng = np.random.default_rng(seed)
    drawn = np.stack([_resampled(s, size, rng, draws) for s, size in zip(sums, sizes, strict=True)])
    chosen = rng.integers(len(weak), size=(draws, len(weak)))
    mixed = drawn[chosen, np.arange(draws)[:, None]].mean(1)
    tail = (1 - level) / 2
    gap = np.quantile(mixed[:, 2] - mixed[:, 0], [tail, 1 - tail])
    if gap[0] <= 0:
        why = f"the gap between floor and ceiling is noise: its interval [{gap[0]:.3f}, {gap[1]:.3f}] holds zero"
        return refused(why, n=n, clusters=groups, method="hierarchical bootstrap", level=level)
    ratios = _ratio(mixed[:, 0], mixed[:, 1], mixed[:, 2])
    low, high = np.quantile(ratios[np.isfinite(ratios)], [tail, 1 - tail])
    value = float((point[1] - point[0]) / (point[2] - point[0]))
    return Interval(
        value=value,
        low=float(low),
        high=float(high),
        level=level,
        n=n,
        clusters=groups,
        method="hierarchical bootstrap",
    )


def _resampled(sums: Array, sizes: Array, rng: np.random.Generator, draws: int) -> Array:
    """(draws, 3) means of one seed over resampled clusters."""
    groups = len(sizes)
    counts = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float64)
    return (counts @ sums.T) / (counts @ sizes)[:, None]


def pgr_fieller(
    weak: ArrayLike, student: ArrayLike, ceiling: ArrayLike, *, clusters: Any = None, level: float = 0.95
) -> Interval:
    """PGR of one seed with Fieller's closed-form interval (Fieller 1954) on clustered means.

    Refuses when the denominator is not clearly above zero (Fieller's g ≥ 1).
    """
    w, s, c = checked(weak), checked(student), checked(ceiling)
    top, bottom = s - w, c - w
    codes, groups = cluster_codes(clusters, len(w))
    if groups < 2 or bottom.mean() <= 0:
        return refused("no gap to recover, or one cluster", n=len(w), clusters=groups, method="Fieller", level=level)
    value = float(top.mean() / bottom.mean())
    t = float(scipy_stats.t.ppf(0.5 + level / 2, groups - 1))
    residual = np.stack([np.bincount(codes, weights=x - x.mean(), minlength=groups) for x in (top, bottom)]) / len(w)
    cov = residual @ residual.T * groups / (groups - 1)
    g = t**2 * cov[1, 1] / bottom.mean() ** 2
    if g >= 1:
        return refused("the gap is noise (Fieller's g ≥ 1)", n=len(w), clusters=groups, method="Fieller", level=level)
    inner = cov[0, 0] - 2 * value * cov[0, 1] + value**2 * cov[1, 1] - g * (cov[0, 0] - cov[0, 1] ** 2 / cov[1, 1])
    half = t / bottom.mean() * np.sqrt(max(inner, 0.0))
    centre = value - g * cov[0, 1] / cov[1, 1]
    return Interval(
        value=value,
        low=float((centre - half) / (1 - g)),
        high=float((centre + half) / (1 - g)),
        level=level,
        n=len(w),
        clusters=groups,
        method="Fieller",
    )
