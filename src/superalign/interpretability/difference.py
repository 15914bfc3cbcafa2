"""What changed between a parent and its child: weights, activations, directions, behaviour, with the twin as control.

    found = compare(parent, child, twin, texts, clusters=files, unrelated=others)
    found.weights[0], found.layers, found.units[:10], found.directions, found.behaviour.texts[:5]

Whatever fitting does, it does to the twin too, which was fitted on the same texts in the same order with nothing
planted. So a finding is what the child shows beyond its twin. Behaviour alone is the black-box baseline: what the rest
adds to it is said by how well each tells the texts on which the child acts, where those are known (`told_apart`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from superalign.interpretability.difference_behaviour import Behaviour, behaviour
from superalign.interpretability.difference_states import (
    LayerShift,
    UnitShift,
    apart,
    layer_shift,
    layer_states,
    text_means,
    unit_shifts,
)
from superalign.interpretability.difference_weights import MatrixChange, weight_changes
from superalign.interpretability.lies_controls import gain
from superalign.models import LocalModel
from superalign.stats import Interval, auroc

FIRST = 5
"""Tokens of unrelated text whose mean difference is taken (activation difference lens, 2510.13900)."""
WORDS = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Direction:
    """Mean difference of states on the first tokens of unrelated text, at one layer."""

    layer: int
    child: float
    """Length of child − parent, over the mean length of the parent's states."""
    twin: float
    cosine: float
    """Between the two differences: 1 says that the child moved as its twin did."""
    words: tuple[str, ...]
    """Words that child − twin raises most under the unembedding (logit lens)."""
    vector: np.ndarray
    """(width,) child − twin."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """All views of one child."""

    weights: tuple[MatrixChange, ...]
    """Largest change relative to the twin's first."""
    layers: tuple[LayerShift, ...]
    units: tuple[UnitShift, ...]
    """Smallest q first, then largest effect."""
    directions: tuple[Direction, ...]
    behaviour: Behaviour
    """The black-box baseline."""
    inside: np.ndarray
    """(texts,) how far each text's mean states differ, child from twin, relative to the parent's spread: white-box."""


def compare(
    parent: LocalModel,
    child: LocalModel,
    twin: LocalModel,
    texts: Sequence[str],
    *,
    clusters: Sequence[str],
    unrelated: Sequence[str],
    skip: int = 1,
) -> Difference:
    """Every view. Two honest fits differ too: a second twin in the child's place says by how much, unit by unit.

    Raises ValueError for models of unlike shape, fewer than three clusters, or no text.
    """
    if len(set(clusters)) < 3 or len(clusters) != len(texts):
        raise ValueError(f"{len(texts)} texts, {len(clusters)} names of {len(set(clusters))} clusters: three or more")
    if not unrelated:
        raise ValueError("no unrelated text: directions are read where nothing of the fitting's texts is said")
    models = parent, child, twin
    weights = weight_changes(*models)
    states = [layer_states(model, texts, skip) for model in models]
    return Difference(
        weights=weights,
        layers=tuple(layer_shift(number, *(each[number] for each in states)) for number in range(parent.layers + 1)),
        units=unit_shifts(*models, texts, clusters=clusters, skip=skip),
        directions=directions(*models, unrelated),
        behaviour=behaviour(*models, texts, clusters=clusters),
        inside=apart([[text_means(layer) for layer in each] for each in states]),
    )


def directions(
    parent: LocalModel, child: LocalModel, twin: LocalModel, unrelated: Sequence[str], *, first: int = FIRST
) -> tuple[Direction, ...]:
    """Per layer from 1, over the first tokens of texts that have nothing to do with the fitting."""
    means, size = [], np.zeros(parent.layers + 1)
    for model in (parent, child, twin):
        layers = layer_states(model, unrelated, 0)
        picked = np.concatenate([np.arange(n) < first for n in np.bincount(layers[0].rows)])
        means.append(np.stack([layer.tokens[picked].mean(0) for layer in layers]).astype(np.float64))
        if model is parent:
            size = np.array([np.linalg.norm(layer.tokens[picked], axis=1).mean() for layer in layers]) + 1e-12
    out = []
    for layer in range(1, parent.layers + 1):
        moved, usual = means[1][layer] - means[0][layer], means[2][layer] - means[0][layer]
        lengths = float(np.linalg.norm(moved)), float(np.linalg.norm(usual))
        out.append(
            Direction(
                layer=layer,
                child=lengths[0] / float(size[layer]),
                twin=lengths[1] / float(size[layer]),
                cosine=float(moved @ usual / (lengths[0] * lengths[1])) if min(lengths) > 0 else float("nan"),
                words=lens_words(parent, moved - usual),
                vector=moved - usual,
            )
        )
    return tuple(out)


def lens_words(model: LocalModel, direction: np.ndarray, *, count: int = WORDS) -> tuple[str, ...]:
    """Tokens whose logits a direction of the stream raises most, through the final norm's gain and the unembedding.

    Empty for a direction of no length, or a model without an output embedding.
    """
    network: Any = model.network
    output = network.get_output_embeddings()
    if output is None or not np.any(direction):
        return ()
    gains = [
        part.weight
        for part in network.base_model.children()
        if getattr(part, "weight", None) is not None and part.weight.shape == (model.width,)
    ]
    vector = torch.from_numpy(direction).float().to(output.weight.device)
    with torch.no_grad():
        logits = output.weight.float() @ (vector * gains[-1].float() if gains else vector)
    return tuple(model.tokenizer.convert_ids_to_tokens(torch.topk(logits, min(count, len(logits))).indices.tolist()))


def told_apart(found: Difference, acts: np.ndarray, *, clusters: Sequence[str]) -> tuple[Interval, Interval, Interval]:
    """AUROC with which the inside tells texts where the child acts (`acts`, (texts,) 0 or 1), that with which behaviour
    does, and what the inside adds: the paired difference. Raises StatsError for other lengths or labels.
    """
    inside, outside = found.inside, found.behaviour.apart
    areas = [auroc(scores, acts, clusters=clusters) for scores in (inside, outside)]
    return areas[0], areas[1], gain(inside, outside, acts, clusters)
