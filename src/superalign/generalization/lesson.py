"""What a student is given, and what a method of teaching is: one file each in `methods`, all with one signature.

student = METHODS["em"].fit(lesson)         # Lesson → Student
student.logits(exam_reading)                # log-odds of yes, one a question
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np

from superalign.generalization.reading import Reading, log_odds
from superalign.training.heads import LinearHead, Target, fit_head

L2 = 0.003
"""Penalty of heads that are hardly regularised (Burns et al. regularise by stopping early, not by penalty)."""


class Student(Protocol):
    """What a method makes: something that answers questions."""

    def logits(self, reading: Reading) -> np.ndarray:
        """(n,) log-odds of yes; 0 is a tie. Swapping the texts of a pair swaps the sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadStudent:
    """A linear head on the student model's frozen features."""

    head: LinearHead

    def logits(self, reading: Reading) -> np.ndarray:
        """(n,) log-odds."""
        return self.head.logits(reading.x)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShot:
    """The student model's own belief, nothing learned."""

    def logits(self, reading: Reading) -> np.ndarray:
        """(n,) log-odds."""
        return log_odds(reading.belief)


@dataclass(slots=True, kw_only=True)
class Teacher:
    """Sells true answers, one label at a time, and counts what was bought."""

    truth: np.ndarray
    """(n,) bool."""
    budget: int = 0
    bought: set[int] = field(default_factory=set)

    def ask(self, rows: np.ndarray) -> np.ndarray:
        """(rows,) 1 for yes, 0 for no; a row bought twice is paid once. Raises ValueError over the budget."""
        wanted = self.bought | {int(row) for row in rows}
        if len(wanted) > self.budget:
            raise ValueError(f"{len(wanted)} true labels were asked for, {self.budget} may be bought: ask for fewer")
        self.bought = wanted
        return self.truth[rows].astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """The supervisor's own schooling: what it saw of half A, and the truth there; and what it sees of half B."""

    half_a: Reading
    truth_a: np.ndarray
    """(n_a,) bool."""
    clusters_a: np.ndarray
    half_b: Reading
    """(n,) the student's questions, as the supervisor reads them."""
    l2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a student learns from: n questions of half B, and what a weak supervisor says of them."""

    reading: Reading
    """As the student model reads them."""
    labels: np.ndarray
    """(n,) the supervisor's P(yes)."""
    clusters: np.ndarray
    """(n,) what is split and resampled together."""
    checked: np.ndarray
    """(n,) bool: labels that are true for certain."""
    checked_weight: float = 5.0
    """How many labels of others one of those counts."""
    seed: int = 0
    supervised: Supervised | None = None
    """Where the supervisor is a model that was fitted here; None for people, protocols and simulated ones."""
    between: Mapping[str, Reading] = field(default_factory=lambda: MappingProxyType({}))
    """The same questions as models between supervisor and student read them, smallest first."""
    teacher: Teacher | None = None
    """Sells true labels to methods that say what they buy (`Method.truths`)."""
    truth: np.ndarray | None = None
    """(n,) bool, for methods that cheat (`Method.kind`), and None for all others."""

    @property
    def weights(self) -> np.ndarray:
        """(n,): how much each label counts."""
        return np.where(self.checked, self.checked_weight, 1.0)

    @property
    def hard(self) -> np.ndarray:
        """(n,): the labels as 1, 0, or ½ where the supervisor can't decide."""
        return np.where(self.labels == 0.5, 0.5, self.labels > 0.5)

    def head(
        self,
        labels: np.ndarray,
        *,
        l2: float = L2,
        rows: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        target: Target | None = None,
        reading: Reading | None = None,
    ) -> HeadStudent:
        """Fit a head on (n,) labels, for `rows` of the questions only, if given; checked labels weigh more.

        `weights` (n,) replaces these weights, `reading` the student's own. Raises ValueError as `fit_head` does.
        """
        read, weigh = reading or self.reading, self.weights if weights is None else weights
        if rows is not None:
            read, labels, weigh = read.take(rows), labels[rows], weigh[rows]
        fitted = fit_head(read.x, labels, l2=l2, weights=weigh, target=target, symmetric=read.paired)
        return HeadStudent(head=fitted)

    def held(self, share: float = 0.2) -> np.ndarray:
        """(n,) bool: whole clusters, about that share of them, held out by the seed; never all, never none."""
        names = np.unique(self.clusters)
        if len(names) < 2:
            raise ValueError("one cluster only: nothing can be held out of it, bring questions of several")
        count = min(max(1, round(share * len(names))), len(names) - 1)
        return np.isin(self.clusters, np.random.default_rng([self.seed, 23]).permutation(names)[:count])


Kind = Literal["labels", "unsupervised", "bought", "cheating", "control"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One published way to make a student."""

    name: str
    title: str
    source: str
    """Paper and section."""
    fit: Callable[[Lesson], Student]
    kind: Kind = "labels"
    """What it uses: the supervisor's labels; nothing of anybody; a few true labels; all of the truth, which is
    cheating and says so; or nothing at all, as controls do."""
    truths: int = 0
    """True labels that it buys."""
    needs: frozenset[str] = frozenset()
    """Of "supervised" (the supervisor is a model), "between" (models between), "pairs" (of texts, not single ones) and
    "network" (the student's own, to be changed): where missing, it is left out."""

    def playable(self, lesson: Lesson) -> bool:
        """Does the lesson hold what it needs?"""
        there = {
            "supervised": lesson.supervised is not None,
            "between": bool(lesson.between),
            "pairs": lesson.reading.paired,
            "network": lesson.reading.source is not None,
        }
        return all(there[need] for need in self.needs)
