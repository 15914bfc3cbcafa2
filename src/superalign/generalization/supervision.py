"""Supervisors: who labels the student's half. A weak model by default; others are simulated, each with a dial.

A supervisor is made from half A with its truth and then asked about any questions: the student's half, and the exam,
where its own score is the floor. One that can't say answers NaN, and such questions are left out of the lesson.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from superalign.generalization.material import Material
from superalign.training.heads import LinearHead, fit_head


class Supervisor(Protocol):
    """Who labels."""

    def says(self, material: Material) -> np.ndarray:
        """(n,) P(yes); NaN where it says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the weak model of a setting reads, and how its head is fitted."""

    reading: str
    """Name in `Material.readings`."""
    l2: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """A way to supervise: how a supervisor is made of half A."""

    name: str
    title: str
    make: Callable[[Material, View, int], Supervisor]
    """(half A, the weak model's view, seed) → supervisor."""
    schooled: bool = False
    """Is it a model that was fitted on half A?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakModel:
    """A head on the weak model's features."""

    head: LinearHead
    reading: str
    hard: bool = False

    def says(self, material: Material) -> np.ndarray:
        """(n,) its probabilities, or its verdicts."""
        p = self.head.probabilities(material.readings[self.reading].x)
        return np.where(p == 0.5, 0.5, p > 0.5).astype(float) if self.hard else p


def weak_model(half_a: Material, view: View, seed: int, *, hard: bool = False) -> WeakModel:
    """A head fitted on ground truth of half A."""
    read = half_a.readings[view.reading]
    head = fit_head(read.x, half_a.truth.astype(float), l2=view.l2, symmetric=read.paired)
    return WeakModel(head=head, reading=view.reading, hard=hard)


WEAK = Supervision(name="weak", title="a weak model's probabilities", make=weak_model, schooled=True)

SUPERVISIONS: Mapping[str, Supervision] = MappingProxyType({WEAK.name: WEAK})
