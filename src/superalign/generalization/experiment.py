"""The weak-to-strong experiment as a value: who supervises by what view, who learns, from which half, by which method.

Roles (Burns et al. 2023, 2312.09390, §3): the weak floor is fitted on ground truth of half A; its labels on half B
supervise the student; the ceiling is the strong model fitted on ground truth of the same half B, its penalty chosen on
a fifth of that half. Halves are drawn by cluster.

    course = course_of(train, WIDE, seed=0)                 # halves and labels: shared by all methods
    bounds = bounds_of(course, exam)                        # floor and ceiling on the exam's questions
    answers = taught(course, METHODS["em"], exam)           # one student's answers to them
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np

from superalign.generalization.lesson import Lesson, Method, Student, Supervised, Teacher
from superalign.generalization.material import Material, halves
from superalign.generalization.reading import Reading, log_odds
from superalign.generalization.supervision import WEAK, Supervision, Supervisor, View
from superalign.training.heads import fit_head_chosen

SIZES = (2_000, 4_000)
"""Questions of half A and of half B, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under which handicap the supervisor labels, and who learns."""

    name: str
    title: str
    view: View
    """Of the weak model."""
    strong: str = "strong"
    """Whose reading the student has, in `Material.readings`."""
    between: tuple[str, ...] = ()
    """Readings of models between the two, smallest first; those that the material lacks are left out."""
    schooling: int | None = None
    """Questions of half A that the supervisor is fitted on, at most; None: all."""


WIDE = Setting(
    name="wide",
    title="the supervisor sees mean and maximum of its hidden states only",
    view=View(reading="narrow"),
    between=("between",),
)
NATURAL = Setting(
    name="natural",
    title="the supervisor sees all of its features, and has seen 250 true labels",
    view=View(reading="weak"),
    between=("between",),
    schooling=250,
)
"""With two thousand labels the family's smallest lies within two points of the ceiling: a gap that is mostly noise."""
DISTRACTOR = Setting(
    name="distractor",
    title="as wide, and every text opens with a line that stands out and tells nothing",
    view=View(reading="narrow"),
    between=("between",),
)
"""For questions made by `distractor.distracted`. With all of its features the weak model leaves no gap there."""
LOUD = replace(DISTRACTOR, name="loud", title="as distractor, and the line sways the strong model's own belief")
"""For questions made with `loud=True`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One seed, before any method is chosen: who labelled what."""

    material: Material
    setting: Setting
    supervision: Supervision
    supervisor: Supervisor
    seed: int
    half_a: np.ndarray
    """Rows of the material."""
    half_b: np.ndarray
    """Rows that the supervisor labelled."""
    labels: np.ndarray
    """(half_b,) its P(yes)."""
    checked: np.ndarray
    """(half_b,) bool: labels that are true for certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Floor and ceiling on an exam."""

    floor: np.ndarray
    """(exam,) the supervisor's own log-odds; NaN where it says nothing."""
    ceiling: np.ndarray
    """(exam,) log-odds of the strong model fitted on the truth of half B."""
    ceiling_l2: float
    labels_right: float
    """Share of half B that the supervisor labelled as the truth has it; ties count half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one student answered."""

    logits: np.ndarray
    """(exam,) log-odds of yes."""
    bought: int
    """True labels that were bought."""
    seconds: float
    """Of fitting and answering."""


class Readable(Protocol):
    """What answers are asked about: only how models read it. No student meets the truth of an exam."""

    @property
    def readings(self) -> Mapping[str, Reading]:
        """Who reads → Reading."""


