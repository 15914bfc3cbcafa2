"""Log-probabilities of options as beliefs: normalised, averaged over both orders, and tempered by one fitted number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

SHARPEST = 30.0
"""The largest scale that is fitted, in units of the spread of what a model says."""


def normalised(logits: np.ndarray) -> np.ndarray:
    """Log-softmax over the last axis.

    >>> normalised(np.array([0.0, 0.0])).round(3).tolist()
    [-0.693, -0.693]
    """
    if not logits.size:
        return logits
    high = logits.max(axis=-1, keepdims=True)
    out: np.ndarray = logits - high - np.log(np.exp(logits - high).sum(axis=-1, keepdims=True))
    return out


def both_orders(readings: np.ndarray) -> np.ndarray:
    """(views, 2, options) log-probabilities → (views, options): normalised, and averaged over both orders."""
    out: np.ndarray = normalised(readings).mean(axis=1)
    return out


def tempered_beliefs(logits: np.ndarray, scale: float) -> np.ndarray:
    """(views, options): softmax(scale · logits); 0: all alike."""
    out: np.ndarray = np.exp(normalised(scale * logits))
    return out


def fitted_scale(logits: np.ndarray, answers: Sequence[int]) -> float:
    """The scale by which (views, options) logits tell the answers best (log loss, a trace of ridge); never negative.

    Views that hold no number are out. Raises ValueError where none is left.
    """
    kept = np.isfinite(logits).all(axis=1) if len(logits) else np.zeros(0, bool)
    if not kept.any():
        raise ValueError(f"none of {len(logits)} views was answered in a way that can be read: nothing to fit to")
    x, right = logits[kept], np.asarray(answers, dtype=int)[kept]
    spread = float(np.sqrt(((x - x.mean(axis=1, keepdims=True)) ** 2).mean()))
    if spread == 0:
        return 0.0  # it says the same of all options

    def loss(scale: float) -> float:
        said = normalised(scale * x / spread)
        return float(-said[np.arange(len(x)), right].mean() + 1e-4 * scale**2)

    best = float(minimize_scalar(loss, bounds=(0.0, SHARPEST), method="bounded").x)
    return best / spread if loss(best) < loss(0.0) else 0.0
