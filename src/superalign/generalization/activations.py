"""Activations of every layer as readings, for probes: what a head can find inside a model, layer by layer.

Per text and layer: mean and maximum over tokens of the hidden state h, mean and minimum of h(t) ∘ e(t+1), as the
features of the last layer are (`superalign.training.features`). Layer 0 is the embedding, the last one is final.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.generalization.questions import FAMILY_CONTEXT, Questions
from superalign.generalization.reading import Reading, zero_shot

if TYPE_CHECKING:
    import torch

    from superalign.models import LocalModel

Layers = Mapping[int, Reading]
"""Layer → the same questions as that layer holds them."""


def layer_readings(
    model: LocalModel,
    questions: Questions,
    *,
    context: str = FAMILY_CONTEXT,
    layers: Sequence[int] | None = None,
    skip: int = 2,
) -> Layers:
    """Readings of `questions` at `layers`, by default all after the embedding; `skip` words of `context` don't count.

    The belief of each is the model's zero-shot one, in this context. Raises ValueError for a layer that there isn't.
    """
    wanted = tuple(range(1, model.layers + 1)) if layers is None else tuple(layers)
    if not wanted or min(wanted) < 0 or max(wanted) > model.layers:
        raise ValueError(f"layers {wanted} of {model.name}: name some of 0 (embedding) to {model.layers}")
    found = [_pooled(model, [context + text for text in texts], wanted, skip) for texts in questions.texts]
    told = [surprisal for _, surprisal in found]
    belief = zero_shot((told[1] if len(told) == 2 else np.median(told[0])) - told[0])
    sides = [pools for pools, _ in found]
    return MappingProxyType(
        {
            layer: Reading(first=sides[0][i], second=sides[1][i] if len(sides) == 2 else None, belief=belief)
            for i, layer in enumerate(wanted)
        }
    )


def _pooled(model: LocalModel, texts: list[str], layers: tuple[int, ...], skip: int) -> tuple[np.ndarray, np.ndarray]:
    """Pools (layers, n, 4 × width) and mean surprisal (n,) of texts, in one forward pass each."""
    import torch

    from superalign.models import token_logprobs
    from superalign.models.local import buckets, widened
    from superalign.models.words import starts_after
    from superalign.training.features import counted

    ids, starts = model.encode(texts), starts_after(model.tokenizer, texts, skip)
    pools = np.zeros((len(layers), len(ids), 4 * model.width), dtype=np.float32)
    surprisal = np.zeros(len(ids))
    model.network.eval()
    embedding: Any = model.network.get_input_embeddings()  # type: ignore[operator]
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=model.pad, device=model.device):
            said = model.network(input_ids=batch, attention_mask=mask, output_hidden_states=True)
            keep, first = counted(mask, starts[rows])
            after = widened(embedding(batch))[:, first:]
            for i, layer in enumerate(layers):
                here = widened(said.hidden_states[layer])[:, first - 1 : -1]
                match = here * after
                pools[i, rows] = torch.cat([*_two(here, keep, 1), *_two(match, keep, -1)], dim=1).cpu().numpy()
            nats = -token_logprobs(said.logits, batch)[:, first - 1 :].masked_fill(~keep, 0.0)
            surprisal[rows] = (nats.sum(1) / keep.sum(1).clamp_min(1)).cpu().numpy()
    return pools, surprisal


def _two(values: torch.Tensor, keep: torch.Tensor, sign: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over the kept tokens, and their maximum, or minimum where `sign` is −1: (rows, width) each."""
    mask = keep.unsqueeze(-1)
    mean = (values * mask).sum(1) / mask.sum(1).clamp_min(1)
    return mean, sign * (sign * values).masked_fill(~mask, -1e4).amax(1)


def mapped(reading: Reading, change: Callable[[np.ndarray], np.ndarray]) -> Reading:
    """A reading whose texts' features, (n, features), went through `change`."""
    second = None if reading.second is None else change(reading.second)
    return replace(reading, first=change(reading.first), second=second)


def bag_of_words(questions: Questions, words: Sequence[str]) -> Reading:
    """How often each of `words` stands in each text, and no belief: what can be told without any model."""
    place = {word: i for i, word in enumerate(words)}

    def counts(texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), len(place)), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                if word in place:
                    out[row, place[word]] += 1
        return out

    sides = [counts(texts) for texts in questions.texts]
    return Reading(first=sides[0], second=sides[1] if len(sides) == 2 else None, belief=np.full(len(questions), 0.5))


def telling_words(questions: Questions) -> tuple[str, ...]:
    """Words whose count differs within some pair, or between single texts: the others can't tell anything."""
    words = tuple(sorted({word for texts in questions.texts for text in texts for word in text.split()}))
    spread = np.ptp(bag_of_words(questions, words).x, axis=0) > 0
    return tuple(word for word, tells in zip(words, spread, strict=True) if tells)
