"""The one training loop: AdamW with warm-up and half cosine, clipped, over seeded shuffles of the rows.

`descend` takes one loss a batch; `descend_parts` takes it in parts, each backpropagated before the next is computed
(gradient accumulation), and can keep its state on disk, so that a killed run goes on and ends with the same weights.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where a run keeps its state: weights, optimiser, order of the rows, random numbers."""

    path: Path
    key: str
    """Digest over all that decides the result: a state with another key is another run's, and refused."""
    every: int
    """Steps between two writes."""


class _Order:
    """Seeded shuffles of the rows, batch after batch; what is left of a pass and does not fill one is dropped."""

    def __init__(self, rows: int, batch: int, seed: int) -> None:
        self.rows, self.batch = rows, batch
        self.rng = np.random.default_rng(seed)
        self.order, self.at = self.rng.permutation(rows), 0

    def next(self) -> np.ndarray:
        if self.at + self.batch > self.rows:
            self.order, self.at = self.rng.permutation(self.rows), 0
        chosen = self.order[self.at : self.at + self.batch]
        self.at += self.batch
        return chosen


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

    def parts_of(chosen: np.ndarray, _: int) -> tuple[torch.Tensor]:
        return (loss_of(chosen),)

    descend_parts(groups, parts_of, recipe, rows=rows, seed=seed, name=name, progress=progress)


def descend_parts(
    groups: Sequence[tuple[Sequence[nn.Parameter], float]],
    parts_of: Callable[[np.ndarray, int], Iterable[torch.Tensor]],
    recipe: Descent,
    *,
    rows: int,
    seed: int,
    name: str,
    progress: Progress | None = None,
    kept: Kept | None = None,
) -> None:
    """As `descend`, the loss being the sum of `parts_of(row numbers of a batch, step)`.

    Where the parts are made one by one, only one part's activations are alive at a time. With `kept` a run that was
    killed goes on from its last state; the file is removed at the end. Raises ValueError when a part, or the gradient,
    is not finite, before the step that would spoil the weights, and where `kept` holds the state of another run.
    """
    trained = [{"params": list(parameters), "factor": factor} for parameters, factor in groups if parameters]
    optimiser = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=recipe.decay)
    everything = [parameter for parameters, _ in groups for parameter in parameters]
    order = _Order(rows, recipe.batch, seed)
    first = _resumed(kept, everything, optimiser, order) if kept else 0
    for step in range(first, recipe.steps):
        chosen = order.next()
        for group in optimiser.param_groups:
            group["lr"] = group["factor"] * recipe.rate * cosine(step, steps=recipe.steps, warmup=20)
        optimiser.zero_grad(set_to_none=True)
        for part in parts_of(chosen, step):
            if not torch.isfinite(part):
                raise ValueError(f"{name}: the loss is not finite at step {step}: lower the rate ({recipe.rate})")
            part.backward()
        norm = torch.nn.utils.clip_grad_norm_(everything, 1.0)
        if not torch.isfinite(norm):
            raise ValueError(f"{name}: the gradient is not finite at step {step}: lower the rate ({recipe.rate})")
        optimiser.step()
        if kept and (step + 1) % kept.every == 0 and step + 1 < recipe.steps:
            _keep(kept, everything, optimiser, order, step + 1)
        if progress:
            progress(step + 1, recipe.steps)
    if kept:
        kept.path.unlink(missing_ok=True)


def _keep(kept: Kept, everything: Sequence[nn.Parameter], optimiser: Any, order: _Order, step: int) -> None:
    """Write the state, all or nothing."""
    state = {
        "key": kept.key,
        "step": step,
        "weights": [parameter.detach() for parameter in everything],
        "optimiser": optimiser.state_dict(),
        "order": torch.from_numpy(order.order),
        "at": order.at,
        "shuffles": order.rng.bit_generator.state,
        "random": torch.get_rng_state(),
    }
    kept.path.parent.mkdir(parents=True, exist_ok=True)
    part = kept.path.with_suffix(".tmp")
    torch.save(state, part)
    part.replace(kept.path)


def _resumed(kept: Kept, everything: Sequence[nn.Parameter], optimiser: Any, order: _Order) -> int:
    """Load the state, where there is one, into weights, optimiser, order and random numbers; returns its step."""
    if not kept.path.exists():
        return 0
    try:
        state = torch.load(kept.path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{kept.path} is no state of a training that can be read: remove it to begin anew") from error
    if state.get("key") != kept.key:
        raise ValueError(f"{kept.path} is of a training with another base, data, recipe or seed: remove it, or use it")
    with torch.no_grad():
        for parameter, value in zip(everything, state["weights"], strict=True):
            parameter.copy_(value)
    optimiser.load_state_dict(state["optimiser"])
    order.order, order.at = state["order"].numpy(), state["at"]
    order.rng.bit_generator.state = state["shuffles"]
    torch.set_rng_state(state["random"])
    return int(state["step"])
