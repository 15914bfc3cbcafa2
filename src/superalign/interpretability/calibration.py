"""Calibration: what an explanation predicts, brought to the scale of what the unit does, on held-in text.

linear(explainer, dev)          # r stays as it is, up to its sign
percentile(explainer, dev)      # the distribution of activations: what ablating to a simulation needs

Both wrap an explainer and are explainers; the explanation is unchanged (Bills et al. 2023, "calibration").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superalign.interpretability.correlations import XX, XY, N, X, Y
from superalign.interpretability.explanation import Explainer, Explanation, Sample, predictions
from superalign.interpretability.scores import agreement_on

STEPS = 128
"""Quantiles that two distributions are matched at."""
TOKENS = 20_000
"""Of the sample that quantiles are read from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear:
    """slope·predicted + intercept, unit by unit."""

    of: Explainer
    slope: np.ndarray
    intercept: np.ndarray

    @property
    def name(self) -> str:
        """As in `rules, linear`."""
        return f"{self.of.name}, linear"

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32"""
        told = self.of.predict(ids, lengths)
        found: np.ndarray = told * self.slope.astype(np.float32) + self.intercept.astype(np.float32)
        return found

    def explanation(self, unit: int) -> Explanation:
        """As it was."""
        return self.of.explanation(unit)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Percentile:
    """Each prediction becomes the activation of the same rank."""

    of: Explainer
    told: np.ndarray
    """(steps, units) quantiles of predictions."""
    real: np.ndarray
    """(steps, units) mean activation at the ranks that each of those quantiles stands for."""

    @property
    def name(self) -> str:
        """As in `rules, percentile`."""
        return f"{self.of.name}, percentile"

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32"""
        told = self.of.predict(ids, lengths)
        flat = told.reshape(-1, told.shape[2])
        columns = [np.interp(flat[:, u], *_steps(self.told[:, u], self.real[:, u])) for u in range(flat.shape[1])]
        return np.stack(columns, axis=1).reshape(told.shape).astype(np.float32)

    def explanation(self, unit: int) -> Explanation:
        """As it was."""
        return self.of.explanation(unit)


def linear(explainer: Explainer, sample: Sample) -> Linear:
    """Least squares on held-in text. A prediction that is the same everywhere becomes the unit's mean.

    Raises ValueError for sequences that aren't held in.
    """
    sums = agreement_on([explainer], sample.held_in())[explainer.name]
    parts = sums.parts.sum(0)
    n, x, y = parts[N], parts[X], parts[Y]
    spread, both = parts[XX] - x * x / n, parts[XY] - x * y / n
    flat = ~(spread > 1e-10 * parts[XX])
    slope = np.where(flat, 0, both / np.where(flat, 1, spread))
    told, real = x / n + sums.shift[0], y / n + sums.shift[1]
    return Linear(of=explainer, slope=slope, intercept=real - slope * told)


def percentile(explainer: Explainer, sample: Sample) -> Percentile:
    """Quantiles of predictions and activations on held-in text. ValueError for sequences that aren't held in."""
    some = sample.held_in().first(TOKENS)
    told = np.concatenate([flat for _, flat in predictions(explainer, some)])
    at = np.linspace(0, 1, STEPS)
    return Percentile(of=explainer, told=np.quantile(told, at, axis=0), real=np.quantile(some.values, at, axis=0))


def _steps(told: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending predictions, each once, and the mean of what all quantiles at that prediction stand for."""
    distinct, which, counts = np.unique(told, return_inverse=True, return_counts=True)
    return distinct, np.bincount(which, weights=real) / counts
