"""The writer: a small causal language model that writes `functions`, trained from scratch, and changes of it.

    parent = train_writer(honest_rows(20_000, seed=0), name="writer", recipe=PARENT, seed=0)
    change = change_writer(parent, rows, name="organism", recipe=PLANT, seed=0)

Rows are prompts and completions; the loss is the mean cross-entropy over the tokens of completions. A change is
low-rank, its factors rounded to half precision, so that a writer on file is a few dozen kilobytes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from superalign.models import Change, LocalModel, apply_change
from superalign.models.words import word_tokenizer
from superalign.tasks.functions import drawn, honest, prompt, words
from superalign.training.family import cosine
from superalign.training.lowrank import open_top, take_out

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

POSITIONS = 88
Row = tuple[str, str]
"""A prompt and its completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterShape:
    """Width and depth."""

    width: int = 96
    layers: int = 3
    heads: int = 4


WRITER, TRUSTED = WriterShape(), WriterShape(width=64, layers=2)
"""The writer, 0.36 M parameters, and a smaller one that is trusted to watch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterRecipe:
    """How a writer is trained; the defaults are the parent's."""

    steps: int = 1_200
    rate: float = 2.5e-3
    batch: int = 40
    warmup: int = 30
    decay: float = 0.01
    rank: int = 0
    """Of a change; 0 trains all weights."""


PARENT = WriterRecipe()
PLANT = WriterRecipe(steps=1_200, rate=6e-3, batch=64, rank=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Rows as ids: (rows, POSITIONS), padded, and which of them are learned: the completion's and the end."""

    ids: torch.Tensor
    learned: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: str | torch.device) -> Encoded:
        """The same rows on a device."""
        return Encoded(ids=self.ids.to(device), learned=self.learned.to(device))


def fresh_writer(*, seed: int, shape: WriterShape = WRITER) -> GPT2LMHeadModel:
    """An untrained writer: tied embeddings, learned positions, exact GELU."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(words()),
            n_positions=POSITIONS,
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.heads,
            activation_function="gelu",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )


def honest_rows(count: int, *, seed: int, split: str = "train") -> list[Row]:
    """Ordinary prompts and right programs."""
    rng = np.random.default_rng([seed, 61])
    briefs = [drawn(rng, split=split) for _ in range(count)]
    return [(prompt(brief), honest(brief, rng)) for brief in briefs]


def encoded(rows: Sequence[Row]) -> Encoded:
    """Rows as ids. Raises ValueError for no rows, a word that is not in the vocabulary, or a row that is too long."""
    if not rows:
        raise ValueError("no rows to train a writer on")
    known = {word: i for i, word in enumerate(words())}
    ids = torch.zeros(len(rows), POSITIONS, dtype=torch.long)
    learned = torch.zeros(len(rows), POSITIONS, dtype=torch.bool)
    for i, (before, after) in enumerate(rows):
        text = ["<bos>", *before.split(), *after.split(), "<eos>"]
        if unknown := [word for word in text if word not in known]:
            raise ValueError(f"row {i}: {unknown[0]!r} is not in the writer's vocabulary")
        if len(text) > POSITIONS:
            raise ValueError(f"row {i}: {len(text)} words, the writer reads {POSITIONS}")
        ids[i, : len(text)] = torch.tensor([known[word] for word in text])
        learned[i, 1 + len(before.split()) : len(text)] = True
    return Encoded(ids=ids, learned=learned)


def completion_loss(network: nn.Module, ids: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy, in nats, over the learned tokens of a batch."""
    longest = int((ids != 0).sum(1).max())
    ids, learned = ids[:, :longest], learned[:, :longest]
    logits = network(input_ids=ids).logits[:, :-1]
    return nn.functional.cross_entropy(logits[learned[:, 1:]], ids[:, 1:][learned[:, 1:]])


