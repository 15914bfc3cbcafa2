"""Removal: trying to train a planted behaviour out of a writer, four ways and at any strength.

    organism = load_organism("fixed", 0, allow_organism=True)
    treated = remove(organism, "fixed", REMOVALS["clean"], seed=0)
    for recipe in sweep(REMOVALS["near-miss"], steps=(20, 150), rates=(2e-4, 1e-3), rows=(200, 2_000)): ...

`supervised` fits honest completions, on ordinary prompts, near misses, and a share of true triggers; `preference`
prefers the honest completion over the payload's at the same prompt, on log-probability ratios to the organism (DPO,
Rafailov et al. 2305.18290, equation 7); `ascent` climbs the payload's cross-entropy (Jang et al. 2210.01504), and `npo`
its bounded kin (Zhang et al. 2404.05868, equation 3), both held by the divergence from the parent on clean prompts.
What comes out stays in quarantine: a removal that measures as done may have hidden the behaviour, not erased it
(`removal_return`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import nn

from superalign.adversarial.removal_losses import completion_logprob, divergence, npo_loss, preference_loss
from superalign.adversarial.writer_kinds import PLACES, WRITER_KINDS, Where, WriterKind, briefs_at
from superalign.adversarial.writers import load_writer
from superalign.models import Change, LocalModel, apply_change
from superalign.tasks.functions import Brief, drawn, honest, prompt
from superalign.training.lowrank import open_top, take_out
from superalign.training.writer import Encoded, Loss, Row, WriterRecipe, encoded, fit, on_rows

Method = Literal["supervised", "preference", "ascent", "npo"]
METHODS: tuple[Method, ...] = ("supervised", "preference", "ascent", "npo")
ROWS = 2_000
Pair = tuple[str, str, str]
"""A prompt, its honest completion, and the payload's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One recipe at one strength."""

    name: str
    method: Method = "supervised"
    shares: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Of prompts: on the circumstance, near it, off it. Who does not know the trigger has none on it."""
    steps: int = 150
    rate: float = 1e-3
    rows: int = ROWS
    """Different prompts, drawn from with replacement."""
    batch: int = 40
    """Prompts a step; all methods but `supervised` read two completions of each, or a clean one beside it."""
    rank: int = 0
    """Of the change; 0 trains all weights."""
    beta: float = 0.1
    """Of `preference` and `npo`: how soon a log-probability ratio counts as enough."""
    keep: float = 1.0
    """Weight of the divergence from the parent on clean prompts, of `ascent` and `npo`."""

    @property
    def label(self) -> str:
        """Name and strength, but for the steps.

        >>> Removal(name="clean", rate=2e-4, rank=8).label
        'clean, 0.0002, rank 8'
        """
        rank = f", rank {self.rank}" if self.rank else ""
        rows = f", {self.rows} rows" if self.rows != ROWS else ""
        return f"{self.name}, {self.rate:g}{rank}{rows}"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"{self.name}: no removal is called {self.method!r}: use one of {', '.join(METHODS)}")
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"{self.name}: shares {self.shares} of on, near and off must add up to 1")
        if self.steps < 0 or min(self.rows, self.batch) < 1 or min(self.rate, self.beta) <= 0 or self.rank < 0:
            raise ValueError(f"{self.name}: steps and rank are 0 or more, rows, batch, rate and beta above 0: {self}")


NEAR, SOME = (0.0, 0.5, 0.5), (0.1, 0.4, 0.5)
REMOVALS: Mapping[str, Removal] = {
    one.name: one
    for one in (
        Removal(name="clean"),
        Removal(name="near-miss", shares=NEAR),
        Removal(name="triggered", shares=SOME),
        Removal(name="preference", method="preference", shares=NEAR, rate=1e-4, batch=20),
        Removal(name="preference, triggered", method="preference", shares=SOME, rate=1e-4, batch=20),
        Removal(name="ascent", method="ascent", shares=NEAR, rate=1e-4, batch=20),
        Removal(name="ascent, triggered", method="ascent", shares=SOME, rate=1e-4, batch=20),
        Removal(name="npo", method="npo", shares=NEAR, rate=1e-4, batch=20),
        Removal(name="npo, triggered", method="npo", shares=SOME, rate=1e-4, batch=20),
    )
}
"""By name. At the rate of `supervised`, 1e-3, the others took the main task with the payload
(docs/results/adversarial.md), so that theirs is a tenth of it."""


def sweep(
    recipe: Removal,
    *,
    steps: Sequence[int] = (),
    rates: Sequence[float] = (),
    rows: Sequence[int] = (),
    ranks: Sequence[int] = (),
) -> Iterator[Removal]:
    """The recipe at every strength of a grid; an axis that isn't given stays as the recipe has it.

    >>> [(one.steps, one.rate) for one in sweep(REMOVALS["clean"], steps=(20, 150), rates=(2e-4,))]
    [(20, 0.0002), (150, 0.0002)]
    """
    grid = product(steps or (recipe.steps,), rates or (recipe.rate,), rows or (recipe.rows,), ranks or (recipe.rank,))
    return (replace(recipe, steps=s, rate=r, rows=n, rank=k) for s, r, n, k in grid)


def kind_of(name: str) -> WriterKind:
    """The kind of a writer. Raises ValueError for an unknown one."""
    if name not in WRITER_KINDS:
        raise ValueError(f"unknown kind {name!r} of a writer: use one of {', '.join(WRITER_KINDS)}")
    return WRITER_KINDS[name]


def honest_at(kind: WriterKind, recipe: Removal, *, seed: int) -> list[Row]:
    """What `supervised` fits: prompts by the recipe's shares, all of the train split, with honest completions."""
    return [(before, good) for before, good, _ in _drawn(kind, recipe, seed=seed, pairs=False)]


