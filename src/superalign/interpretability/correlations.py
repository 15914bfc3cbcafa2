"""Correlations from sums by document: what scores of explanations are made of. numpy and scipy alone.

    found = correlation(sums["trigram"], seed=0)                   # Pearson's r over all tokens, concatenated
    gain(sums["trigram"], sums["unigram"], seed=0)                 # (r - r_uni)/(1 - r_uni)

r is over all tokens of all windows, not a mean of windows' r (Bills et al. 2023). A prediction that is the same
everywhere scores 0; a unit that is the same everywhere, or not a number, has no score (NaN). Intervals are percentiles
over resampled documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from superalign.stats import Interval
from superalign.stats.bootstrap import drawn_counts
from superalign.stats.interval import refused

DRAWS = 400
LEVEL = 0.95
N, X, Y, XX, YY, XY = range(6)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """What correlations are made of, document by document: predicted x, real y, each less a constant of its unit."""

    name: str
    parts: np.ndarray
    """(documents, 6, units) float64: n, Σx, Σy, Σx², Σy², Σxy."""
    documents: np.ndarray
    """(documents,) numbers into the corpus' names."""
    shift: np.ndarray
    """(2, units) the constants of x and y."""
    windows: int
    """Sequences, or windows of one unit, that were read."""
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """One score of every unit of a site; arrays are (units,), NaN where there is no score."""

    name: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    draws: np.ndarray
    """(draws, units) the score on resampled documents; of one seed and the same documents, two scores' draws pair."""
    clusters: int
    windows: int
    level: float = LEVEL

    def mean(self) -> Interval:
        """Of the units that have a score; documents are what is resampled. A refusal where none has one."""
        return mean_of(self.value, self.draws, clusters=self.clusters, level=self.level)


def mean_of(value: np.ndarray, draws: np.ndarray, *, clusters: int, level: float = LEVEL) -> Interval:
    """Mean over units, (units,) and (draws, units), with the interval of the draws' means; NaN units are left out."""
    there, method = np.isfinite(value), "mean over units, documents resampled"
    if not there.any() or clusters < 2:
        why = f"{int(there.sum())} units with a score, {clusters} documents: an interval needs one and two"
        return refused(why, n=int(there.sum()), clusters=clusters, method=method, level=level)
    each = draws[:, there]
    kept = np.isfinite(each)
    sums, counts = np.where(kept, each, 0).sum(1), kept.sum(1)
    means = sums[counts > 0] / counts[counts > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        value=float(value[there].mean()), low=float(low), high=float(high), level=level, n=int(there.sum()),
        clusters=clusters, method=method, note="" if there.all() else f"{int((~there).sum())} units without a score",
    )  # fmt: skip


def correlation(sums: Sums, *, seed: int, draws: int = DRAWS) -> Scored:
    """Pearson's r of predicted and real, unit by unit. With one document there are no ends (NaN)."""
    return _scored(f"r {sums.name}", sums, pearson(sums.parts.sum(0)), pearson(resampled(sums, seed=seed, draws=draws)))


def gain(sums: Sums, baseline: Sums, *, seed: int, draws: int = DRAWS) -> Scored:
    """(r − r_baseline)/(1 − r_baseline), both on the same windows: the share of what was left that is explained.

    NaN where the baseline is perfect. Raises ValueError for sums over other documents or tokens.
    """
    if not np.array_equal(sums.documents, baseline.documents) or sums.tokens != baseline.tokens:
        raise ValueError(f"{sums.name} and {baseline.name} were scored on other windows: score both on the same rows")
    values, under = (
        np.concatenate([pearson(each.parts.sum(0))[None], pearson(resampled(each, seed=seed, draws=draws))])
        for each in (sums, baseline)
    )
    left = 1 - under
    found = np.divide(values - under, left, out=np.full_like(left, np.nan), where=left > 1e-9)
    return _scored(f"gain {sums.name} over {baseline.name}", sums, found[0], found[1:])


