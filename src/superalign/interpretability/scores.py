"""Scores of explanations on held-out text, for all units of a site at once, with intervals over documents.

    sums = agreement(explainers, model, corpus, site, rows)        # one pass over random windows
    found = correlation(sums["trigram"], seed=0)                   # Pearson's r over all tokens, concatenated
    gain(sums["trigram"], sums["unigram"], seed=0)                 # (r - r_uni)/(1 - r_uni)

r is over all tokens of all windows, not a mean of windows' r (Bills et al. 2023). A prediction that is the same
everywhere scores 0; a unit that is the same everywhere, or not a number, has no score (NaN). Intervals are percentiles
over resampled documents. Every score says how many windows it touched, so that uses of a split can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from superalign.interpretability.corpus import Corpus
from superalign.interpretability.explanation import Explainer, Sample
from superalign.interpretability.units import Site, activations
from superalign.models import LocalModel
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


class Adding:
    """Sums of one explainer, a batch at a time."""

    def __init__(self, name: str, units: int, documents: np.ndarray) -> None:
        self.name, self.documents = name, np.unique(documents)
        self.parts = np.zeros((len(self.documents), 6, units))
        self.shift: np.ndarray | None = None
        self.windows = self.tokens = 0

    def add(self, predicted: np.ndarray, real: np.ndarray, counted: np.ndarray, documents: np.ndarray) -> None:
        """(rows, length, units) twice, (rows, length) bool, or one for each unit, and the rows' documents, (rows,)."""
        mask = counted if counted.ndim == 3 else counted[:, :, None]
        if self.shift is None:
            self.shift = np.stack([_middle(values, mask) for values in (predicted, real)])
        x, y = (np.where(mask, values - at, 0) for values, at in zip((predicted, real), self.shift, strict=True))
        n = np.broadcast_to(mask.sum(1), (len(x), x.shape[2]))
        rows = [n, x.sum(1), y.sum(1), *(np.einsum("rtu,rtu->ru", a, b) for a, b in ((x, x), (y, y), (x, y)))]
        np.add.at(self.parts, np.searchsorted(self.documents, documents), np.stack(rows, axis=1).astype(np.float64))
        self.windows += len(x)
        self.tokens += int(counted.sum())

    def done(self) -> Sums:
        """The sums. There are some: nobody adds up no rows."""
        assert self.shift is not None
        return Sums(
            name=self.name,
            parts=self.parts,
            documents=self.documents,
            shift=self.shift,
            windows=self.windows,
            tokens=self.tokens,
        )


def _middle(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(units,) a constant near the mean, so that float32 sums of squares lose nothing."""
    middle: np.ndarray = np.where(mask, values, 0).sum((0, 1)) / np.maximum(mask.sum((0, 1)), 1)
    return middle.astype(values.dtype)


def agreement(
    explainers: Sequence[Explainer], model: LocalModel, corpus: Corpus, site: Site, rows: np.ndarray
) -> dict[str, Sums]:
    """Explainer's name → its sums over all counted tokens of the sequences `rows`, in one forward pass for all.

    Raises ValueError for no rows, and explainers that share a name.
    """
    adding = _adding(explainers, site.units, corpus.clusters(rows))
    start = 0
    for batch in activations(model, (site,), corpus.ids[rows], corpus.lengths[rows]):
        real = batch[site.name]
        some = rows[start : start + len(real)]
        start += len(real)
        for explainer in explainers:
            predicted = explainer.predict(corpus.ids[some], corpus.lengths[some])
            adding[explainer.name].add(predicted, real, corpus.counted(some), corpus.clusters(some))
    return {name: each.done() for name, each in adding.items()}


def agreement_on(explainers: Sequence[Explainer], sample: Sample, *, batch: int = 32) -> dict[str, Sums]:
    """The same on a sample that was read already."""
    adding = _adding(explainers, sample.site.units, sample.clusters())
    ends = np.r_[0, np.cumsum(sample.counted.sum(1))]
    for start in range(0, len(sample.rows), batch):
        rows, counted = sample.rows[start : start + batch], sample.counted[start : start + batch]
        real = np.zeros((*counted.shape, sample.site.units), dtype=np.float32)
        real[counted] = sample.values[ends[start] : ends[start + len(rows)]]
        for explainer in explainers:
            predicted = explainer.predict(sample.corpus.ids[rows], sample.corpus.lengths[rows])
            adding[explainer.name].add(predicted, real, counted, sample.corpus.clusters(rows))
    return {name: each.done() for name, each in adding.items()}


def _adding(explainers: Sequence[Explainer], units: int, documents: np.ndarray) -> dict[str, Adding]:
    names = [explainer.name for explainer in explainers]
    if len(set(names)) < len(names) or not len(documents):
        raise ValueError(f"{len(documents)} sequences, explainers {', '.join(names)}: bring some, each name once")
    return {name: Adding(name, units, documents) for name in names}


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


def frontier(bits: Mapping[str, np.ndarray], scored: Mapping[str, Scored]) -> tuple[tuple[str, float, Interval], ...]:
    """Score against description length: (family, mean bits a unit, mean score), the shortest first."""
    told = [(name, float(np.mean(bits[name])), each.mean()) for name, each in scored.items()]
    return tuple(sorted(told, key=lambda each: each[1]))