def course_of(
    material: Material,
    setting: Setting,
    *,
    seed: int,
    supervision: Supervision = WEAK,
    sizes: tuple[int, int] = SIZES,
) -> Course:
    """Draw the halves of a seed and have half B labelled. Raises ValueError where a half is empty or one-sided."""
    a, b = halves_of(material.clusters, sizes, seed)
    a = a[: setting.schooling]
    for name, rows in (("A", a), ("B", b)):
        if len(set(material.truth[rows].tolist())) < 2:
            raise ValueError(
                f"half {name} has {len(rows)} questions with {len(set(material.truth[rows].tolist()))} different "
                f"answers (seed {seed}): bring more questions, of more clusters"
            )
    supervisor = supervision.make(material.take(a), setting.view, seed)
    labels = supervisor.says(material.take(b))
    said = np.isfinite(labels)
    if not said.any():
        raise ValueError(f"the supervisor ({supervision.name}) labelled none of {len(b)} questions")
    return Course(
        material=material,
        setting=setting,
        supervision=supervision,
        supervisor=supervisor,
        seed=seed,
        half_a=a,
        half_b=b[said],
        labels=labels[said],
        checked=np.zeros(int(said.sum()), dtype=bool),
    )


def halves_of(clusters: np.ndarray, sizes: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of half A and half B in a seed."""
    return halves(clusters, sizes, np.random.default_rng([seed, 5]))


def relabelled(course: Course, labels: np.ndarray, checked: np.ndarray) -> Course:
    """The same course with other labels of half B, some of them checked; both (half_b,)."""
    return replace(course, labels=labels, checked=checked)


def bounds_of(course: Course, exam: Material) -> Bounds:
    """Floor and ceiling. The ceiling's penalty is chosen on a fifth of half B."""
    ceiling, l2 = fitted_on_truth(course.material, course.half_b, course.setting.strong, exam)
    truth = course.material.truth[course.half_b]
    right = np.where(course.labels == 0.5, 0.5, (course.labels > 0.5) == truth)
    return Bounds(
        floor=log_odds(course.supervisor.says(exam)),
        ceiling=ceiling,
        ceiling_l2=l2,
        labels_right=float(right.mean()),
    )


def fitted_on_truth(material: Material, rows: np.ndarray, strong: str, exam: Readable) -> tuple[np.ndarray, float]:
    """(exam,) log-odds of a head fitted on the truth of `rows`, and its penalty, chosen on a fifth of them."""
    read = material.readings[strong].take(rows)
    labels, clusters = material.truth[rows].astype(float), material.clusters[rows]
    head, l2 = fit_head_chosen(read.x, labels, clusters=clusters, symmetric=read.paired)
    return head.logits(exam.readings[strong].x), l2


def lesson_of(course: Course, method: Method, *, strong: str | None = None) -> Lesson:
    """What a student of this course is given; `strong` names another reading, as of an untrained model.

    True labels come with it only for methods that buy some, or cheat.
    """
    material, b, view = course.material, course.half_b, course.setting.view
    truth = material.truth[b]
    supervised = None
    if course.supervision.schooled:
        weak = material.readings[view.reading]
        supervised = Supervised(
            half_a=weak.take(course.half_a),
            truth_a=material.truth[course.half_a],
            clusters_a=material.clusters[course.half_a],
            half_b=weak.take(b),
            l2=view.l2,
        )
    return Lesson(
        reading=material.readings[strong or course.setting.strong].take(b),
        labels=course.labels,
        clusters=material.clusters[b],
        checked=course.checked,
        seed=course.seed,
        supervised=supervised,
        between=MappingProxyType(
            {name: material.readings[name].take(b) for name in course.setting.between if name in material.readings}
        ),
        teacher=Teacher(truth=truth, budget=method.truths) if method.truths else None,
        truth=truth if method.kind == "cheating" else None,
    )


def student_of(method: Method, lesson: Lesson) -> Student:
    """Teach one student. Raises ValueError where the lesson lacks what the method needs."""
    if not method.playable(lesson):
        raise ValueError(f"{method.name} needs {', '.join(sorted(method.needs))}, and this course lacks some of it")
    return method.fit(lesson)


def taught(course: Course, method: Method, exam: Readable, *, strong: str | None = None) -> Answers:
    """Teach one student and ask it the exam's questions. Raises ValueError where the method can't be played."""
    lesson = lesson_of(course, method, strong=strong)
    began = time.monotonic()
    student = student_of(method, lesson)
    logits = np.asarray(student.logits(exam.readings[strong or course.setting.strong]), dtype=np.float64)
    bought = len(lesson.teacher.bought) if lesson.teacher else 0
    return Answers(logits=logits, bought=bought, seconds=time.monotonic() - began)
