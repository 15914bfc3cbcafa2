"""What `superalign generalize` asks: pages of a task or your own data, plain and with a distractor, stored, sealed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from superalign.evidence import SuperalignError, Workspace, holdout
from superalign.generalization import Questions, questions_of
from superalign.generalization.difficulty import graded
from superalign.generalization.distractor import distracted
from superalign.generalization.experiment import halves_of
from superalign.generalization.material import halves
from superalign.pipeline.audited import nameless
from superalign.pipeline.desk import Desk
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes
from superalign.pipeline.pages import screened, words_of
from superalign.tasks.item import Page
from superalign.tasks.mutants import mutants
from superalign.tasks.slips import slips
from superalign.tasks.traces import traces

PLAIN, DISTRACTED, SWAYED = "plain", "distractor", "loud"
EXAM_SHARE = 0.3
"""Of your own data, by cluster, where it names no splits."""
OWN = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """Questions to learn from and questions to be asked, of one sort."""

    name: str
    train: Questions
    exam: Questions
    train_digest: str
    exam_digest: str


def page_of(config: GeneralizeConfig, sizes: GeneralizeSizes, split: str) -> Page:
    """The pairs of a task's split."""
    n = sizes.train if split == "train" else sizes.exam
    if config.task == "mutants":
        return mutants(split=split, view="pair", form="words", n=None if split == "train" else min(n, 3_000))
    return {"slips": slips, "traces": traces}[config.task](split=split, view="pair", n=n)


def drawn(config: GeneralizeConfig, sizes: GeneralizeSizes) -> str:
    """Digest of every item that this version of superalign holds out for such a sweep."""
    if config.data is not None:
        return hashlib.sha256(b"own data: its digest is that of the stored questions").hexdigest()
    page = page_of(config, sizes, "validation")
    items = [[i.id, i.cluster, *i.input.values(), page.truths[i.id]["answer"]] for i in page.items]
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def task_of(config: GeneralizeConfig) -> str:
    """Name of what is asked, in families and measurements."""
    return config.task if config.data is None else OWN


def exercises_of(
    desk: Desk, config: GeneralizeConfig, sizes: GeneralizeSizes, own: tuple[Questions, Questions] | None
) -> dict[str, Exercise]:
    """Every exercise that the settings need, stored; truths sealed; what repeats the exam is left out of training.

    `own` are your own questions, to learn from and to be asked. Raises SuperalignError for a distractor that can't be
    planted.
    """
    train, exam = map(graded, own or _drawn(desk, config, sizes))
    task, found = task_of(config), {}
    wanted = [PLAIN, *(name for name in (DISTRACTED, SWAYED) if name in config.settings)]
    sides = {name: (train, exam) if name == PLAIN else _distracted(name, train, exam, config.seed) for name in wanted}
    exams = {name: _put(desk, task, name, "validation", side) for name, (_, side) in sides.items()}
    for name, (mine, theirs) in sides.items():  # screened once every exam has left its fingerprint
        digest = _put(desk, task, name, "train", mine)
        found[name] = Exercise(name=name, train=mine, exam=theirs, train_digest=digest, exam_digest=exams[name])
    return found


def opened(desk: Desk, config: GeneralizeConfig, exercises: Mapping[str, Exercise]) -> dict[str, Any]:
    """Open all truths, for floors, ceilings and scores, which is on record; what is asked, by exercise."""
    kept = {}
    for name, exercise in exercises.items():
        kept[name] = {"train": exercise.train_digest, "exam": exercise.exam_digest}
        for split, digest in (("train", exercise.train_digest), ("validation", exercise.exam_digest)):
            desk.ws.evaluator().truths(sealed_as(task_of(config), split, digest))
    return kept


def _drawn(desk: Desk, config: GeneralizeConfig, sizes: GeneralizeSizes) -> tuple[Questions, Questions]:
    exam = page_of(config, sizes, "validation")
    holdout.fingerprint(desk.ws, f"construction/{config.task}/validation", words_of(exam))
    return questions_of(screened(desk, page_of(config, sizes, "train"))), questions_of(exam)


