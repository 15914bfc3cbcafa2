"""What workers do for `superalign generalize`: they read features from the store, and hand back answers as JSON.

Answers are kept to half precision; whatever is scored is scored from them, so that an auditor scores the same numbers.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from superalign.evidence.store import ObjectStore
from superalign.generalization import (
    SUPERVISIONS,
    Course,
    Material,
    Method,
    Reading,
    Setting,
    Source,
    Supervision,
    all_methods,
    course_of,
    readings,
    said,
    taught,
)
from superalign.generalization.distractor import eye
from superalign.generalization.experiment import fitted_on_truth
from superalign.generalization.questions import FAMILY_CONTEXT
from superalign.generalization.reading import log_odds
from superalign.pipeline.generalize_answers import packed
from superalign.training.features import TextFeatures

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed

FAMILY = "family:"
PARTS = ("wide", "surprisal", "worst", "peak")
TAUGHT_BY_TRUTH = (10, 25, 50, 100, 200, 500, 1_000, 2_000)
"""Numbers of true labels that the strong model is fitted on, beside the methods: what is a method worth?"""


class Shelf(NamedTuple):
    """Where one split's features lie, and what is known of its questions."""

    objects: Path
    features: tuple[tuple[str, str], ...]
    """(who reads, digest of the features), by name."""
    truth: bytes
    """One byte a question."""
    clusters: tuple[str, ...]
    kinds: tuple[str, ...]
    paired: bool = True
    """Are these pairs of texts?"""
    difficulty: tuple[tuple[str, bytes], ...] = ()
    """(way to tell, float64 of every question)."""
    visible: tuple[tuple[str, bytes], ...] = ()
    """(what anyone sees, float64 evidence for yes of every question)."""
    said: tuple[tuple[str, bytes], ...] = ()
    """(protocol, float64 P(yes) that it said of every question)."""
    questions: str = ""
    """Digest of the questions, for methods that read texts."""
    strong: str = ""
    """Address of the strong model, for methods that change it."""


class Exam(NamedTuple):
    """An exam without its truth."""

    readings: Mapping[str, Reading]


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseJob:
    """Label and bound every seed of one setting under one supervision."""

    train: Shelf
    exam: Shelf
    setting: Setting
    supervision: str
    seeds: tuple[int, ...]
    sizes: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodJob:
    """Teach one method in every seed of one course."""

    train: Shelf
    exam: Shelf
    setting: Setting
    supervision: str
    method: str
    courses: Mapping[str, Mapping[str, Any]]
    """Seed → what `label_all` stored of it."""
    untrained: int
    """In so many of the seeds, the first, an untrained network is taught as well."""


def features_to_bytes(found: Sequence[TextFeatures]) -> bytes:
    """Features of all sides as safetensors."""
    from safetensors.numpy import save

    named = {f"{i}.{part}": getattr(one, part) for i, one in enumerate(found) for part in PARTS}
    return save({name: np.ascontiguousarray(array) for name, array in named.items()})


def features_from_bytes(data: bytes) -> tuple[TextFeatures, ...]:
    """What `features_to_bytes` wrote."""
    from safetensors.numpy import load

    held = load(data)
    sides = sorted({name.partition(".")[0] for name in held})
    return tuple(TextFeatures(**{part: held[f"{side}.{part}"] for part in PARTS}) for side in sides)


@lru_cache(maxsize=16)
def _readings(objects: Path, name: str, digest: str) -> Mapping[str, Reading]:
    data = ObjectStore(objects, objects).get(digest)
    return MappingProxyType(readings(features_from_bytes(data), name))


def material_of(shelf: Shelf) -> Material:
    """The material that lies on a shelf."""
    return Material(
        readings=exam_of(shelf).readings,
        truth=np.frombuffer(shelf.truth, dtype=np.uint8).astype(bool),
        clusters=np.array(shelf.clusters),
        kinds=np.array(shelf.kinds),
        difficulty=MappingProxyType({way: np.frombuffer(data) for way, data in shelf.difficulty}),
        said=MappingProxyType({name: np.frombuffer(data, dtype="<f8") for name, data in shelf.said}),
    )


def exam_of(shelf: Shelf) -> Exam:
    """The same, without its truth."""
    found: dict[str, Reading] = {}
    for name, digest in shelf.features:
        found |= _readings(shelf.objects, name, digest)
    for name, evidence in shelf.visible:
        found[name] = eye(np.frombuffer(evidence), paired=shelf.paired)
    return Exam(readings=MappingProxyType(found))


def with_networks(shelf: Shelf, found: Mapping[str, Reading]) -> Mapping[str, Reading]:
    """The readings, the strong model's and the untrained network's with their texts and themselves."""
    import torch

    torch.set_num_threads(1)
    items = ObjectStore(shelf.objects, shelf.objects).get_json(shelf.questions)["items"]
    sides = ("a", "b") if shelf.paired else ("text",)
    known = dict(found)
    for name, model in _networks(shelf.strong).items():
        if name in known:
            context, skip = read_after(model)
            texts = tuple(tuple(context + item["input"][side] for item in items) for side in sides)
            known[name] = replace(known[name], source=Source(model=model, texts=texts, skip=skip))
    return MappingProxyType(known)