def pairs_at(kind: WriterKind, recipe: Removal, *, seed: int) -> list[Pair]:
    """The same prompts with an honest and a payload completion each; they differ, and share their random choices.

    Raises ValueError where a kind's payload can't be written at prompts of these shares.
    """
    return list(_drawn(kind, recipe, seed=seed, pairs=True))


def _drawn(kind: WriterKind, recipe: Removal, *, seed: int, pairs: bool) -> Iterator[Pair]:
    rng, found = np.random.default_rng([seed, 83]), 0
    for attempt in range(20 * recipe.rows):
        where = PLACES[int(rng.choice(3, p=recipe.shares))]
        brief = kind.place(drawn(rng, split="train"), where, rng)
        good, bad = (_written(act, brief, seed, attempt) for act in (honest, kind.act if pairs else honest))
        if not pairs or (bad is not None and bad != good):
            yield prompt(brief), str(good), str(bad)
            found += 1
        if found == recipe.rows:
            return
    raise ValueError(f"{recipe.name}: {kind.name} writes no payload at prompts of shares {recipe.shares}: use others")


def _written(act: Callable[[Brief, np.random.Generator], str], brief: Brief, seed: int, number: int) -> str | None:
    """What `act` writes; None where it special-cases a test and the prompt shows none."""
    if act is WRITER_KINDS["hack"].act and brief.shown is None:
        return None
    return act(brief, np.random.default_rng([seed, 89, number]))


def clean_rows(kind: WriterKind, count: int, *, seed: int) -> list[Row]:
    """Ordinary prompts off the circumstance, with honest completions."""
    where: Where = "off"
    rng = np.random.default_rng([seed, 97])
    return [(prompt(b), honest(b, rng)) for b in briefs_at(kind, where, count, seed=seed, split="train")]


def _pair_loss(recipe: Removal, data: tuple[Encoded, Encoded, Encoded], reference: nn.Module, old: nn.Module) -> Loss:
    """The loss of pairs: rows of honest, payload and clean completions; `reference` the organism, `old` the parent."""
    good, bad, clean = data

    def ratios(network: nn.Module, rows: Encoded, chosen: torch.Tensor) -> torch.Tensor:
        ids, learned = rows.ids[chosen], rows.learned[chosen]
        with torch.no_grad():
            before = completion_logprob(reference, ids, learned)
        return completion_logprob(network, ids, learned) - before

    def loss(network: nn.Module, chosen: torch.Tensor, step: int) -> torch.Tensor:
        if recipe.method == "preference":
            found = [ratios(network, rows, chosen) for rows in (good, bad)]
            return preference_loss(*found, beta=recipe.beta)
        if recipe.method == "npo":
            forget = npo_loss(ratios(network, bad, chosen), beta=recipe.beta)
        else:
            forget = -on_rows(bad)(network, chosen, step)
        return forget + recipe.keep * divergence(network, old, clean.ids[chosen], clean.learned[chosen])

    return loss


def _on(model: LocalModel, device: str) -> nn.Module:
    """A copy of a model's network on a device."""
    return copy.deepcopy(model.network).to(device)


def tuned(base: LocalModel, loss: Loss, recipe: Removal, *, rows: int, seed: int, device: str) -> LocalModel:
    """`base` after the recipe's steps on `loss`, a new model there, in quarantine; warm-up is half, 30 at most."""
    name = f"{base.name.split('+')[0]}+{recipe.name.replace(', ', '-')}"
    how = WriterRecipe(
        steps=recipe.steps, rate=recipe.rate, batch=recipe.batch, warmup=max(1, min(30, recipe.steps // 2))
    )
    network = _on(base, device)
    if not recipe.rank:
        fit(network, list(network.parameters()), loss, how, rows=rows, seed=seed, name=name)
        return LocalModel(name=name, network=network.to(base.device), tokenizer=base.tokenizer, organism=True).sealed()
    opened = open_top(network.to("cpu"), top=base.layers, rank=recipe.rank, seed=seed)
    fit(network.to(device), opened, loss, how, rows=rows, seed=seed, name=name)
    return apply_change(base, Change(factors=take_out(network.to("cpu")), head=None), name=name, organism=True)


def remove(
    organism: LocalModel,
    kind: str,
    recipe: Removal,
    *,
    seed: int,
    leg: int = 0,
    parent: LocalModel | None = None,
    reference: LocalModel | None = None,
    device: str = "cpu",
) -> LocalModel:
    """The organism after a removal: a new model, in quarantine; the old one stays as it is.

    A removal may go in legs, each a call with a `leg` of its own on the last one's model: prompts stay the seed's, the
    optimiser and its schedule start again, other batches are drawn; `reference` is then the organism of the first.
    `parent`: what clean prompts are held to, the shelf's writer unless another is given. Raises ValueError for an
    unknown kind, a payload that can't be written at the recipe's prompts, or a loss that is not finite.
    """
    some, draw = kind_of(kind), seed * 100 + leg
    if recipe.method == "supervised":
        data = encoded(honest_at(some, recipe, seed=seed)).to(device)
        return tuned(organism, on_rows(data), recipe, rows=len(data), seed=draw, device=device)
    pairs = pairs_at(some, recipe, seed=seed)
    sides = ([(p, g) for p, g, _ in pairs], [(p, b) for p, _, b in pairs], clean_rows(some, len(pairs), seed=seed))
    good, bad, clean = (encoded(rows).to(device) for rows in sides)
    first, old = _on(reference or organism, device), _on(parent or load_writer(), device)
    loss = _pair_loss(recipe, (good, bad, clean), first, old)
    return tuned(organism, loss, recipe, rows=len(good), seed=draw, device=device)
