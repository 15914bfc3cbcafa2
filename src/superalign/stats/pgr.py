"""Performance gap recovered (Burns et al. 2023, 2312.09390, §3), with an interval, and a refusal when it is noise.

Seeds and clusters both vary. With e the residuals of the seeds' means by cluster, V_c the variance of the mean over
clusters, V_s over seeds, and V_r the part of V_s that is only the clusters' noise within seeds, the variance of the
mean is V_c + (V_s − V_r)₊: two-way analysis of variance, for seeds that share clusters or not. A plain bootstrap of
seeds and clusters counts V_r twice (Owen 2007, 0712.1111) and, with few seeds, V_s too low; both are corrected here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.bootstrap import drawn_counts
from superalign.stats.interval import Array, Interval, StatsError, checked, cluster_codes, refused

HOW = "hierarchical bootstrap"
BLOCK = 200
"""Draws taken at once."""


class Sample(NamedTuple):
    """What weak, student and ceiling got right: sums (seeds, clusters, 3) and sizes (seeds, clusters)."""

    sums: Array
    sizes: Array

    @property
    def means(self) -> Array:
        """Mean correctness (seeds, 3)."""
        means: Array = self.sums.sum(1) / self.sizes.sum(1)[:, None]
        return means

    @property
    def n(self) -> int:
        """Items a seed."""
        return int(self.sizes.sum() / len(self.sizes))

    @property
    def clusters(self) -> int:
        """Clusters of the seed that has the fewest."""
        return int((self.sizes > 0).sum(1).min())


class Spread(NamedTuple):
    """Covariances (3, 3) of the means over seeds: by clusters, by seeds, and what the seeds owe to clusters' noise."""

    by_cluster: Array
    by_seed: Array
    noise: Array

    def excess(self, contrast: Array) -> float:
        """The variance of a contrast that seeds add to the clusters' own, at least 0."""
        return max(0.0, float(contrast @ (self.by_seed - self.noise) @ contrast))


def spread(sample: Sample) -> Spread:
    """The three covariances; without a second seed, seeds and noise are 0."""
    seeds, groups = sample.sizes.shape
    means, total = sample.means, sample.sizes.sum(1)
    residual = (sample.sums - means[:, None, :] * sample.sizes[:, :, None]) / total[:, None, None]
    share = residual.mean(0)
    scale = groups / max(groups - 1, 1)
    by_cluster: Array = share.T @ share * scale
    if seeds == 1:
        return Spread(by_cluster, np.zeros((3, 3)), np.zeros((3, 3)))
    apart = means - means.mean(0)
    within = np.einsum("sgi,sgj->ij", residual, residual) * scale / seeds
    return Spread(by_cluster, apart.T @ apart / (seeds * (seeds - 1)), (within - by_cluster) / (seeds - 1))


