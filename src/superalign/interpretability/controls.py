"""Controls beside every score: another unit's explanation, and a network that was never trained.

    shuffled(explainer, seed=0)          # each unit is told by another one's explanation
    untrained(model, seed=0)             # the same architecture and tokenizer, fresh weights
    all_and_only(explainer, dev, held_out, seed=0)

The unigram table, the third control, is `tables.unigram`; an explanation is worth what it adds to it (`scores.gain`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from superalign.interpretability.correlations import DRAWS, LEVEL, Scored
from superalign.interpretability.explanation import Explainer, Explanation, Sample, predictions
from superalign.interpretability.judging import threshold
from superalign.models import LocalModel
from superalign.stats.bootstrap import drawn_counts

CUTS = 64
"""Predictions at which a cut is tried."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shuffled:
    """Explains each unit by another one's explanation."""

    of: Explainer
    order: np.ndarray
    """(units,) whose explanation each gets; never its own."""

    @property
    def name(self) -> str:
        """As in `rules, shuffled`."""
        return f"{self.of.name}, shuffled"

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32"""
        return self.of.predict(ids, lengths)[:, :, self.order]

    def explanation(self, unit: int) -> Explanation:
        """The other one's."""
        return self.of.explanation(int(self.order[unit]))


def shuffled(explainer: Explainer, units: int, *, seed: int) -> Shuffled:
    """Wrong explanations, of the same site: one cycle through all units. Raises ValueError for fewer than two units."""
    if units < 2:
        raise ValueError(f"{units} units: another one's explanation takes two")
    cycle = np.random.default_rng([seed, 139]).permutation(units)
    order = np.empty(units, dtype=np.int64)
    order[cycle] = np.roll(cycle, 1)
    return Shuffled(of=explainer, order=order)


def untrained(model: LocalModel, *, seed: int) -> LocalModel:
    """A fresh network of the same architecture, as `fresh_model` makes the family's; the same tokenizer, no head."""
    torch.manual_seed(seed)
    fresh = type(model.network)(model.network.config).eval().to(model.device)
    return LocalModel(name=f"untrained {model.name}, seed {seed}", network=fresh, tokenizer=model.tokenizer).sealed()


def all_and_only(explainer: Explainer, dev: Sample, sample: Sample, *, seed: int, draws: int = DRAWS) -> Scored:
    """F1 of "fires on all of these and on nothing else" (Huang et al. 2023, 2309.10312), on held-out tokens.

    A unit fires beyond `judging.threshold`, fixed on dev; the prediction's cut is the one of the largest F1 there. NaN
    for a unit that fires nowhere in the sample. Raises ValueError for a dev sample of other splits.
    """
    limit, cut = threshold(dev.held_in("train", "dev")), best_cuts(explainer, dev)
    codes = np.unique(sample.clusters(), return_inverse=True)[1]
    groups = int(codes.max()) + 1
    of_token = np.repeat(codes, sample.counted.sum(1))
    parts = np.zeros((groups, 3, sample.site.units))
    for some, told in predictions(explainer, sample):
        said, real = told > cut, sample.values[some] > limit
        counts = np.stack([said & real, said, real], axis=1).astype(np.float64)
        np.add.at(parts, of_token[some], counts)
    counted = drawn_counts(groups, np.random.default_rng([seed, 103]), draws).astype(np.float64)
    found = _f1((counted @ parts.reshape(groups, -1)).reshape(draws, 3, -1))
    value = _f1(parts.sum(0))
    low, high = np.full((2, len(value)), np.nan)
    there = np.isfinite(value) & (np.isfinite(found).mean(0) >= 0.8)
    if groups > 1 and there.any():
        low[there], high[there] = np.nanquantile(found[:, there], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    name = f"all and only {explainer.name}"
    return Scored(name=name, value=value, low=low, high=high, draws=found, clusters=groups, windows=len(sample.rows))


def best_cuts(explainer: Explainer, dev: Sample) -> np.ndarray:
    """(units,) cut of the predictions with the largest F1 on dev, of CUTS quantiles, spread towards the highest."""
    some = dev.first(20_000)
    told = np.concatenate([flat for _, flat in predictions(explainer, some)])
    real = some.values > threshold(dev)
    cuts = np.quantile(told, 1 - np.geomspace(1e-4, 0.9, CUTS), axis=0).astype(np.float32)
    scores = []
    for cut in cuts:
        said = told >= cut
        scores.append(_f1(np.stack([(said & real).sum(0), said.sum(0), real.sum(0)])))
    best = np.nan_to_num(np.stack(scores)).argmax(0)
    chosen: np.ndarray = np.take_along_axis(cuts, best[None], axis=0)[0]
    below: np.ndarray = np.nextafter(chosen, np.float32(-np.inf))
    return below


def _f1(parts: np.ndarray) -> np.ndarray:
    """(…, units) of (…, 3, units) both, said, real; NaN where the unit never fires."""
    both, said, real = np.moveaxis(parts, -2, 0)
    found: np.ndarray = np.divide(2 * both, said + real, out=np.full(both.shape, np.nan), where=real > 0)
    return found
