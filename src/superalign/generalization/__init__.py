"""Generalization: how much of a strong model's ability comes back from weak supervision, by which trick."""

from superalign.generalization.experiment import (
    DISTRACTOR,
    LOUD,
    NATURAL,
    WIDE,
    Answers,
    Bounds,
    Course,
    Setting,
    bounds_of,
    course_of,
    lesson_of,
    relabelled,
    taught,
)
from superalign.generalization.lesson import HeadStudent, Lesson, Method, Student, Teacher, ZeroShot
from superalign.generalization.material import Material, halves, score
from superalign.generalization.methods import METHODS, all_methods
from superalign.generalization.questions import Questions, features, questions_of, read, readings
from superalign.generalization.reading import Reading, Source, zero_shot
from superalign.generalization.supervision import SUPERVISIONS, WEAK, Supervision, Supervisor, said
from superalign.generalization.sweep import Arm, SeedResult, run_seed

__all__ = [
    "DISTRACTOR",
    "LOUD",
    "METHODS",
    "NATURAL",
    "SUPERVISIONS",
    "WEAK",
    "WIDE",
    "Answers",
    "Arm",
    "Bounds",
    "Course",
    "HeadStudent",
    "Lesson",
    "Material",
    "Method",
    "Questions",
    "Reading",
    "SeedResult",
    "Setting",
    "Source",
    "Student",
    "Supervision",
    "Supervisor",
    "Teacher",
    "ZeroShot",
    "all_methods",
    "bounds_of",
    "course_of",
    "features",
    "halves",
    "lesson_of",
    "questions_of",
    "read",
    "readings",
    "relabelled",
    "run_seed",
    "said",
    "score",
    "taught",
    "zero_shot",
]
