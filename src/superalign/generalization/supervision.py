"""Supervisors: who labels the student's half. A weak model by default; others are simulated, each with a dial.

A supervisor is made from half A with its truth and then asked about any questions: the student's half, and the exam,
where its own score is the floor. One that can't say answers NaN, and such questions are left out of the lesson.

    course_of(material, NATURAL, seed=0, supervision=SUPERVISIONS["noisy .3"])
    course_of(material, NATURAL, seed=0, supervision=biased(0.2, toward="longer", of=WEAK))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from superalign.generalization.difficulty import cut_at, hardness
from superalign.generalization.material import Material
from superalign.generalization.supervision_simulated import (
    FIRST,
    Adversarial,
    Biased,
    Blind,
    Noisy,
    OnlyEasy,
    Truthful,
    leaning,
)
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


def weak_verdicts(half_a: Material, view: View, seed: int) -> WeakModel:
    """The same, but it tells its verdicts only."""
    return weak_model(half_a, view, seed, hard=True)


def truthful(half_a: Material, view: View, seed: int) -> Truthful:
    """One that knows; nothing is learned."""
    return Truthful()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One that was asked beforehand."""

    name: str

    def says(self, material: Material) -> np.ndarray:
        """(n,) what it said. Raises ValueError for material that it was not asked about."""
        if self.name not in material.said:
            asked = ", ".join(material.said) or "nobody"
            raise ValueError(f"what {self.name} said of these questions is not known; asked were: {asked}")
        return material.said[self.name]


def said(name: str) -> Supervision:
    """What was said of every question beforehand, `Material.said`: by a protocol of oversight, or by people."""

    def make(half_a: Material, view: View, seed: int) -> Said:
        return Said(name=name)

    return Supervision(name=name, title=f"what {name} said", make=make)


WEAK = Supervision(name="weak", title="a weak model's probabilities", make=weak_model, schooled=True)
WEAK_HARD = Supervision(name="weak hard", title="a weak model's verdicts", make=weak_verdicts, schooled=True)
TRUTH = Supervision(name="truth", title="the truth", make=truthful)
"""What simulated supervisors spoil; whoever it teaches is the ceiling, so there is no gap to recover."""


def noisy(share: float, *, of: Supervision = TRUTH) -> Supervision:
    """Wrong about exactly that share of the questions, at random; it knows the share. ValueError outside [0, ½]."""
    name = f"noisy {_dial(share, most=0.5)}"

    def make(half_a: Material, view: View, seed: int) -> Noisy:
        return Noisy(base=of.make(half_a, view, seed), share=share, seed=seed)

    return Supervision(name=_named(name, of), title=f"{of.title}, {share:.0%} of it turned at random", make=make)


def biased(share: float, *, toward: str = FIRST, of: Supervision = TRUTH) -> Supervision:
    """About that share of the questions it says what a visible feature says: the first text, or a reading's belief.

    Raises ValueError outside [0, 1], and where a supervisor is made of material that nobody read for that feature.
    """
    name = f"biased {_dial(share)} {toward}"

    def make(half_a: Material, view: View, seed: int) -> Biased:
        leaning(half_a, toward)
        return Biased(base=of.make(half_a, view, seed), share=share, toward=toward, seed=seed)

    return Supervision(name=_named(name, of), title=f"{of.title}, {share:.0%} of it led by {toward!r}", make=make)


def adversarial(share: float, *, reading: str = "strong", of: Supervision = TRUTH) -> Supervision:
    """It lies about that share of the questions, where a head on the truth is surest: there it hurts most.

    It knows the student's `reading`, and the truth of half A. Raises ValueError outside [0, 1], and for other readings.
    """
    name = f"adversarial {_dial(share)}"

    def make(half_a: Material, view: View, seed: int) -> Adversarial:
        if reading not in half_a.readings:
            raise ValueError(f"an adversary must read as the student does: no {reading!r}; name another reading")
        read = half_a.readings[reading]
        head = fit_head(read.x, half_a.truth.astype(float), l2=view.l2, symmetric=read.paired)
        return Adversarial(base=of.make(half_a, view, seed), share=share, head=head, reading=reading)

    title = f"{of.title}, {share:.0%} of it turned where that hurts most"
    return Supervision(name=_named(name, of), title=title, make=make)


def blind(kind: str, *, of: Supervision = TRUTH) -> Supervision:
    """A coin on questions of one kind. Raises ValueError where it is made of material without that kind."""

    def make(half_a: Material, view: View, seed: int) -> Blind:
        if kind not in half_a.kinds:
            raise ValueError(f"blind to what isn't there: kinds are {', '.join(sorted(set(map(str, half_a.kinds))))}")
        return Blind(base=of.make(half_a, view, seed), kind=kind, seed=seed)

    return Supervision(name=_named(f"blind {kind}", of), title=f"{of.title}, a coin on {kind!r}", make=make)


def easy(way: str, *, share: float = 0.5) -> Supervision:
    """The truth about that share of questions which are easiest, by `difficulty.hardness`; nothing of the rest.

    The cut is that of half A. Raises ValueError as `hardness` and `cut_at` do.
    """

    def make(half_a: Material, view: View, seed: int) -> OnlyEasy:
        return OnlyEasy(way=way, cut=cut_at(hardness(half_a, way), share))

    title = f"the truth of the easy {share:.0%}, by {way}; nothing of the rest"
    return Supervision(name=f"easy {_dial(share)} {way}", title=title, make=make)


def _dial(share: float, *, most: float = 1.0) -> str:
    """As in names: .3 for 0.3. Raises ValueError outside [0, most]."""
    if not 0 <= share <= most:
        raise ValueError(f"a dial at {share:g}: it goes from 0 to {most:g}")
    return f"{share:g}".replace("0.", ".", 1)


def _named(name: str, of: Supervision) -> str:
    return name if of is TRUTH else f"{name}, {of.name}"


SUPERVISIONS: Mapping[str, Supervision] = MappingProxyType(
    {
        supervision.name: supervision
        for supervision in (
            WEAK,
            WEAK_HARD,
            noisy(0.3),
            biased(0.3),
            biased(0.6, toward="longer"),
            biased(0.6, toward="distractor"),
            biased(0.3, toward="distractor", of=WEAK),
            adversarial(0.3),
            blind("variable"),
            blind("variable", of=WEAK),
            easy("construction"),
            easy("loss"),
            easy("human"),
        )
    }
)
"""Each with a default dial; factories above make others."""
