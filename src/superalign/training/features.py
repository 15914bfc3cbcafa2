"""Frozen features of texts, for linear heads: one forward pass, no gradients.

Per text: mean and maximum over tokens of the last hidden state h, mean and minimum of h(t) ∘ e(t+1) — how well each
state expected the token that came. `narrow` keeps the first two only: a supervisor handicapped by its view.
Surprisal is never a feature; it is handed back beside them, for zero-shot beliefs and for pointing at places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from superalign.models import LocalModel, token_logprobs
from superalign.models.local import buckets, widened
from superalign.models.words import one_token_a_word, starts_after, words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFeatures:
    """Features of n texts under one model."""

    wide: np.ndarray
    """(n, 4 × width), float32."""
    surprisal: np.ndarray
    """(n,) mean surprisal in nats per token, the context's own tokens left out."""
    worst: np.ndarray
    """(n,) number of the most surprising word among those after the context, whatever tokens it is cut into."""
    peak: np.ndarray
    """(n,) its surprisal in nats."""

    @property
    def narrow(self) -> np.ndarray:
        """(n, 2 × width): mean and maximum of the hidden states only."""
        return self.wide[:, : self.wide.shape[1] // 2]


def extract(
    model: LocalModel, texts: Sequence[str], *, skip: int = 2, progress: Callable[[int], None] | None = None
) -> TextFeatures:
    """Features of `texts` under `model`; the first `skip` words (author and cue) do not count.

    Raises ValueError for a tokenizer that cuts words and does not say where its tokens stand.
    """
    ids, starts = model.encode(texts), starts_after(model.tokenizer, texts, skip)
    words = None if one_token_a_word(model.tokenizer) else words_of(model.tokenizer, texts)
    wide = np.zeros((len(ids), 4 * model.width), dtype=np.float32)
    surprisal, worst, peak = np.zeros(len(ids)), np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids))
    model.network.eval()
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=model.pad, device=model.device):
            result = model.network(input_ids=batch, attention_mask=mask, output_hidden_states=True)
            states, embedded = widened(result.hidden_states[-1]), model.network.get_input_embeddings()(batch)
            keep, first = counted(mask, starts[rows])
            here = states[:, first - 1 : -1]
            match = here * widened(embedded)[:, first:]
            nats = -token_logprobs(result.logits, batch)[:, first - 1 :]
            found = torch.cat([*_pools(here, keep, low=False), *_pools(match, keep, low=True)], dim=1)
            wide[rows] = found.cpu().numpy()
            nats = nats.masked_fill(~keep, 0.0)
            surprisal[rows] = (nats.sum(1) / keep.sum(1).clamp_min(1)).cpu().numpy()
            if words is None:
                each = nats[:, :-1]
                peak[rows], worst[rows] = each.amax(1).cpu().numpy(), each.argmax(1).cpu().numpy()
            else:
                for row, line in zip(rows, nats.cpu().numpy(), strict=True):
                    peak[row], worst[row] = _worst(line, words[row][first:], skip)
            if progress:
                progress(len(rows))
    return TextFeatures(wide=wide, surprisal=surprisal, worst=worst, peak=peak)


def counted(mask: torch.Tensor, starts: np.ndarray) -> tuple[torch.Tensor, int]:
    """(texts, tokens - first) bool, and `first`, the earliest of the texts' `starts`: tokens that are no padding, and
    not before their own text's start, from place `first` on.
    """
    first = min(int(starts.min()), mask.shape[1])
    keep = mask[:, first:].bool()
    if (starts == first).all():
        return keep, first
    places = torch.arange(first, mask.shape[1], device=mask.device)
    return keep & (places >= torch.from_numpy(starts).to(mask.device)[:, None]), first


def _worst(nats: np.ndarray, words: np.ndarray, skip: int) -> tuple[float, int]:
    """Surprisal of the most surprising word, the sum of its tokens', and its number after the first `skip` words."""
    words = words[: len(nats)]
    inside = words >= skip
    if not inside.any():
        return 0.0, 0
    sums = np.bincount(words[inside] - skip, weights=nats[: len(words)][inside])
    return float(sums.max()), int(sums.argmax())


def _pools(values: torch.Tensor, keep: torch.Tensor, *, low: bool) -> tuple[torch.Tensor, torch.Tensor]:
    mask = keep.unsqueeze(-1)
    mean = (values * mask).sum(1) / mask.sum(1).clamp_min(1)
    fill = 1e4 if low else -1e4
    filled = values.masked_fill(~mask, fill)
    return mean, filled.amin(1) if low else filled.amax(1)