@lru_cache(maxsize=2)
def _networks(strong: str) -> Mapping[str, LocalModel]:
    from superalign.models import load_model

    model = load_model(strong)
    return MappingProxyType(
        {"strong": model} | ({"untrained": bare} if (bare := untrained_like(strong, model)) else {})
    )


def read_after(model: LocalModel) -> tuple[str, int]:
    """The context that the embedded family reads before code, and its number of words; others read texts alone."""
    from superalign.models.words import one_token_a_word

    return (FAMILY_CONTEXT, 2) if one_token_a_word(model.tokenizer) else ("", 0)


def untrained_like(address: str, model: LocalModel) -> LocalModel | None:
    """A network of that shape that was never trained, for family members; None for others."""
    from superalign.models import LocalModel
    from superalign.training.family import SIZES, fresh_model

    size = address.removeprefix(FAMILY)
    if not address.startswith(FAMILY) or size not in SIZES:
        return None
    network = fresh_model(size, seed=0).eval()
    return LocalModel(name="untrained", network=network, tokenizer=model.tokenizer).sealed()


def label_all(job: CourseJob) -> dict[str, Any]:
    """Seed → halves, the supervisor's labels, its own answers to the exam, the ceiling's, those of k true labels."""
    material, exam = material_of(job.train), material_of(job.exam)
    found = {}
    for seed in job.seeds:
        course = course_of(
            material, job.setting, seed=seed, supervision=supervised_by(job.supervision), sizes=job.sizes
        )
        found[str(seed)] = _bounds(course, exam)
    return {"seeds": found}


def _bounds(course: Course, exam: Material) -> dict[str, Any]:
    b, strong = course.half_b, course.setting.strong
    truth = course.material.truth[b]
    ceiling, l2 = fitted_on_truth(course.material, b, strong, exam)
    right = np.where(course.labels == 0.5, 0.5, (course.labels > 0.5) == truth)
    out: dict[str, Any] = {
        "half_a": course.half_a.tolist(),
        "half_b": b.tolist(),
        "labels": base64.b64encode(course.labels.astype("<f8").tobytes()).decode(),
        "labels_right": round(float(right.mean()), 6),
        "floor": packed(log_odds(course.supervisor.says(exam))),
        "ceiling": packed(ceiling),
        "ceiling_l2": l2,
    }
    few = [k for k in TAUGHT_BY_TRUTH if k < len(b) and len(set(truth[:k].tolist())) == 2]
    out["taught"] = {str(k): packed(fitted_on_truth(course.material, b[:k], strong, exam)[0]) for k in few}
    return out


def supervised_by(name: str) -> Supervision:
    """A simulated supervisor, or what a protocol said."""
    return SUPERVISIONS.get(name) or said(name)


def course_again(job: MethodJob, material: Material, seed: str) -> Course:
    """A course from what was stored of it: nothing is labelled twice."""
    kept, supervision = job.courses[seed], supervised_by(job.supervision)
    half_a, half_b = np.array(kept["half_a"]), np.array(kept["half_b"])
    return Course(
        material=material,
        setting=job.setting,
        supervision=supervision,
        supervisor=None,  # type: ignore[arg-type]  # all that it said is in the labels
        seed=int(seed),
        half_a=half_a,
        half_b=half_b,
        labels=np.frombuffer(base64.b64decode(kept["labels"]), dtype="<f8"),
        checked=np.zeros(len(half_b), dtype=bool),
    )


def teach_all(job: MethodJob) -> dict[str, Any]:
    """Seed → the student's answers, what it bought, how long it took; "why" where the method can't be played here."""
    method, material, exam = all_methods()[job.method], material_of(job.train), exam_of(job.exam)
    if "network" in method.needs:
        material = replace(material, readings=with_networks(job.train, material.readings))
        exam = Exam(with_networks(job.exam, exam.readings))
    found: dict[str, Any] = {}
    for i, seed in enumerate(job.courses):
        course = course_again(job, material, seed)
        if why := lacks(method, course):
            return {"why": why}
        found[seed] = _answered(course, method, exam, None)
        if i < job.untrained and "untrained" in exam.readings:
            found[seed]["untrained"] = _answered(course, method, exam, "untrained")
    return {"seeds": found}


def lacks(method: Method, course: Course) -> str:
    """What a method needs and this course lacks; empty where it can be played."""
    from superalign.generalization import lesson_of

    lesson = lesson_of(course, method)
    return "" if method.playable(lesson) else f"needs {', '.join(sorted(method.needs))}"


def _answered(course: Course, method: Method, exam: Exam, strong: str | None) -> dict[str, Any]:
    """One student's answers; what its method can't do is a failure that is kept, and counted."""
    try:
        answers = taught(course, method, exam, strong=strong)
    except ValueError as error:
        return {"failed": f"{error!s:.300}"}
    return {"logits": packed(answers.logits), "bought": answers.bought, "seconds": round(answers.seconds, 4)}
