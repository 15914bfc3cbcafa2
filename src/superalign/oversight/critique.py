"""Critique-assisted labels: the strong model points at a place and a repair, the weak judge checks only that claim.

A claim reads "text X is altered at word p". One check tells whether that very claim is true; it costs as much as one
ground-truth label. The same number of checks spent at random, and where the weak judge itself is unsure, stand beside
it as controls (a check that tells the label of a pair outright).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from superalign.training.features import TextFeatures  # torch loads where it is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Critiques:
    """The strong model's claims about n pairs, made by its log-probabilities alone, without any truth."""

    side: np.ndarray
    """(n,) 0 or 1: which text it calls altered: the one whose worst word surprises more."""
    place: np.ndarray
    """(n,) the word it points at."""
    belief: np.ndarray
    """(n,) its zero-shot P(first is sound)."""


def criticise(first: TextFeatures, second: TextFeatures, belief: np.ndarray) -> Critiques:
    """Point, for every pair, at the most surprising word of the text that the model believes altered."""
    side = np.where(belief > 0.5, 1, 0)
    place = np.where(side == 0, first.worst, second.worst)
    return Critiques(side=side, place=place, belief=belief)


def claim_holds(side: int, place: int, truth: Mapping[str, Any], *, slack: int = 1) -> bool:
    """Does the claim name the altered text and a word within `slack` of the alteration?"""
    return bool(side == 1 - int(truth["answer"]) and abs(place - int(truth["place"])) <= slack)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A weak judge who may check `budget` claims or labels of the pairs it was never shown the truth of."""

    critiques: Critiques
    truths: Sequence[Mapping[str, Any]]
    budget: int

    def critique(
        self, rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Check the claims that contradict the weak labels most; a claim that holds settles its pair, others do not."""
        belief = self.critiques.belief[rows]
        quarrel = np.abs(belief - labels) + 1e-9 * rng.random(len(rows))
        chosen = np.argsort(-quarrel)[: self.budget]
        given, checked = labels.copy(), np.zeros(len(rows), dtype=bool)
        for i in chosen:
            row = int(rows[i])
            side = int(self.critiques.side[row])
            if claim_holds(side, int(self.critiques.place[row]), self.truths[row]):
                given[i], checked[i] = float(side == 1), True
        return given, checked, len(chosen)

    def at_random(
        self, rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Ground truth of pairs drawn at random."""
        return self._labels(rows, labels, rng.permutation(len(rows))[: self.budget])

    def own_choice(
        self, rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Ground truth of the pairs that the weak judge is least sure of."""
        doubt = np.abs(labels - 0.5) + 1e-9 * rng.random(len(rows))
        return self._labels(rows, labels, np.argsort(doubt)[: self.budget])

    def _labels(self, rows: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        given, checked = labels.copy(), np.zeros(len(rows), dtype=bool)
        given[chosen] = [float(self.truths[int(rows[i])]["answer"] == 0) for i in chosen]
        checked[chosen] = True
        return given, checked, len(chosen)
