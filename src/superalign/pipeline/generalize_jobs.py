"""Jobs of a sweep, from cases and from where features lie: what workers are handed, and what level 3 does again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from superalign.generalization import Questions, Reading
from superalign.generalization.distractor import visible
from superalign.pipeline.generalize_config import GeneralizeSizes
from superalign.pipeline.generalize_plan import Case
from superalign.pipeline.generalize_work import CourseJob, MethodJob, Shelf

Shelves = Mapping[str, tuple[Shelf, Shelf]]
"""Exercise → where features of its training questions and of its exam lie."""


def shelf_of(
    objects: Path, features: tuple[tuple[str, str], ...], questions: Questions, *, digest: str, strong: str
) -> Shelf:
    """A shelf of features that are in the store, (who reads, digest) each, beside what is known of the questions.

    `digest` is theirs in the store, `strong` the address of the strong model.
    """
    return Shelf(
        objects=objects,
        features=features,
        truth=questions.truth.astype(np.uint8).tobytes(),
        clusters=tuple(map(str, questions.clusters)),
        kinds=tuple(map(str, questions.kinds)),
        paired=questions.second is not None,
        difficulty=tuple((way, values.astype(float).tobytes()) for way, values in questions.difficulty.items()),
        visible=tuple((name, evidence_of(seen).tobytes()) for name, seen in visible(questions).items()),
        questions=digest,
        strong=strong,
    )


def evidence_of(seen: Reading) -> np.ndarray:
    """(n,) what a visible feature says for yes."""
    return np.asarray(seen.first[:, 0], dtype=np.float64)


def label_jobs(
    cases: Sequence[Case], shelves: Shelves, seeds: tuple[int, ...], sizes: GeneralizeSizes
) -> dict[str, CourseJob]:
    """Name of a stage → labels and bounds of one case, all seeds."""
    found = {}
    for case in cases:
        train, exam = shelves[case.exercise]
        found[case.bounds] = CourseJob(
            train=train,
            exam=exam,
            setting=case.setting,
            supervision=case.supervision,
            seeds=seeds,
            sizes=(sizes.half_a, sizes.half_b),
        )
    return found


def method_jobs(
    cases: Sequence[Case], shelves: Shelves, courses: Mapping[str, Any], untrained: int, *, first: int | None = None
) -> dict[str, MethodJob]:
    """Name of a stage → one method in one case, in all seeds or the first few. The exam goes without its truth."""
    found = {}
    for case in cases:
        train, exam = shelves[case.exercise]
        for name in case.methods:
            found[case.answers(name)] = MethodJob(
                train=train,
                exam=exam._replace(truth=b""),
                setting=case.setting,
                supervision=case.supervision,
                method=name,
                courses=dict(islice(courses[case.bounds]["seeds"].items(), first)),
                untrained=untrained,
            )
    return found
