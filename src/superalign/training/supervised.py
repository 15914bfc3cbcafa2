"""Supervised fitting: next-token cross-entropy on completions, the prompt masked (Ouyang et al. 2022, §3.4).

rows = preferences(slips(split="train", n=2000))
tuned = fit_supervised(load_model("family:m"), [(r["prompt"], r["chosen"]) for r in rows], name="tuned")
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from superalign.models import Change, LocalModel, apply_change, token_logprobs
from superalign.training.loop import Progress, descend
from superalign.training.lowrank import open_top, take_out
from superalign.training.reviewer import padded


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedRecipe:
    """How a model is fitted to completions, or to preferences between them."""

    steps: int = 400
    batch: int = 32
    rate: float = 1e-3
    top: int = 2
    """Blocks whose matrices change, from the last."""
    rank: int = 8
    decay: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A prompt and what follows it, as token ids; only the tokens from `start` on are learned and scored."""

    ids: tuple[int, ...]
    start: int


def completions(model: LocalModel, rows: Sequence[tuple[str, str]]) -> list[Completion]:
    """Prompts and completions as ids: the two are encoded apart, so that no token straddles the border.

    What does not fit into the model's context is cut from the left, so that the completion's end stays.
    Raises ValueError for a completion without tokens.
    """
    tokenizer, limit = model.tokenizer, model.context
    eos = tokenizer.eos_token_id
    out = []
    for i, (prompt, answer) in enumerate(rows):
        before = list(tokenizer(prompt, add_special_tokens=True)["input_ids"])
        before = before[:-1] if before and before[-1] == eos else before
        after = list(tokenizer(answer, add_special_tokens=False)["input_ids"])
        if not after:
            raise ValueError(f"row {i}: the completion {answer!r} has no tokens: leave such rows out")
        ids = [*before, *after] + ([eos] if eos is not None else [])
        cut = max(0, len(ids) - limit)
        out.append(Completion(ids=tuple(ids[cut:]), start=max(1, len(before) - cut)))
    return out


def completion_logprobs(
    network: nn.Module, rows: Sequence[Completion], *, pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(completion | prompt) in nats, and how many tokens that is: both (rows,)."""
    ids, mask = padded([row.ids for row in rows], pad=pad, device=next(network.parameters()).device)
    logprobs = token_logprobs(network(input_ids=ids, attention_mask=mask).logits, ids)
    counts = mask[:, 1:].clone()
    for i, row in enumerate(rows):
        counts[i, : row.start - 1] = 0
    return (logprobs * counts).sum(1), counts.sum(1)


def fit_supervised(
    base: LocalModel,
    rows: Sequence[tuple[str, str]],
    *,
    name: str,
    recipe: SupervisedRecipe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LocalModel:
    """A new model: `base` with low-rank changes, fitted to (prompt, completion) rows. `base` is unchanged.

    The loss is the mean over completion tokens. Raises ValueError for no rows, an empty completion, or a loss that
    stops being finite.
    """
    recipe = recipe or SupervisedRecipe()
    if not rows:
        raise ValueError(f"no rows to fit {name} on")
    encoded = completions(base, rows)
    network = copy.deepcopy(base.network).train()
    opened = open_top(network, top=recipe.top, rank=recipe.rank, seed=seed)

    def loss_of(chosen: np.ndarray) -> torch.Tensor:
        total, tokens = completion_logprobs(network, [encoded[i] for i in chosen], pad=base.pad)
        return -total.sum() / tokens.sum()

    torch.manual_seed(seed)
    descend(
        [(opened, 1.0)],
        loss_of,
        recipe,
        rows=len(encoded),
        seed=seed,
        name=name,
        progress=progress,
    )
    return apply_change(base, Change(factors=take_out(network), head=base.head), name=name)
