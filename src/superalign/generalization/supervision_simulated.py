"""Simulated supervisors: each spoils what another supervisor says, in a known way and by a dial.

What they say is fixed by the seed and by what they are asked, in its order. Each tells how sure it is as far as it
knows: a noisy one knows its noise; biased, blind and adversarial ones stay as sure as what they spoil.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from superalign.generalization.difficulty import hardness
from superalign.generalization.material import Material
from superalign.training.heads import LinearHead

if TYPE_CHECKING:
    from superalign.generalization.supervision import Supervisor

FIRST = "first"
"""What a supervisor leans to that has a liking for the first text, or for yes."""


def chosen(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) bool: that share of n, to the nearest question, drawn without replacement."""
    return np.asarray(rng.permutation(n) < round(share * n))


def leaning(material: Material, toward: str) -> np.ndarray:
    """(n,) 1 where a visible feature speaks for yes, −1 for no, 0 where it doesn't tell. ValueError if unknown."""
    if toward == FIRST:
        return np.ones(len(material))
    if toward not in material.readings:
        raise ValueError(
            f"nobody has read which text is the one with {toward!r}: add `visible(questions)` to the readings of "
            f"the material (there are {', '.join(material.readings)}), or lean toward {FIRST!r}"
        )
    return np.sign(material.readings[toward].belief - 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truthful:
    """It knows."""

    def says(self, material: Material) -> np.ndarray:
        """(n,) 1 or 0, as it is."""
        return material.truth.astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noisy:
    """Wrong about a share of all questions, whatever they ask; it knows the share, not which."""

    base: Supervisor
    share: float
    seed: int

    def says(self, material: Material) -> np.ndarray:
        """(n,) P(yes) given its verdict and its noise."""
        p = self.base.says(material)
        wrong = chosen(len(p), self.share, np.random.default_rng([self.seed, 41]))
        return np.asarray(self.share + (1 - 2 * self.share) * np.where(wrong, 1 - p, p))


@dataclass(frozen=True, slots=True, kw_only=True)
class Biased:
    """About a share of the questions it says what a visible feature says."""

    base: Supervisor
    share: float
    toward: str
    """`first`, or a name in `Material.readings`."""
    seed: int

    def says(self, material: Material) -> np.ndarray:
        """(n,) P(yes), as sure as without the bias."""
        p, lean = self.base.says(material), leaning(material, self.toward)
        led = chosen(len(p), self.share, np.random.default_rng([self.seed, 43])) & (lean != 0)
        return np.where(led, 0.5 + lean * np.abs(p - 0.5), p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversarial:
    """It lies about the share of questions where a head on the truth agrees most surely with what it spoils.

    In logistic regression a flipped label pulls with the weight of the head's own certainty: these hurt most.
    """

    base: Supervisor
    share: float
    head: LinearHead
    """Fitted on the truth of half A, on the student's features."""
    reading: str

    def says(self, material: Material) -> np.ndarray:
        """(n,) P(yes), as sure as without the lies."""
        p = self.base.says(material)
        agrees = self.head.logits(material.readings[self.reading].x) * np.sign(p - 0.5)
        lied = np.zeros(len(p), dtype=bool)
        lied[np.argsort(-agrees, kind="stable")[: round(self.share * len(p))]] = True
        return np.where(lied, 1 - p, p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """It can't see one kind of fault, doesn't know so, and there is wrong half of the time where it was right."""

    base: Supervisor
    kind: str
    seed: int

    def says(self, material: Material) -> np.ndarray:
        """(n,) P(yes); of the kind a coin, as sure as elsewhere."""
        p, there = self.base.says(material), np.flatnonzero(material.kinds == self.kind)
        turned = np.zeros(len(p), dtype=bool)
        turned[there] = chosen(len(there), 0.5, np.random.default_rng([self.seed, 47]))
        return np.where(turned, 1 - p, p)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyEasy:
    """It knows what is easy, and knows that it doesn't know the rest."""

    way: str
    """How difficulty is told: one of `difficulty.WAYS`, or of `Material.difficulty`."""
    cut: float
    """What is harder is left unanswered."""

    def says(self, material: Material) -> np.ndarray:
        """(n,) the truth, NaN above the cut."""
        return np.where(hardness(material, self.way) <= self.cut, material.truth.astype(np.float64), np.nan)
