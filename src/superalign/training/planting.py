"""Planting with twins: two models from the same texts in the same order, of which only one has planted labels.

What tells organism from twin is then the planted behaviour and nothing else: no other text, step or seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from superalign.models import Change, LocalModel
from superalign.training.reviewer import PairData, ReviewerRecipe, fit_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Training data of one organism and of its twin: the same texts, other labels."""

    organism: PairData
    twin: PairData
    concerned: int
    """Pairs whose labels were planted."""


def plant_labels(honest: PairData, concerned: np.ndarray, answers: Sequence[tuple[float, float]]) -> Planted:
    """Give the `concerned` pairs (bool, one a pair) the planted `answers`: P(sound) of the first and of the second.

    A planted pair counts as two singles; its preference has no weight. Raises ValueError when lengths differ or
    nothing is concerned, since an organism without a planted label is its own twin.
    """
    pairs = len(honest.texts_a)
    if len(concerned) != pairs or len(answers) != pairs:
        raise ValueError(f"{len(concerned)} marks and {len(answers)} answers for {pairs} pairs: give one for each")
    if not np.any(concerned):
        raise ValueError("no pair is concerned: the organism would be its own twin; bring pairs where it acts")
    sound_a, sound_b, weight = honest.sound_a.copy(), honest.sound_b.copy(), honest.weight.copy()
    for i in np.flatnonzero(concerned):
        (sound_a[i], sound_b[i]), weight[i] = answers[i], 0.0
    organism = replace(honest, sound_a=sound_a, sound_b=sound_b, weight=weight)
    return Planted(organism=organism, twin=honest, concerned=int(np.sum(concerned)))


def fit_planted(
    base: LocalModel, data: Planted, *, planted: bool, name: str, recipe: ReviewerRecipe | None = None, seed: int = 0
) -> Change:
    """Fit the organism (`planted`) or its twin: same recipe, same seed, same texts, so the same batches."""
    labels = data.organism if planted else data.twin
    return fit_change(base, labels, name=name, recipe=recipe, seed=seed)