def freedom(found: Spread, contrast: Array, sample: Sample) -> float:
    """Degrees of freedom of that contrast's variance (Satterthwaite 1946)."""
    seeds, groups = sample.sizes.shape
    more = found.excess(contrast)
    if more == 0:
        return float(groups - 1)
    a, b, c = (float(contrast @ part @ contrast) for part in found)
    pieces = a**2 / (groups - 1) + b**2 / (seeds - 1) + c**2 / ((seeds - 1) * (groups - 1))
    return float((a + more) ** 2 / pieces)


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

    Each argument is one array of per-item correctness a seed. A draw resamples clusters and seeds, the same for weak,
    student and ceiling, so that the interval covers seeds, test sampling and the denominator. A cluster with the same
    label in several seeds is one cluster: it is drawn for all of them or for none. Without `clusters` every item of
    every seed is its own. Seeds are drawn one fewer (Rao and Wu 1988), shrunk to what clusters do not explain, and the
    draws are spread by the ratio of the t and normal quantiles (Hesterberg 2015, the expanded percentile interval).
    Refuses when the ceiling is not above the floor, when the gap's own interval touches zero, or with one cluster.

    >>> pgr([[0, 0, 1, 0] * 50], [[1, 0, 1, 0] * 50], [[1, 1, 1, 0] * 50]).value
    0.5
    """
    sample = by_cluster(weak, student, ceiling, clusters)
    point = sample.means.mean(0)

    def no(why: str) -> Interval:
        return refused(why, n=sample.n, clusters=sample.clusters, method=HOW, level=level)

    if point[2] <= point[0]:
        return no(f"the ceiling ({point[2]:.3f}) is not above the weak floor ({point[0]:.3f}): no gap to recover")
    if sample.sizes.shape[1] < 2:
        return no("1 clusters: an interval needs two")
    value = float((point[1] - point[0]) / (point[2] - point[0]))
    drawn = _drawn(sample, value, level, np.random.default_rng(seed), draws)
    tails = (1 - level) / 2, (1 + level) / 2
    gap = np.quantile(drawn[:, 2] - drawn[:, 0], tails)
    if gap[0] <= 0:
        return no(f"the gap between floor and ceiling is noise: its interval [{gap[0]:.3f}, {gap[1]:.3f}] holds zero")
    ratios = _ratio(drawn[:, 0], drawn[:, 1], drawn[:, 2])
    low, high = np.quantile(ratios[np.isfinite(ratios)], tails)
    return Interval(
        value=value,
        low=float(low),
        high=float(high),
        level=level,
        n=sample.n,
        clusters=sample.clusters,
        method=HOW,
        note=_few(len(weak)),
    )


def _few(seeds: int) -> str:
    return {1: "1 seed: the interval holds no noise of seeds", 2: "2 seeds hardly show how seeds differ"}.get(seeds, "")


def _ratio(weak: Array, student: Array, ceiling: Array) -> Array:
    gap = ceiling - weak
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap > 0, (student - weak) / gap, np.nan)


def _drawn(sample: Sample, value: float, level: float, rng: np.random.Generator, draws: int) -> Array:
    """(draws, 3) means; their spread is that of the means, made wider by as much as t is wider than the normal."""
    seeds, groups = sample.sizes.shape
    found, contrast = spread(sample), np.array([value - 1, 1.0, -value])
    own = float(contrast @ found.by_seed @ contrast)
    share = np.sqrt(found.excess(contrast) / own) if own > 0 else 0.0
    wider = scipy_stats.t.ppf(0.5 + level / 2, freedom(found, contrast, sample)) / scipy_stats.norm.ppf(0.5 + level / 2)
    means, point = sample.means, sample.means.mean(0)
    out = np.empty((draws, 3))
    for at in range(0, draws, BLOCK):
        counts = drawn_counts(groups, rng, len(out[at : at + BLOCK])).astype(np.float64)
        bottom = np.maximum(counts @ sample.sizes.T, 1e-9)
        again = np.stack([counts @ sample.sums[:, :, side].T / bottom for side in range(3)], axis=2).mean(1)
        out[at : at + BLOCK] = (again - point) * np.sqrt(groups / (groups - 1))
    if share > 0:
        weight = rng.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=draws) / (seeds - 1)
        out += share * (weight @ means - point)
    spreaded: Array = point + wider * out
    return spreaded


def by_cluster(
    weak: Sequence[ArrayLike],
    student: Sequence[ArrayLike],
    ceiling: Sequence[ArrayLike],
    clusters: Sequence[Any] | None,
) -> Sample:
    """The sample, over the clusters of all seeds together; StatsError where seeds, items or labels do not match."""
    if not (len(weak) == len(student) == len(ceiling)) or not len(weak):
        raise StatsError(f"{len(weak)}, {len(student)}, {len(ceiling)} seeds: pass the same seeds for all three")
    if clusters is not None and len(clusters) != len(weak):
        raise StatsError(f"{len(clusters)} lists of cluster labels for {len(weak)} seeds: pass one a seed")
    for i, lengths in enumerate(zip(map(len, weak), map(len, student), map(len, ceiling), strict=True)):  # type: ignore[arg-type]
        if len(set(lengths)) > 1:
            raise StatsError(f"seed {i} has {lengths} values: weak, student and ceiling need the same items")
        if lengths[0] == 0:
            raise StatsError(f"seed {i} has no values: nothing was measured")
    sides = [
        np.stack([checked(side[i], f"values of seed {i}") for side in (weak, student, ceiling)])
        for i in range(len(weak))
    ]
    labels = [
        np.asarray([f"{i}/{j}" for j in range(three.shape[1])] if clusters is None else clusters[i])
        for i, three in enumerate(sides)
    ]
    for three, names in zip(sides, labels, strict=True):
        cluster_codes(names, three.shape[1])
    codes, groups = cluster_codes(np.concatenate(labels), sum(map(len, labels)))
    parts = np.split(codes, np.cumsum([len(names) for names in labels])[:-1])
    sums = [
        np.stack([np.bincount(part, weights=row, minlength=groups) for row in three], axis=1)
        for three, part in zip(sides, parts, strict=True)
    ]
    sizes = np.stack([np.bincount(part, minlength=groups) for part in parts])
    return Sample(np.stack(sums), sizes.astype(np.float64))


def pgr_fieller(
    weak: ArrayLike, student: ArrayLike, ceiling: ArrayLike, *, clusters: Any = None, level: float = 0.95
) -> Interval:
    """PGR with Fieller's closed-form interval (Fieller 1954) on clustered means, of one seed (n,) or of (seeds, n).

    Several seeds share their items (n,) and `clusters` (n,), and how they differ is in the interval.
    Refuses when the denominator is not clearly above zero (Fieller's g ≥ 1), or with one cluster.

    >>> found = pgr_fieller([0, 0, 1, 0] * 50, [1, 0, 1, 0] * 50, [1, 1, 1, 0] * 50)
    >>> found.value, round(found.low, 2), round(found.high, 2)
    (0.5, 0.4, 0.6)
    """
    sides = [np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (weak, student, ceiling)]
    n = sides[0].shape[-1]
    labels = np.arange(n) if clusters is None else np.asarray(clusters)
    return fieller(by_cluster(list(sides[0]), list(sides[1]), list(sides[2]), [labels] * len(sides[0])), level)


def fieller(sample: Sample, level: float) -> Interval:
    """The closed form for a sample whose seeds may hold different items."""
    seeds, groups = sample.sizes.shape
    name = "Fieller" if seeds == 1 else "Fieller, seeds and clusters"

    def no(why: str) -> Interval:
        return refused(why, n=sample.n, clusters=sample.clusters, method=name, level=level)

    point = sample.means.mean(0)
    top, bottom = float(point[1] - point[0]), float(point[2] - point[0])
    if groups < 2 or bottom <= 0:
        return no("no gap to recover, or one cluster")
    value, found = top / bottom, spread(sample)
    both = np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])
    cov = both @ found.by_cluster @ both.T + _positive(both @ (found.by_seed - found.noise) @ both.T)
    df = freedom(found, np.array([value - 1, 1.0, -value]), sample)
    t = float(scipy_stats.t.ppf(0.5 + level / 2, df))
    g = t**2 * cov[1, 1] / bottom**2
    if g >= 1:
        return no("the gap is noise (Fieller's g ≥ 1)")
    lean = cov[0, 1] / cov[1, 1] if cov[1, 1] > 0 else 0.0
    inner = cov[0, 0] - 2 * value * cov[0, 1] + value**2 * cov[1, 1] - g * (cov[0, 0] - lean * cov[0, 1])
    half = t / bottom * np.sqrt(max(inner, 0.0))
    return Interval(
        value=value,
        low=float((value - g * lean - half) / (1 - g)),
        high=float((value - g * lean + half) / (1 - g)),
        level=level,
        n=sample.n,
        clusters=sample.clusters,
        method=name,
        note=_few(seeds),
    )


def _positive(cov: Array) -> Array:
    """The nearest covariance without negative variances."""
    sizes, axes = np.linalg.eigh(cov)
    nearest: Array = (axes * np.maximum(sizes, 0)) @ axes.T
    return nearest
