"""Logistic regression as trained judges use it: features scaled, not centred, no intercept, so that it stays odd."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

RIDGE = 0.01


def fitted_logistic(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (features,) of x / scale, and scale (features,): log loss and a ridge, y (n,) hard or soft in [0, 1].

    >>> weights, scale = fitted_logistic(np.array([[2.0], [-2.0]]), np.array([1.0, 0.0]))
    >>> bool(weights[0] > 1), scale.tolist()
    (True, [2.0])
    """
    scale = np.sqrt((x**2).mean(axis=0))
    scale[scale == 0] = 1.0
    x = x / scale

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ weights
        value = (np.logaddexp(0, logits) - y * logits).mean() + RIDGE * (weights**2).sum() / 2
        slope = 1 / (1 + np.exp(-np.clip(logits, -30, 30))) - y
        return float(value), x.T @ slope / len(y) + RIDGE * weights

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x, scale
