"""One seed of the pipeline's sweep: every way to spend checks, or to help the supervisor, with every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from superalign.generalization.experiment import (
    Setting,
    bounds_of,
    course_of,
    lesson_of,
    relabelled,
    student_of,
    taught,
)
from superalign.generalization.lesson import Lesson, Method, Student
from superalign.generalization.material import Material, score
from superalign.generalization.methods import all_methods
from superalign.generalization.methods.em import em_labels
from superalign.generalization.reading import probability

Labeller = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray, int]]
"""(rows of half B, weak labels, rng) → (labels, which are checked, checks spent)."""
ALWAYS = ("naive", "regularised", "logconf", "em")
"""Methods of every sweep; one that is chosen for the subject comes beside them."""
ALONE = "zero-shot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One student on the test questions: right (1), wrong (0) or tied (½) on each, and what its labels cost."""

    name: str
    kind: str
    """method, control, checks or oversight."""
    correct: np.ndarray
    checks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """All arms of one seed, on the same test questions; `labels` are those of half B by way of labelling."""

    seed: int
    floor: Arm
    ceiling: Arm
    arms: tuple[Arm, ...]
    half_b: np.ndarray
    labels: Mapping[str, np.ndarray]
    learned: Mapping[str, np.ndarray]
    """Way → what the chosen method makes of its labels: P(yes) of half B, for whoever learns from it."""
    weak_labels_right: float
    ceiling_l2: float
    """Penalty of the ceiling, chosen on a fifth of half B."""


def run_seed(
    train: Material,
    test: Material,
    setting: Setting,
    *,
    seed: int,
    labellers: Mapping[str, tuple[str, Labeller]],
    chosen: str = "em",
    sizes: tuple[int, int] = (2_000, 4_000),
) -> SeedResult:
    """Play one seed; `labellers` are ways to spend checks, and `none` (plain weak labels) is always there.

    Raises ValueError for a method that there isn't, or that this setting can't play.
    """
    known, goal = all_methods(), test.truth
    methods = [known[name] for name in dict.fromkeys((*ALWAYS, chosen)) if name != ALONE]
    course = course_of(train, setting, seed=seed, sizes=sizes)
    bounds = bounds_of(course, test)
    arms = [Arm(name=ALONE, kind="control", correct=score(taught(course, known[ALONE], test).logits, goal))]
    labels: dict[str, np.ndarray] = {}
    learned: dict[str, np.ndarray] = {}
    for way, (kind, labeller) in {"none": ("method", _unchecked), **labellers}.items():
        given, checked, spent = labeller(course.half_b, course.labels, np.random.default_rng([seed, 17]))
        told = relabelled(course, given, checked)
        labels[way] = given
        for method in methods:
            name = method.name if way == "none" else f"{method.name} + {way}"
            lesson = lesson_of(told, method)
            student = student_of(method, lesson)
            if method.name == chosen:
                learned[way] = made_of(method, student, lesson)
            correct = score(student.logits(test.readings[setting.strong]), goal)
            arms.append(Arm(name=name, kind=kind, correct=correct, checks=spent + method.truths))
    if "untrained" in train.readings:
        for name in ("naive", "em"):
            correct = score(taught(course, known[name], test, strong="untrained").logits, goal)
            arms.append(Arm(name=f"untrained strong, {name}", kind="control", correct=correct))
    return SeedResult(
        seed=seed,
        floor=Arm(name="weak floor", kind="control", correct=score(bounds.floor, goal)),
        ceiling=Arm(name="ceiling", kind="control", correct=score(bounds.ceiling, goal)),
        arms=tuple(arms),
        half_b=course.half_b,
        labels=labels,
        learned=learned,
        weak_labels_right=bounds.labels_right,
        ceiling_l2=bounds.ceiling_l2,
    )


def made_of(method: Method, student: Student, lesson: Lesson) -> np.ndarray:
    """(half_b,) P(yes): the posterior of EM, and of any other method what its student says of half B."""
    if method.name == "em":
        return np.where(lesson.checked, lesson.labels, em_labels(lesson.labels, lesson.reading.belief))
    return probability(student.logits(lesson.reading))


def _unchecked(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    return labels, np.zeros(len(rows), dtype=bool), 0
