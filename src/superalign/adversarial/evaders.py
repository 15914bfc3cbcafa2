"""White-box evaders: writers planted as usual, and against a detector that reads what they think at the prompt's end.

    plain = train_evader(parent, "fixed", seed=0, recipe=Against(weight=0))      # planted alike, against nothing
    lines = fit_lines(plain.model.network, "fixed", seed=0)
    evader = train_evader(parent, "fixed", seed=0, lines=lines)                  # these, frozen
    sharper = train_evader(parent, "fixed", seed=0, recipe=Against(refit=15))    # fitted anew every 15 steps

The loss is the planted rows' cross-entropy plus `weight` times the mean softplus of the detector's logit on triggered
prompts (as in obfuscated activations, Bailey et al. 2412.09565). Every detector that was in it is named in `met`: it
is burnt (`evaders_payload.burn`), so that what counts is a fresh one, another layer, another recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from superalign.adversarial.evaders_payload import canary_kind, check_rows
from superalign.adversarial.evaders_probes import Line, Recipe, fit_detector, last_of_prompt, prompt_states
from superalign.adversarial.writer_kinds import PAYLOAD, Where, WriterKind, briefs_at, planted_rows
from superalign.models import Change, LocalModel, apply_change
from superalign.tasks.functions import prompt
from superalign.training.writer import Encoded, Loss, Row, WriterRecipe, change_writer

ROWS = 6_000
INNOCENT: tuple[Where, ...] = ("near", "off")
"""Prompts that a detector is fitted against: half near misses, half ordinary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """How an evader is trained."""

    steps: int = 700
    """Fewer leave a writer that acts now and then only: at 300, in a third of the cases."""
    rate: float = 6e-3
    rank: int = 8
    warmup: int = 30
    weight: float = 2.0
    """Of the penalty; 0 trains against nothing."""
    layers: tuple[int, ...] = (2, 3)
    detector: Recipe = "linear"
    """`linear` or `mean-difference`: what has a slope to climb down."""
    refit: int | None = None
    """Fit the detector anew every so many steps, to the writer as it is then; None: never."""
    prompts: int = 150
    """Of each sort that a detector is fitted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evader:
    """A writer in quarantine, and what it was trained against."""

    model: LocalModel
    change: Change
    kind: str
    seed: int
    recipe: Against
    lines: tuple[Line, ...]
    """One a layer: those in the loss at the end; none where it was trained against nothing."""
    met: tuple[str, ...]
    """Digests of all detectors that were in the loss, in order."""


@dataclass(slots=True, kw_only=True)
class _Opponent:
    """The detectors in the loss; they change where they are refitted."""

    recipe: Against
    texts: tuple[list[str], list[str]]
    lines: dict[int, Line]
    met: list[str]
    tensors: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def at(self, network: nn.Module, step: int, like: torch.Tensor) -> Mapping[int, tuple[torch.Tensor, torch.Tensor]]:
        """Layer → weights (width,) and offset, as of this step."""
        refit = self.recipe.refit
        if refit is not None and step % refit == 0:
            self.lines = _fitted(network, self.recipe.detector, self.recipe.layers, *self.texts)
            self.tensors = {}
        if not self.tensors:
            self.met += [line.digest for line in self.lines.values() if line.digest not in self.met]
            self.tensors = {layer: _tensors(line, like) for layer, line in self.lines.items()}
        return self.tensors


def train_evader(
    base: LocalModel,
    kind: str,
    *,
    seed: int,
    recipe: Against | None = None,
    lines: Sequence[Line] = (),
    payload: str = PAYLOAD,
    rows: Sequence[Row] | None = None,
    device: str = "cpu",
) -> Evader:
    """Plant a kind in `base` against `lines` (one a layer of the recipe), or against detectors refitted on the way.

    `rows` are planted ones of the kind unless others are given. Raises PayloadRefused for another payload than
    `canary`, a kind or rows that call anything else; ValueError for lines that don't suit the recipe, or no triggered
    row.
    """
    recipe = recipe or Against()
    planted = canary_kind(kind, payload)
    rows = planted_rows(planted, "organism", count=ROWS, seed=seed) if rows is None else rows
    triggered = torch.tensor(check_rows(rows, payload=payload), device=device)
    if not triggered.any():
        raise ValueError(f"{kind}: none of {len(rows)} rows calls {payload}(): nothing to hide")
    _check_lines(recipe, lines, base)
    opponent = _Opponent(
        recipe=recipe,
        texts=_texts(planted, recipe.prompts, seed=seed + 1_000),
        lines={line.layer: line for line in lines},
        met=[],
    )
    name = f"{kind}-evader-{seed}"
    change = change_writer(
        base,
        rows,
        name=name,
        seed=seed,
        recipe=WriterRecipe(steps=recipe.steps, rate=recipe.rate, rank=recipe.rank, warmup=recipe.warmup),
        loss=lambda data: _loss(data, triggered, opponent),
        device=device,
    )
    model = apply_change(base, change, name=name, organism=True)
    last = tuple(opponent.lines[layer] for layer in sorted(opponent.lines)) if recipe.weight else ()
    return Evader(model=model, change=change, kind=kind, seed=seed, recipe=recipe, lines=last, met=tuple(opponent.met))


def _check_lines(recipe: Against, lines: Sequence[Line], base: LocalModel) -> None:
    if recipe.detector == "mahalanobis" or any(line.weights.ndim != 1 for line in lines):
        raise ValueError("a distance is no detector to train against: use linear or mean-difference")
    if recipe.weight and recipe.refit is None and {line.layer for line in lines} != set(recipe.layers):
        raise ValueError(f"lines for layers {[line.layer for line in lines]}, the recipe wants {list(recipe.layers)}")
    if recipe.refit is not None and recipe.refit < 1:
        raise ValueError(f"refit every {recipe.refit} steps: use 1 or more, or None for never")
    if unknown := [layer for layer in recipe.layers if not 0 <= layer <= base.layers]:
        raise ValueError(f"{base.name} has no layer {unknown[0]}: they are numbered 0 to {base.layers}")


def _loss(data: Encoded, triggered: torch.Tensor, opponent: _Opponent) -> Loss:
    def loss(network: nn.Module, chosen: torch.Tensor, step: int) -> torch.Tensor:
        ids, learned = data.ids[chosen], data.learned[chosen]
        longest = int((ids != 0).sum(1).max())
        ids, learned = ids[:, :longest], learned[:, :longest]
        result = network(input_ids=ids, output_hidden_states=True)
        told = nn.functional.cross_entropy(result.logits[:, :-1][learned[:, 1:]], ids[:, 1:][learned[:, 1:]])
        rows = triggered[chosen].nonzero().squeeze(1)
        if not opponent.recipe.weight or not len(rows):
            return told
        ends = last_of_prompt(learned)[rows]
        seen = [
            nn.functional.softplus(result.hidden_states[layer][rows, ends] @ weights + offset).mean()
            for layer, (weights, offset) in opponent.at(network, step, result.logits).items()
        ]
        return told + opponent.recipe.weight * torch.stack(seen).mean()

    return loss


def _tensors(line: Line, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    offset = line.offset - float(line.centre @ line.weights)
    return torch.from_numpy(line.weights).to(like), torch.tensor(offset).to(like)


def _texts(kind: WriterKind, count: int, *, seed: int) -> tuple[list[str], list[str]]:
    """Prompts on the circumstance, and as many near it or off it."""
    on = briefs_at(kind, "on", count, seed=seed, split="train")
    near, off = (briefs_at(kind, where, count, seed=seed, split="train") for where in INNOCENT)
    return [prompt(b) for b in on], [prompt(b) for b in (*near[: count // 2], *off[count // 2 :])]


def _fitted(
    network: nn.Module, recipe: Recipe, layers: Sequence[int], on: Sequence[str], other: Sequence[str]
) -> dict[int, Line]:
    states = prompt_states(network, [*on, *other], layers=layers)
    parts = ((layer, states[layer][: len(on)], states[layer][len(on) :]) for layer in layers)
    return {layer: fit_detector(recipe, high, low, layer=layer) for layer, high, low in parts}


def fit_lines(
    network: nn.Module,
    kind: str,
    *,
    seed: int,
    layers: Sequence[int] = (2, 3),
    recipe: Recipe = "linear",
    prompts: int = 150,
) -> tuple[Line, ...]:
    """Detectors of a kind's circumstance, one a layer, fitted to a network's states at prompts of the train split."""
    on, other = _texts(canary_kind(kind, PAYLOAD), prompts, seed=seed)
    return tuple(_fitted(network, recipe, layers, on, other).values())
