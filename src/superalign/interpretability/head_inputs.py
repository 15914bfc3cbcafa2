"""Attribution patching of heads' queries and keys, with the softmax computed anew (AtP*, 2403.00745, §3.1.1).

    found = inputs_attributed(model, clean, corrupt, lengths, loss_score)
    found["query"].recomputed                      # (pairs, blocks, heads); `.linear` is plain AtP
    inputs_patched(model, clean, corrupt, lengths, loss_score, (1, 0), "query")      # exact, one head

A head that attends to one place for certain has no gradient in its queries: plain AtP says that they do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from superalign.interpretability.attribution import Score, pair_batches, paired
from superalign.interpretability.heads import Head, attending
from superalign.models import LocalModel

Side = Literal["query", "key"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputEffects:
    """Effects of patching each head's queries, or keys, at all tokens at once, from clean to corrupt."""

    linear: np.ndarray
    """(pairs, blocks, heads) first order in the queries or keys: what saturated attention hides."""
    recomputed: np.ndarray
    """The same with the softmax computed anew (AtP*, 2403.00745, §3.1.1): first order in what is attended to only."""


def inputs_attributed(
    model: LocalModel, clean: np.ndarray, corrupt: np.ndarray, lengths: np.ndarray, score: Score
) -> dict[Side, InputEffects]:
    """AtP of every head's queries and keys on `score`, plain and corrected, from pairs as in `attributed`.

    Two forwards and one backward. Raises ValueError for pairs that do not match, and for an attention that is more than
    a softmax of queries times keys: no correction can be had there.
    """
    paired(clean, corrupt, lengths)
    found: dict[Side, list[list[np.ndarray]]] = {"query": [[], []], "key": [[], []]}
    for ids, other, mask in pair_batches(clean, corrupt, lengths, device=model.device):
        there, here = _Attended(), _Attended()
        with torch.no_grad():
            plain = score(model, ids, mask)
            with watched(model, there):
                score(model, other, mask)
        with torch.enable_grad(), watched(model, here):
            total = score(model, ids, mask)
        if not torch.allclose(total, plain, rtol=1e-3, atol=1e-4):
            raise ValueError(f"{model.name}: its attention is more than a softmax of queries times keys: not corrected")
        slopes = torch.autograd.grad(total.sum(), [layer.weights for layer in here.layers])
        for side in found:
            pairs = zip(here.layers, there.layers, slopes, strict=True)
            effects = [_input_effect(a, b, slope, side) for a, b, slope in pairs]
            for kind in (0, 1):
                found[side][kind].append(np.stack([each[kind] for each in effects], axis=1))
    return {
        side: InputEffects(linear=np.concatenate(linear), recomputed=np.concatenate(again))
        for side, (linear, again) in found.items()
    }


def _input_effect(here: Attended, there: Attended, slope: torch.Tensor, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """(linear, recomputed), (rows, heads) each."""
    with torch.no_grad():
        query = there.query if side == "query" else here.query
        key = there.key if side == "key" else here.key
        moved = (query @ key.transpose(-1, -2) - here.query @ here.key.transpose(-1, -2)) * here.scaling
        moved = torch.where(here.weights > 0, moved, 0)
        linear = here.weights * (moved - (here.weights * moved).sum(-1, keepdim=True))
        again = torch.softmax(torch.log(here.weights.clamp(min=1e-38)) + moved, dim=-1) - here.weights
        told = [(slope * change).sum((2, 3)).float().cpu().numpy() for change in (linear, again)]
    return told[0], told[1]


def inputs_patched(
    model: LocalModel, clean: np.ndarray, corrupt: np.ndarray, lengths: np.ndarray, score: Score, head: Head, side: Side
) -> np.ndarray:
    """(pairs,) exact: the score with one head's queries or keys as on the corrupt sequences, minus the clean score."""
    paired(clean, corrupt, lengths)
    parts = []
    for ids, other, mask in pair_batches(clean, corrupt, lengths, device=model.device):
        there = _Attended()
        with torch.no_grad():
            with watched(model, there):
                score(model, other, mask)
            with watched(model, _Attended()):
                base = score(model, ids, mask)
            with watched(model, _Attended(patch=(head, side, there))):
                parts.append((score(model, ids, mask) - base).float().cpu().numpy())
    return np.concatenate(parts)


@dataclass(slots=True, kw_only=True)
class Attended:
    """One block's attention: queries, keys (rows, heads, length, d) as they are multiplied, and the weights."""

    query: torch.Tensor
    key: torch.Tensor
    weights: torch.Tensor
    scaling: float


@dataclass(slots=True)
class _Attended:
    """What attention does while it is watched, block after block, and what is put in its place."""

    layers: list[Attended] = field(default_factory=list)
    patch: tuple[Head, Side, _Attended] | None = None

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(mixtures (rows, length, heads, d), weights)."""
        many = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(many, 1), value.repeat_interleave(many, 1)
        if self.patch and self.patch[0][0] == len(self.layers):
            (layer, number), side, other = self.patch
            query, key = query.clone(), key.clone()
            if side == "query":
                query[:, number] = other.layers[layer].query[:, number]
            else:
                key[:, number] = other.layers[layer].key[:, number]
        logits = query @ key.transpose(-1, -2) * scaling
        weights = torch.softmax(logits if mask is None else logits + mask[..., : key.shape[2]], dim=-1)
        if not weights.requires_grad and torch.is_grad_enabled():
            weights.requires_grad_()
        self.layers.append(Attended(query=query.detach(), key=key.detach(), weights=weights, scaling=scaling))
        return (weights @ value).transpose(1, 2).contiguous(), weights


_WATCHING: ContextVar[_Attended | None] = ContextVar("watching", default=None)
WATCHED = "superalign_watched"


def _watched_attention(module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: Any = None, **_: Any) -> Any:
    watch = _WATCHING.get()
    if watch is None:
        raise ValueError(f"attention {WATCHED!r} works inside `watched` only")
    return watch(query, key, value, mask, query.shape[-1] ** -0.5 if scaling is None else scaling)


@contextmanager
def watched(model: LocalModel, watch: _Attended) -> Iterator[None]:
    """While open, attention goes through `watch`, by transformers' own interface for attention functions."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(WATCHED, _watched_attention)
    AttentionMaskInterface.register(WATCHED, eager_mask)
    token = _WATCHING.set(watch)
    try:
        with attending(model, WATCHED):
            yield
    finally:
        _WATCHING.reset(token)