def resampled(sums: Sums, *, seed: int, draws: int) -> np.ndarray:
    """(draws, 6, units) sums of documents drawn with replacement; the same documents for every call with one seed."""
    counts = drawn_counts(len(sums.documents), np.random.default_rng([seed, 103]), draws)
    flat = counts.astype(np.float64) @ sums.parts.reshape(len(sums.documents), -1)
    shaped: np.ndarray = flat.reshape(draws, *sums.parts.shape[1:])
    return shaped


def pearson(parts: np.ndarray) -> np.ndarray:
    """(…, units) r of sums (…, 6, units): 0 where only the prediction is constant, NaN where the unit is."""
    n, x, y, xx, yy, xy = np.moveaxis(parts, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        vx, vy, cov = xx - x * x / n, yy - y * y / n, xy - x * y / n
        real, told = vy > 1e-10 * yy, vx > 1e-10 * xx
        r = np.where(told, np.clip(cov / np.sqrt(vx * vy), -1, 1), 0.0)
    broken = ~np.isfinite(cov)
    return np.where(real & ~broken, r, np.nan)


def _scored(name: str, sums: Sums, value: np.ndarray, draws: np.ndarray) -> Scored:
    low, high = np.full((2, len(value)), np.nan)
    there = np.isfinite(value) & (np.isfinite(draws).mean(0) >= 0.8)
    if len(sums.documents) > 1 and there.any():
        low[there], high[there] = np.nanquantile(draws[:, there], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Scored(
        name=name, value=value, low=low, high=high, draws=draws, clusters=len(sums.documents), windows=sums.windows
    )


def trained_over_fresh(trained: Scored, fresh: Sequence[Scored], *, level: float = LEVEL) -> Interval:
    """Mean score of a trained network's units less that of untrained ones, an interval over documents and seeds.

    `fresh` are scores of the same family on the same documents, one for each seed. The variance is that of documents,
    drawn alike on both sides, and that of the seeds' means; t with degrees of freedom by Satterthwaite (1946). Refused
    with fewer than two seeds or documents, or where no unit has a score.
    """
    method, seeds = "t over documents and seeds", len(fresh)
    means = np.array([np.nanmean(each.value) if np.isfinite(each.value).any() else np.nan for each in fresh])
    if seeds < 2 or trained.clusters < 2 or not np.isfinite([*means, np.nanmean(trained.value)]).all():
        why = f"{seeds} untrained networks, {trained.clusters} documents: an interval needs two of each, with scores"
        return refused(why, n=seeds, clusters=trained.clusters, method=method, level=level)
    drawn = np.nanmean(trained.draws, axis=1) - np.mean([np.nanmean(each.draws, axis=1) for each in fresh], axis=0)
    by_documents, by_seeds = float(drawn.var(ddof=1)), float(means.var(ddof=1)) / seeds
    spread = by_documents + by_seeds
    if not spread:
        freedom = float("inf")
    else:
        freedom = spread**2 / (by_documents**2 / (trained.clusters - 1) + by_seeds**2 / (seeds - 1))
    value = float(np.nanmean(trained.value) - means.mean())
    half = float(scipy_stats.t.ppf(0.5 + level / 2, freedom)) * spread**0.5
    return Interval(
        value=value, low=value - half, high=value + half, level=level, n=int(np.isfinite(trained.value).sum()),
        clusters=trained.clusters, method=method, note=f"{seeds} untrained networks",
    )  # fmt: skip


def frontier(bits: Mapping[str, np.ndarray], scored: Mapping[str, Scored]) -> tuple[tuple[str, float, Interval], ...]:
    """Score against description length: (family, mean bits a unit, mean score), the shortest first."""
    told = [(name, float(np.mean(bits[name])), each.mean()) for name, each in scored.items()]
    return tuple(sorted(told, key=lambda each: each[1]))