def own_questions(config: GeneralizeConfig, sizes: GeneralizeSizes) -> tuple[Questions, Questions]:
    """Your own data, parted by cluster: to learn from, and to be asked.

    Raises SuperalignError for data that can't be used: a broken line, one class, and questions that stand, or nearly,
    on both sides, or in both halves of any seed.
    """
    from superalign.generalization.data import load_questions
    from superalign.generalization.leaks import refuse_leaks

    if config.data is None:
        raise SuperalignError("no data were named: pass --data FILE")
    questions = load_questions(config.data, yes=config.yes or None, seed=config.seed)
    share = round(len(questions) * EXAM_SHARE)
    exam, train = halves(questions.clusters, (share, len(questions) - share), np.random.default_rng([config.seed, 29]))
    sides = questions.take(np.sort(train)), questions.take(np.sort(exam))
    refuse_leaks(*sides, names=("what is learned from", "the exam"))
    for seed in range(config.seed, config.seed + sizes.seeds):
        a, b = halves_of(sides[0].clusters, (sizes.half_a, sizes.half_b), seed)
        refuse_leaks(sides[0].take(a), sides[0].take(b))
    return sides


def _distracted(name: str, train: Questions, exam: Questions, seed: int) -> tuple[Questions, Questions]:
    """Both sides with a distractor; SuperalignError where none can be planted that sways these models."""
    loud = name == SWAYED
    try:
        return distracted(train, seed=seed, loud=loud), distracted(exam, seed=seed + 1, loud=loud)
    except ValueError as error:
        raise SuperalignError(f"--settings {name}: {error}") from error


def _put(desk: Desk, task: str, name: str, split: str, questions: Questions) -> str:
    """Store questions as data, seal what is so; returns the digest of the data."""
    sides = ("text",) if questions.second is None else ("a", "b")
    items = [
        {"id": id, "cluster": str(cluster), "input": dict(zip(sides, texts, strict=True))}
        for id, cluster, texts in zip(
            questions.ids, questions.clusters, zip(*questions.texts, strict=True), strict=True
        )
    ]
    digest = desk.ws.store.put_json({"task": task, "exercise": name, "split": split, "items": items})
    clusters = desk.ws.store.put_json(sorted(set(map(str, questions.clusters))))
    desk.ws.contains(digest, families=[("construction", task, split)], clusters_digest=clusters, name=f"{task}/{split}")
    truths = {
        id: {"answer": 0 if yes else 1, "kind": str(kind)}
        for id, yes, kind in zip(questions.ids, questions.truth, questions.kinds, strict=True)
    }
    desk.ws.seal(sealed_as(task, split, digest), truths)
    words = [nameless(text.split()) for texts in zip(*questions.texts, strict=True) for text in texts]
    if split == "train":
        holdout.screen(desk.ws, digest, words)
    else:
        holdout.fingerprint(desk.ws, f"construction/{task}/{split}", words)
    return digest


def sealed_as(task: str, split: str, digest: str) -> str:
    """Name under which the truths of stored questions are sealed."""
    return f"{task}/{split}/{digest[:8]}"


def questions_again(ws: Workspace, task: str, split: str, digest: str) -> Questions:
    """Stored questions, with what is so; the opening is on record where the workspace is written to."""
    items = ws.store.get_json(digest)["items"]
    truths = ws.evaluator().truths(sealed_as(task, split, digest))
    told = [truths[item["id"]] for item in items]
    paired = "b" in items[0]["input"]
    return Questions(
        ids=tuple(item["id"] for item in items),
        first=tuple(item["input"]["a" if paired else "text"] for item in items),
        second=tuple(item["input"]["b"] for item in items) if paired else None,
        truth=np.array([truth["answer"] == 0 for truth in told]),
        clusters=np.array([item["cluster"] for item in items]),
        kinds=np.array([truth["kind"] for truth in told]),
    )
