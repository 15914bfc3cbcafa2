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
from superalign.models.local import buckets


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFeatures:
    """Features of n texts under one model."""

    wide: np.ndarray
    """(n, 4 × width), float32."""
    surprisal: np.ndarray
    """(n,) mean surprisal in nats per token, the context's own tokens left out."""
    worst: np.ndarray
    """(n,) index of the most surprising token among the words after the context."""
    peak: np.ndarray
    """(n,) its surprisal in nats."""

    @property
    def narrow(self) -> np.ndarray:
        """(n, 2 × width): mean and maximum of the hidden states only."""
        return self.wide[:, : self.wide.shape[1] // 2]


def extract(
    model: LocalModel, texts: Sequence[str], *, skip: int = 2, progress: Callable[[int], None] | None = None
) -> TextFeatures:
    """Features of `texts` under `model`; the first `skip` words (author and cue) do not count."""
    ids = model.encode(texts)
    wide = np.zeros((len(ids), 4 * model.width), dtype=np.float32)
    surprisal, worst, peak = np.zeros(len(ids)), np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids))
    model.network.eval()
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=model.pad):
            result = model.network(input_ids=batch, attention_mask=mask, output_hidden_states=True)
            states, embedded = result.hidden_states[-1], model.network.get_input_embeddings()(batch)
            keep = mask[:, 1 + skip :].bool()
            here = states[:, skip:-1] if batch.shape[1] > skip + 1 else states[:, :0]
            match = here * embedded[:, 1 + skip :]
            nats = -token_logprobs(result.logits, batch)[:, skip:]
            wide[rows] = torch.cat([*_pools(here, keep, low=False), *_pools(match, keep, low=True)], dim=1).numpy()
            nats = nats.masked_fill(~keep, 0.0)
            surprisal[rows] = (nats.sum(1) / keep.sum(1).clamp_min(1)).numpy()
            words = nats[:, :-1]
            peak[rows], worst[rows] = words.amax(1).numpy(), words.argmax(1).numpy()
            if progress:
                progress(len(rows))
    return TextFeatures(wide=wide, surprisal=surprisal, worst=worst, peak=peak)


def _pools(values: torch.Tensor, keep: torch.Tensor, *, low: bool) -> tuple[torch.Tensor, torch.Tensor]:
    mask = keep.unsqueeze(-1)
    mean = (values * mask).sum(1) / mask.sum(1).clamp_min(1)
    fill = 1e4 if low else -1e4
    filled = values.masked_fill(~mask, fill)
    return mean, filled.amin(1) if low else filled.amax(1)