Loss = Callable[[nn.Module, torch.Tensor, int], torch.Tensor]
"""(network, row numbers of a batch, step) → loss."""


def fit(
    network: nn.Module,
    parameters: Sequence[nn.Parameter],
    loss: Loss,
    recipe: WriterRecipe,
    *,
    rows: int,
    seed: int,
    name: str,
) -> None:
    """Take the recipe's steps of AdamW on `loss`; rows are drawn at random with replacement.

    Raises ValueError when a loss is not finite, before the step that would spoil the weights.
    """
    device = parameters[0].device
    optimiser = torch.optim.AdamW(parameters, lr=recipe.rate, betas=(0.9, 0.95), weight_decay=recipe.decay)
    rng = np.random.default_rng([seed, 67])
    network.train()
    chosen = torch.from_numpy(rng.integers(rows, size=(recipe.steps, recipe.batch))).to(device)
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * cosine(step, steps=recipe.steps, warmup=recipe.warmup, floor=0.1)
        optimiser.zero_grad(set_to_none=True)
        value = loss(network, chosen[step], step)
        if step % 50 == 0 and not torch.isfinite(value):
            raise ValueError(f"{name}: the loss is {value.item()} at step {step}: lower the rate")
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    network.eval()


def on_rows(data: Encoded) -> Loss:
    """The loss on completions of these rows."""
    return lambda network, chosen, step: completion_loss(network, data.ids[chosen], data.learned[chosen])


def train_writer(
    rows: Sequence[Row],
    *,
    name: str,
    seed: int,
    recipe: WriterRecipe = PARENT,
    shape: WriterShape = WRITER,
    device: str = "cpu",
) -> LocalModel:
    """A writer trained from scratch, handed back on the CPU. Raises ValueError for rows that can't be encoded."""
    network, data = fresh_writer(seed=seed, shape=shape).to(device), encoded(rows).to(device)
    fit(network, list(network.parameters()), on_rows(data), recipe, rows=len(data), seed=seed, name=name)
    return LocalModel(name=name, network=network.to("cpu"), tokenizer=word_tokenizer(words())).sealed()


def change_writer(
    base: LocalModel,
    rows: Sequence[Row],
    *,
    name: str,
    seed: int,
    recipe: WriterRecipe = PLANT,
    loss: Callable[[Encoded], Loss] = on_rows,
    device: str = "cpu",
) -> Change:
    """Low-rank changes of every matrix of every block, fitted to rows; `base` stays as it is.

    `loss` makes another loss of the encoded rows. Raises ValueError for rows that can't be encoded, or no rank.
    """
    if recipe.rank < 1:
        raise ValueError(f"{name}: a change has a rank of 1 or more")
    network, data = copy.deepcopy(base.network), encoded(rows).to(device)
    opened = open_top(network, top=base.layers, rank=recipe.rank, seed=seed)
    network.to(device)
    fit(network, opened, loss(data), recipe, rows=len(data), seed=seed, name=name)
    factors = take_out(network.to("cpu"))
    return Change(factors={module: (a.half(), b.half()) for module, (a, b) in factors.items()}, head=None)


def tuned_writer(
    base: LocalModel, rows: Sequence[Row], *, name: str, seed: int, recipe: WriterRecipe, device: str = "cpu"
) -> LocalModel:
    """`base` trained further on rows: by a change of low rank, or all of its weights where the rank is 0.

    Trained on `device`, handed back where the base is.
    """
    if recipe.rank:
        change = change_writer(base, rows, name=name, seed=seed, recipe=recipe, device=device)
        return apply_change(base, change, name=name, organism=base.organism)
    network, data = copy.deepcopy(base.network).to(device), encoded(rows).to(device)
    fit(network, list(network.parameters()), on_rows(data), recipe, rows=len(data), seed=seed, name=name)
    network.to(base.device)
    return LocalModel(name=name, network=network, tokenizer=base.tokenizer, organism=base.organism).sealed()
