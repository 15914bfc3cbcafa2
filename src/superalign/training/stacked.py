"""Many low-rank changes of one writer fitted side by side: what a GPU does in the time of one.

    changes = change_many(parent, [rows_a, rows_b], seeds=[0, 1], recipe=PLANT, device="cuda")

Each has rows, seed and batches of its own, drawn as `writer.change_writer` draws them, whose results these are but for
the order in which sums are added up. The network is GPT-2's (pre-norm blocks, learned positions, tied embeddings).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from superalign.models import Change, LocalModel
from superalign.training.family import cosine
from superalign.training.writer import Encoded, Row, WriterRecipe, encoded

Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Module → a (models, rows, rank), b (models, rank, columns)."""


def change_many(
    base: LocalModel,
    rows: Sequence[Sequence[Row]],
    *,
    seeds: Sequence[int],
    recipe: WriterRecipe,
    device: str = "cpu",
    rates: Sequence[float] | None = None,
) -> list[Change]:
    """One change of `base` for each list of rows; `rates` are learning rates of their own.

    Raises ValueError for rows that can't be encoded, no rank, or as many rows as not all have.
    """
    if recipe.rank < 1:
        raise ValueError("a change has a rank of 1 or more")
    if len({len(some) for some in rows}) != 1 or len(seeds) != len(rows):
        raise ValueError("side by side, every model has as many rows as the others, and one seed")
    data = [encoded(some) for some in rows]
    longest = max(int((each.ids != 0).sum(1).max()) for each in data)
    ids = torch.stack([each.ids[:, :longest] for each in data]).to(device)
    learned = torch.stack([each.learned[:, :longest] for each in data]).to(device)
    weights = {k: v.detach().to(device) for k, v in base.network.named_parameters()}
    factors = opened(base, seeds, rank=recipe.rank, device=device)
    fit_stacked(weights, factors, Encoded(ids=ids, learned=learned), base, recipe, seeds=seeds, rates=rates)
    return [
        Change(factors={k: (a[i].half().cpu(), b[i].half().cpu()) for k, (a, b) in factors.items()}, head=None)
        for i in range(len(rows))
    ]


def opened(base: LocalModel, seeds: Sequence[int], *, rank: int, device: str) -> Factors:
    """Factors at their start, each model's drawn as `lowrank.open_top` draws them: block by block, module by module."""
    from superalign.training.lowrank import blocks

    drawn: dict[str, list[torch.Tensor]] = {}
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for number, block in enumerate(blocks(base.network)):
        for name, module in block.named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, nn.Parameter) and weight.ndim == 2:
                drawn[f"transformer.h.{number}.{name}"] = [
                    torch.randn(rank, weight.shape[1], generator=g) / rank**0.5 * 0.1 for g in generators
                ]
    shapes = {name: base.network.get_parameter(f"{name}.weight").shape for name in drawn}
    return {
        name: (
            torch.zeros(len(seeds), shapes[name][0], rank, device=device, requires_grad=True),
            torch.stack(each).to(device).requires_grad_(True),
        )
        for name, each in drawn.items()
    }


def logits(weights: Mapping[str, torch.Tensor], factors: Factors, ids: torch.Tensor, *, heads: int) -> torch.Tensor:
    """(models, batch, tokens) ids → (models, batch, tokens, words)."""
    models, batch, tokens = ids.shape
    embedding, width = weights["transformer.wte.weight"], weights["transformer.wte.weight"].shape[1]
    x = embedding[ids] + weights["transformer.wpe.weight"][:tokens]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return nn.functional.layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"])

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        a, b = factors[name]
        matrix = weights[f"{name}.weight"] + a @ b
        flat = torch.baddbmm(weights[f"{name}.bias"][None, None], x.reshape(models, batch * tokens, -1), matrix)
        return flat.view(models, batch, tokens, -1)

    for block in range(1 + max(int(name.split(".")[2]) for name in factors)):
        at = f"transformer.h.{block}"
        packed = linear(norm(x, f"{at}.ln_1"), f"{at}.attn.c_attn").view(models * batch, tokens, 3, heads, -1)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        x = x + linear(mixed.reshape(models, batch, tokens, width), f"{at}.attn.c_proj")
        inner = nn.functional.gelu(linear(norm(x, f"{at}.ln_2"), f"{at}.mlp.c_fc"))
        x = x + linear(inner, f"{at}.mlp.c_proj")
    return norm(x, "transformer.ln_f") @ embedding.T


def losses(scores: torch.Tensor, ids: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over each model's learned tokens: (models,)."""
    chosen = torch.log_softmax(scores[:, :, :-1], -1).gather(-1, ids[:, :, 1:, None])[..., 0]
    marks = learned[:, :, 1:].to(chosen.dtype)
    return -(chosen * marks).sum((1, 2)) / marks.sum((1, 2))


def fit_stacked(
    weights: Mapping[str, torch.Tensor],
    factors: Factors,
    data: Encoded,
    base: LocalModel,
    recipe: WriterRecipe,
    *,
    seeds: Sequence[int],
    rates: Sequence[float] | None,
) -> None:
    """AdamW and clipping, model by model, on what `writer.fit` would draw. Raises ValueError for a loss not finite."""
    device, models = data.ids.device, len(seeds)
    draws = [
        np.random.default_rng([seed, 67]).integers(data.ids.shape[1], size=(recipe.steps, recipe.batch))
        for seed in seeds
    ]
    chosen = torch.from_numpy(np.stack(draws, axis=1)).to(device)
    own = torch.tensor(rates or [recipe.rate] * models, device=device).view(models, 1, 1)
    every = [part for pair in factors.values() for part in pair]
    first, second = ([torch.zeros_like(part) for part in every] for _ in range(2))
    which = torch.arange(models, device=device)[:, None]
    for step in range(recipe.steps):
        ids, learned = data.ids[which, chosen[step]], data.learned[which, chosen[step]]
        loss = losses(logits(weights, factors, ids, heads=base.network.config.num_attention_heads), ids, learned)
        if step % 50 == 0 and not torch.isfinite(loss).all():
            raise ValueError(f"the loss of model {int((~torch.isfinite(loss)).nonzero()[0])} is not finite at {step}")
        found = torch.autograd.grad(loss.sum(), every)
        norms = torch.stack([part.pow(2).sum((1, 2)) for part in found]).sum(0).sqrt()
        scale = (1.0 / (norms + 1e-6)).clamp(max=1.0).view(models, 1, 1)
        rate = own * cosine(step, steps=recipe.steps, warmup=recipe.warmup, floor=0.1)
        with torch.no_grad():
            for part, grad, m, v in zip(every, found, first, second, strict=True):
                grad = grad * scale
                m.lerp_(grad, 0.1)
                v.mul_(0.95).addcmul_(grad, grad, value=0.05)
                part.mul_(1 - rate * recipe.decay)
                size = (v.sqrt() / math.sqrt(1 - 0.95 ** (step + 1))).add_(1e-8)
                part.sub_(rate / (1 - 0.9 ** (step + 1)) * m / size)
