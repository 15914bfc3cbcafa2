"""The one training loop: AdamW with warm-up and half cosine, clipped, over seeded shuffles of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

from superalign.training.family import cosine

Progress = Callable[[int, int], None]
"""(steps done, steps in all)."""


class Descent(Protocol):
    """What the loop reads of a recipe."""

    @property
    def steps(self) -> int:
        """How many batches."""

    @property
    def batch(self) -> int:
        """Rows a batch."""

    @property
    def rate(self) -> float:
        """Highest learning rate."""

    @property
    def decay(self) -> float:
        """Weight decay."""


def descend(
    groups: Sequence[tuple[Sequence[nn.Parameter], float]],
    loss_of: Callable[[np.ndarray], torch.Tensor],
    recipe: Descent,
    *,
    rows: int,
    seed: int,
    name: str,
    progress: Progress | None = None,
) -> None:
    """Take the recipe's steps of AdamW on `loss_of(row numbers of a batch)`; each group has its factor on the rate.

    Each pass over the rows is shuffled anew; what is left of a pass and does not fill a batch is dropped.
    Raises ValueError when the loss is not finite, before the step that would spoil the weights.
    """
    kept = [{"params": list(parameters), "factor": factor} for parameters, factor in groups if parameters]
    optimiser = torch.optim.AdamW(kept, lr=recipe.rate, weight_decay=recipe.decay)
    everything = [parameter for parameters, _ in groups for parameter in parameters]
    rng = np.random.default_rng(seed)
    order, at = rng.permutation(rows), 0
    for step in range(recipe.steps):
        if at + recipe.batch > rows:
            order, at = rng.permutation(rows), 0
        chosen = order[at : at + recipe.batch]
        at += recipe.batch
        for group in optimiser.param_groups:
            group["lr"] = group["factor"] * recipe.rate * cosine(step, steps=recipe.steps, warmup=20)
        loss = loss_of(chosen)
        if not torch.isfinite(loss):
            raise ValueError(f"{name}: the loss is not finite at step {step}: lower the rate ({recipe.rate})")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(everything, 1.0)
        optimiser.step()
        if progress:
            progress(step + 1, recipe.steps)
