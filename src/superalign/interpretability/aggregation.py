"""Hidden states of every token, and how what a probe says of tokens becomes what it says of a text.

    states = token_states(model, texts, layer=2, skip=3, hidden=("lie", "truth"))
    aggregate(states.values @ weights.T, states.mask, "max")          # (texts,)

Pools over the tokens that count: `mean`, `max`, `last`; `attention`, a softmax of learned queries; `multimax`, the sum
over heads of each head's hard maximum (2601.11516): one telling token is not diluted by a long text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from superalign.models import LocalModel
from superalign.models.words import starts_after

Pool = Literal["mean", "max", "last", "attention", "multimax"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class States:
    """What one layer holds of n texts."""

    values: np.ndarray
    """(n, length, width) float32; zero after a text's end."""
    mask: np.ndarray
    """(n, length) bool: tokens that count."""
    layer: int
    skip: int
    hidden: tuple[str, ...]
    transitions: bool = False
    """Are the values h(t − 1) ∘ e(t) beside h(t), (n, length, 2 × width)?"""

    def __len__(self) -> int:
        return len(self.values)

    def part(self, rows: np.ndarray) -> States:
        """Those of some texts."""
        return replace(self, values=self.values[rows], mask=self.mask[rows])

    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """All tokens that count, (tokens, width), and the number of each one's text, (tokens,)."""
        return self.values[self.mask], np.nonzero(self.mask)[0]


def token_states(
    model: LocalModel,
    texts: Sequence[str],
    *,
    layer: int,
    skip: int = 1,
    hidden: Sequence[str] = (),
    transitions: bool = False,
) -> States:
    """States of `layer` (0: embeddings) at every token. The first token and the first `skip` - 1 words never count,
    whatever tokens they are cut into, nor do words in `hidden`: those that state the label. They are read all the same,
    so later tokens may still know them. With `skip` 0 every token counts.

    With `transitions` each token also has the product of its embedding and the state before it, entry by entry: how far
    it was expected, which no line through single states can say. A reward head reads it too.

    Raises ValueError for no texts, no such layer, a text of which no token counts, and states that are not finite.
    """
    if not texts:
        raise ValueError("no texts to read: bring some")
    if not -1 <= layer <= model.layers:
        raise ValueError(f"{model.name} has no layer {layer}: 0 (embeddings) to {model.layers}, or -1 for the last")
    layer = model.layers if layer == -1 else layer
    found, ids = model.hidden(texts, layer=layer), model.encode(texts)
    values = np.zeros((len(texts), max(map(len, found)), model.width * (1 + transitions)), dtype=np.float32)
    mask = np.zeros(values.shape[:2], dtype=bool)
    runs, starts = _runs(model, hidden), starts_after(model.tokenizer, texts, skip - 1) if skip else [0] * len(texts)
    for row, (states, tokens) in enumerate(zip(found, ids, strict=True)):
        values[row, : len(states), : model.width] = states
        if transitions:
            values[row, 1 : len(states), model.width :] = states[:-1] * _embedded(model, tokens[1:])
        mask[row, starts[row] : len(states)] = True
        mask[row, _stating(tokens, runs)] = False
    if not mask.any(1).all():
        bad = int(np.flatnonzero(~mask.any(1))[0])
        raise ValueError(f"text {bad} ({texts[bad][:60]!r}) has no token that counts after {skip}: leave it out")
    if not np.isfinite(values).all():
        raise ValueError(f"{model.name}: states of layer {layer} are not all finite: its weights are broken")
    told = tuple(hidden)
    return States(values=values, mask=mask, layer=layer, skip=skip, hidden=told, transitions=transitions)


def _embedded(model: LocalModel, ids: Sequence[int]) -> np.ndarray:
    """(tokens, width) input embeddings, of unit variance as states are, roughly: times the root of the width.

    As the embedding module gives them, which a reward head reads too: some architectures scale them there.
    """
    network: Any = model.network
    with torch.no_grad():
        found = network.get_input_embeddings()(torch.tensor(ids, dtype=torch.long, device=model.device))
    return np.asarray(found.float().cpu().numpy() * model.width**0.5)


def _runs(model: LocalModel, words: Sequence[str]) -> set[tuple[int, ...]]:
    """Token runs that spell one of the words, after a blank or not."""
    tokenizer = model.tokenizer
    spelt = {tuple(tokenizer(f, add_special_tokens=False)["input_ids"]) for w in words for f in (w, f" {w}")}
    return {run for run in spelt if run and tokenizer.unk_token_id not in run}


def _stating(ids: Sequence[int], runs: set[tuple[int, ...]]) -> list[int]:
    """Places that belong to one of the runs."""
    return [
        place
        for run in runs
        for start in range(len(ids) - len(run) + 1)
        if tuple(ids[start : start + len(run)]) == run
        for place in range(start, start + len(run))
    ]


def aggregate(scores: np.ndarray, mask: np.ndarray, pool: Pool, keys: np.ndarray | None = None) -> np.ndarray:
    """(texts,) from the scores (texts, length, heads) of tokens; `keys`, as many, say what attention looks at.

    Heads add up. Raises ValueError for attention without keys, and a pool that is none.

    >>> aggregate(np.array([[[1.0], [3.0]]]), np.array([[True, True]]), "max")
    array([3.])
    """
    keep = mask[:, :, None]
    if pool == "mean":
        pooled = np.where(keep, scores, 0).sum(1) / keep.sum(1)
    elif pool in ("max", "multimax"):
        pooled = np.where(keep, scores, -np.inf).max(1)
    elif pool == "last":
        pooled = scores[np.arange(len(scores)), mask.shape[1] - 1 - mask[:, ::-1].argmax(1)]
    elif pool == "attention" and keys is not None:
        looks = np.where(keep, keys, -np.inf)
        shares = np.exp(looks - looks.max(1, keepdims=True))
        pooled = (shares * np.where(keep, scores, 0)).sum(1) / shares.sum(1)
    else:
        raise ValueError(f"pool {pool!r}: mean, max, last, multimax, or attention with keys")
    return np.asarray(pooled.sum(1), dtype=np.float64)
