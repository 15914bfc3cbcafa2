"""Exact attribution at a head that is linear over pooled features: each token's share of the score, adding up to it.

    told = attribution(body, ["return v0 . v1"])[0]
    told.base + told.shares.sum()                # the score

A mean is shared out evenly, a maximum or minimum goes to the token that attains it. States belong to the token they
stand at, h(t) ∘ e(t + 1) to the token that came. Shares say what the head adds up, not what the network did before:
a state knows of all earlier tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import torch

from superalign.models.local import buckets
from superalign.training.bodies import Body


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribution:
    """Of one text."""

    tokens: tuple[str, ...]
    shares: np.ndarray
    """(tokens,)"""
    base: float
    """What no token has a share in: the head's offset and centre. Cancels between texts."""

    @property
    def score(self) -> float:
        """Base and shares together."""
        return self.base + float(self.shares.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """One place where two texts are held side by side; a token is None where the other text has one more."""

    first: str | None
    second: str | None
    share: float
    """What it adds to score(first) − score(second)."""


def attribution(body: Body, texts: Sequence[str]) -> list[Attribution]:
    """Shares of each text's tokens, special ones included. Raises ValueError for a text of fewer than two tokens where
    the head reads transitions.
    """
    model = body.model
    ids, names = model.encode(texts), model.tokenizer.convert_ids_to_tokens
    if bad := [row for row, each in enumerate(ids) if len(each) < (2 if body.pool == "wide" else 1)]:
        raise ValueError(f"text {bad[0]} ({texts[bad[0]]!r}) has too few tokens: leave it out")
    weight = (body.head.line.weight[0] / body.head.scale).detach().cpu().double().numpy()
    bias = body.head.line.bias
    centre = body.head.centre.cpu().double().numpy()
    base = float(-(weight * centre).sum()) + (0.0 if bias is None else float(bias.detach()))
    out: list[Attribution | None] = [None] * len(texts)
    network: Any = model.network.eval()
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=model.pad, device=model.device):
            states = network.base_model(input_ids=batch, attention_mask=mask, use_cache=False).last_hidden_state
            embedded = network.get_input_embeddings()(batch)
            for row, h, e in zip(rows, states.cpu().double().numpy(), embedded.cpu().double().numpy(), strict=True):
                n = len(ids[row])
                shares = _wide(h[:n], e[:n], weight) if body.pool == "wide" else _last(h[:n], weight)
                out[row] = Attribution(tokens=tuple(names(ids[row])), shares=shares, base=base)
    return [each for each in out if each is not None]


def _last(states: np.ndarray, weight: np.ndarray) -> np.ndarray:
    shares = np.zeros(len(states))
    shares[-1] = states[-1] @ weight
    return shares


def _wide(states: np.ndarray, embedded: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(tokens,) from states and embeddings (tokens, width) and weights (4 × width,), in the order of `pooled`."""
    here, match = states[:-1], states[:-1] * embedded[1:]
    mean, top, fit, worst = np.split(weight, 4)
    shares = np.zeros(len(states))
    shares[:-1] += here @ mean / len(here)
    shares[1:] += match @ fit / len(here)
    columns = np.arange(here.shape[1])
    for values, weights, at, shift in ((here, top, here.argmax(0), 0), (match, worst, match.argmin(0), 1)):
        np.add.at(shares, at + shift, values[at, columns] * weights)
    return shares


def score_difference(body: Body, first: str, second: str) -> list[Aligned]:
    """Where the scores of two texts part: tokens side by side, with shares that add up to score(first − second)."""
    a, b = attribution(body, [first, second])
    out = []
    for _, i, i_end, j, j_end in SequenceMatcher(None, a.tokens, b.tokens, autojunk=False).get_opcodes():
        for step in range(max(i_end - i, j_end - j)):
            x, y = (i + step if i + step < i_end else None), (j + step if j + step < j_end else None)
            share = (0.0 if x is None else float(a.shares[x])) - (0.0 if y is None else float(b.shares[y]))
            out.append(
                Aligned(
                    first=None if x is None else a.tokens[x], second=None if y is None else b.tokens[y], share=share
                )
            )
    return out
