"""Linear heads on frozen features: the antisymmetric logistic regression of pair comparisons, and that of singles.

A pair's feature is the difference first − second, so a head without bias answers P(first is sound), and swapping the
two swaps the answer. Features of single texts are centred, and their head has an offset. Fitted by full-batch Adam from
zero with a cosine schedule, on hard or soft labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Target = Callable[["torch.Tensor", float], "torch.Tensor"]
"""(logits, progress in [0, 1]) → targets, for losses whose labels follow the student; most lie in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """Weights of a fitted head and the scale its features are divided by."""

    weight: np.ndarray
    scale: np.ndarray
    centre: np.ndarray | float = 0.0
    """What features are reduced by first; 0 for pairs."""
    offset: float = 0.0
    """Log-odds at the centre; 0 for pairs."""

    def logits(self, differences: np.ndarray) -> np.ndarray:
        """Log-odds that the first of each pair is sound, or that a single is; shape (pairs,)."""
        return np.asarray(((differences - self.centre) / self.scale) @ self.weight + self.offset, dtype=np.float64)

    def probabilities(self, differences: np.ndarray) -> np.ndarray:
        """P(first is sound), shape (pairs,)."""
        return 1 / (1 + np.exp(-np.clip(self.logits(differences), -30, 30)))


def fit_head(
    differences: np.ndarray,
    labels: np.ndarray,
    *,
    l2: float = 0.003,
    weights: np.ndarray | None = None,
    target: Target | None = None,
    steps: int = 80,
    rate: float = 0.05,
    symmetric: bool = True,
) -> LinearHead:
    """Fit a head on (pairs, features) differences and labels P(first is sound).

    `weights` (pairs,) scale each pair's loss; `target` replaces the labels as training goes on. `symmetric=False` is
    for features of single texts: they are centred, and an offset is learned, which nothing penalises.
    Raises ValueError for empty or NaN input, and where the loss stops being finite.
    """
    import torch  # here: whoever only reads heads, or scores, does without

    if len(labels) == 0 or not (np.isfinite(differences).all() and np.isfinite(labels).all()):
        raise ValueError(f"cannot fit a head on {len(labels)} labels: empty, or NaN among features or labels")
    scale = differences.std(axis=0) + 1e-6
    centre = 0.0 if symmetric else differences.mean(axis=0)
    x = torch.tensor((differences - centre) / scale, dtype=torch.float32)
    y = torch.tensor(labels, dtype=torch.float32)
    w = torch.ones_like(y) if weights is None else torch.tensor(weights, dtype=torch.float32)
    beta = torch.zeros(x.shape[1], requires_grad=True)
    offset = torch.zeros((), requires_grad=not symmetric)
    optimiser = torch.optim.Adam([beta] if symmetric else [beta, offset], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        logits = x @ beta + offset
        goal = y if target is None else target(logits.detach(), step / steps)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, goal, reduction="none")
        loss = (w * losses).sum() / w.sum() + l2 * beta.square().sum() / 2
        if not torch.isfinite(loss):
            raise ValueError(f"a head's loss is not finite at step {step} of {steps}: lower the rate ({rate})")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    weight = beta.detach().numpy().astype(np.float64)
    return LinearHead(weight=weight, scale=scale, centre=centre, offset=float(offset.detach()))


L2 = (0.003, 0.03, 0.1, 0.3, 3.0)
"""Penalties that are tried; what suits depends on the features and on how many labels there are."""


def fit_head_chosen(
    differences: np.ndarray, labels: np.ndarray, *, clusters: np.ndarray, symmetric: bool = True
) -> tuple[LinearHead, float]:
    """Fit a head with the penalty that does best on a fifth of the labels (whole clusters), then refit on all.

    Returns the head and its penalty; ties go to the stronger penalty. With one cluster there is nothing to choose by,
    and the smallest penalty is used. Only these labels are touched: no dev, validation or test.
    """
    names = np.unique(clusters)
    if len(names) < 2:
        return fit_head(differences, labels, l2=L2[0], symmetric=symmetric), L2[0]
    held = np.isin(clusters, np.random.default_rng(0).permutation(names)[: max(1, len(names) // 5)])
    goal = labels[held] > 0.5

    def right(l2: float) -> float:
        head = fit_head(differences[~held], labels[~held], l2=l2, symmetric=symmetric)
        return float(((head.logits(differences[held]) > 0) == goal).mean())

    best = max(L2, key=lambda l2: (right(l2), l2))
    return fit_head(differences, labels, l2=best, symmetric=symmetric), best
