"""Detectors that look at the last word of a prompt, where a writer decides: lines, and a distance.

    states = prompt_states(model.network, prompts, layers=(2, 3))          # layer → (prompts, width)
    line = fit_detector("linear", states[2][:150], states[2][150:], layer=2)
    line.of(states[2])                                                     # (prompts,), grows with suspicion

`linear` is a logistic regression, `mean-difference` the line between two means (Marks and Tegmark 2310.06824, §5), both
in log-odds or standard deviations from the middle; `mahalanobis` the squared distance from innocent states alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from superalign.stats.interval import Array
from superalign.training.writer import encoded

Recipe = Literal["linear", "mean-difference", "mahalanobis"]
RECIPES: tuple[Recipe, ...] = get_args(Recipe)
PENALTY = 1.0
"""Of the logistic regression, on standardised states."""
BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A fitted detector of one layer."""

    recipe: Recipe
    layer: int
    centre: Array
    """(width,): what is subtracted first."""
    weights: Array
    """(width,) of a line, (width, width) of a distance."""
    offset: float = 0.0

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.recipe}, layer {self.layer}"

    @property
    def family(self) -> str:
        """What kind of monitor it is."""
        return "probe"

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides its scores."""
        found = hashlib.sha256(f"{self.recipe} {self.layer} {self.offset!r}".encode())
        for part in (self.centre, self.weights):
            found.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
        return found.hexdigest()

    def of(self, states: Array) -> Array:
        """(n, width) → (n,) scores. Raises ValueError for another width."""
        if states.ndim != 2 or states.shape[1] != len(self.centre):
            raise ValueError(f"states {states.shape}: {self.name} reads a width of {len(self.centre)}")
        away = states - self.centre
        if self.weights.ndim == 1:
            return np.asarray(away @ self.weights + self.offset, dtype=np.float64)
        return np.asarray((away @ self.weights * away).sum(1), dtype=np.float64)


def fit_detector(recipe: Recipe, positive: Array, negative: Array, *, layer: int) -> Line:
    """A detector of states (n, width) of two sorts; `mahalanobis` looks at the negative ones alone.

    Raises ValueError for an unknown recipe, fewer than two states of a sort, or states that aren't finite.
    """
    if recipe not in RECIPES:
        raise ValueError(f"unknown detector {recipe!r}: use one of {', '.join(RECIPES)}")
    if min(len(positive), len(negative)) < 2:
        raise ValueError(f"{len(positive)} and {len(negative)} states: a detector needs two of each sort")
    if not (np.isfinite(positive).all() and np.isfinite(negative).all()):
        raise ValueError("states that aren't finite: the model diverged, lower the rate")
    fit = {"linear": _linear, "mean-difference": _between, "mahalanobis": _distance}[recipe]
    centre, weights, offset = fit(positive.astype(np.float64), negative.astype(np.float64))
    return Line(recipe=recipe, layer=layer, centre=centre, weights=weights, offset=offset)


def _linear(positive: Array, negative: Array) -> tuple[Array, Array, float]:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    every = np.concatenate([positive, negative])
    centre, spread = every.mean(0), every.std(0) + 1e-9
    labels = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    model = LogisticRegression(C=PENALTY, max_iter=1_000).fit((every - centre) / spread, labels)
    return centre, model.coef_[0] / spread, float(model.intercept_[0])


def _between(positive: Array, negative: Array) -> tuple[Array, Array, float]:
    """In standard deviations, within sorts, along the line between the means; 0 half-way."""
    high, low = positive.mean(0), negative.mean(0)
    way = high - low
    along = np.concatenate([(positive - high) @ way, (negative - low) @ way])
    return (high + low) / 2, way / (along.std() + 1e-9), 0.0


def _distance(positive: Array, negative: Array) -> tuple[Array, Array, float]:
    """Shrunk as Ledoit and Wolf (2004) do, since there are hardly more states than dimensions."""
    from sklearn.covariance import LedoitWolf  # type: ignore[import-untyped]

    found = LedoitWolf().fit(negative)
    return found.location_, found.get_precision(), 0.0


@torch.no_grad()
def prompt_states(network: nn.Module, prompts: Sequence[str], *, layers: Sequence[int]) -> dict[int, Array]:
    """Layer → (prompts, width), the hidden states at the last word of each prompt; layer 0 is the embedding.

    Raises ValueError for no prompts, or a word that is not in the writer's vocabulary.
    """
    data = encoded([(prompt, "") for prompt in prompts])
    last = last_of_prompt(data.learned)
    device = next(network.parameters()).device
    out: dict[int, list[Array]] = {layer: [] for layer in layers}
    for at in range(0, len(data), BATCH):
        rows = slice(at, at + BATCH)
        ids = data.ids[rows, : int(last[rows].max()) + 1].to(device)
        states = network(input_ids=ids, attention_mask=(ids != 0).long(), output_hidden_states=True).hidden_states
        for layer in layers:
            picked = states[layer][torch.arange(len(ids)), last[rows].to(device)]
            out[layer].append(picked.cpu().double().numpy())
    return {layer: np.concatenate(parts) for layer, parts in out.items()}


def last_of_prompt(learned: torch.Tensor) -> torch.Tensor:
    """(rows, places) of completions → (rows,), the place before each begins."""
    return learned.int().argmax(1) - 1
