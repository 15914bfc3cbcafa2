"""The one training loop: AdamW with warm-up and half cosine, clipped, over seeded shuffles of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from superalign.training.family import cosine

Progress = Callable[[int, int], None]
"""(steps done, steps in all)."""


def descend(
    groups: Sequence[tuple[Sequence[nn.Parameter], float]],
    loss_of: Callable[[np.ndarray], torch.Tensor],
    *,
    rows: int,
    steps: int,
    batch: int,
    rate: float,
    decay: float,
    seed: int,
    name: str,
    progress: Progress | None = None,
) -> None:
    """Take `steps` of AdamW on `loss_of(row numbers of a batch)`; each group has its factor on the rate.

    Each pass over the rows is shuffled anew; what is left of a pass and does not fill a batch is dropped.
    Raises ValueError when the loss is not finite, before the step that would spoil the weights.
    """
    kept = [{"params": list(parameters), "factor": factor} for parameters, factor in groups if parameters]
    optimiser = torch.optim.AdamW(kept, lr=rate, weight_decay=decay)
    everything = [parameter for parameters, _ in groups for parameter in parameters]
    rng = np.random.default_rng(seed)
    order, at = rng.permutation(rows), 0
    for step in range(steps):
        if at + batch > rows:
            order, at = rng.permutation(rows), 0
        chosen = order[at : at + batch]
        at += batch
        for group in optimiser.param_groups:
            group["lr"] = group["factor"] * rate * cosine(step, steps=steps, warmup=20)
        loss = loss_of(chosen)
        if not torch.isfinite(loss):
            raise ValueError(f"{name}: the loss is not finite at step {step}: lower the rate ({rate})")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(everything, 1.0)
        optimiser.step()
        if progress:
            progress(step + 1, steps)
