"""V3 of sweeps: features read again by the models, halves labelled again, every student taught again, and compared.

Last digits differ between machines, and a choice (of a penalty, of a step) may tip over on one of them: answers are
alike when they have the same sign. Organisms are trained from nothing, which would be level 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from superalign.engine import run_parallel
from superalign.evidence import SuperalignError, Workspace
from superalign.generalization import Questions, all_methods
from superalign.generalization.difficulty import graded
from superalign.generalization.reading import probability
from superalign.pipeline.generalize import features_of, players_of
from superalign.pipeline.generalize_answers import unpacked
from superalign.pipeline.generalize_config import GeneralizeSizes
from superalign.pipeline.generalize_jobs import Shelves, label_jobs, method_jobs, shelf_of
from superalign.pipeline.generalize_overseen import (
    LESSON_STAGE,
    TASK,
    believed,
    oversee,
    overseen_jobs,
    overseen_stage,
    with_said,
)
from superalign.pipeline.generalize_pages import PLAIN, questions_again, task_of
from superalign.pipeline.generalize_plan import OVERSEEN, Round, rounds_of
from superalign.pipeline.generalize_recount import Sweep
from superalign.pipeline.generalize_work import features_from_bytes, label_all, teach_all
from superalign.pipeline.stored import Stored, shipped

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed

TOLERANCE = 1e-3
"""Absolute, on features; one that differs by more is unlike."""


class DoneAgain(NamedTuple):
    """One stage, done again."""

    stage: str
    answers: int
    unlike: int
    largest: float
    """Largest difference of probabilities among answers that are alike, or of features."""


def teach_again(sweep: Sweep, ws: Workspace, *, say: Callable[[str], None], workers: int = 1) -> Iterator[DoneAgain]:
    """All stages of a sweep that was scored. Raises SuperalignError for models that no ledger can name."""
    config, sizes, done = sweep.config, sweep.sizes, Stored(ws, sweep)
    for address in filter(None, (config.weak, config.between, config.strong, config.larger)):
        if not shipped(address):
            raise SuperalignError(f"{address!r:.80} is an address that no ledger can give: such sweeps end at level 2")
    shelves: dict[str, Any] = {}
    players = players_of(config)
    for name, kept in done("questions")["exercises"].items():
        readers = players.readers(name)
        sides = [("train", kept["train"]), ("validation", kept["exam"])]
        asked = [(graded(questions_again(ws, task_of(config), *side)), side[1]) for side in sides]
        for questions, digest in asked:
            yield from _read_again(ws, done, readers, questions, digest, say)
        shelves[name] = tuple(_shelf(ws, done, readers, *each, config.strong) for each in asked)
    if done("scores, oversight") is not None:
        yield from _overseen_again(sweep, ws, done, say, workers)
        told = {overseen_stage(name): done(overseen_stage(name)) for name in config.overseers}
        shelves[OVERSEEN] = with_said(shelves[PLAIN], config, told)
    known = all_methods()
    for each in rounds_of(config, sizes, {name: known[name] for name in sweep.methods}):
        if done(f"scores, {each.part}") is not None:
            yield from _round_again(each, sizes, done, shelves, say, workers)


def _overseen_again(
    sweep: Sweep, ws: Workspace, done: Stored, say: Callable[[str], None], workers: int
) -> Iterator[DoneAgain]:
    """Every protocol, played again."""
    kept, task = done("questions")["exercises"][PLAIN], task_of(sweep.config)
    train, exam = (questions_again(ws, task, *at) for at in (("train", kept["train"]), ("validation", kept["exam"])))
    jobs = overseen_jobs(sweep.config, train, exam, questions_again(ws, TASK, "train", done(LESSON_STAGE)["lesson"]))
    names = list(jobs)
    for again in run_parallel(oversee, [jobs[name] for name in names], workers=workers):
        name = names[again.index]
        say(name)
        sides = ("train", "exam")
        gaps = np.concatenate([abs(believed(done(name), side) - believed(again.result, side)) for side in sides])
        yield DoneAgain(name, len(gaps), int((gaps > TOLERANCE).sum()), float(gaps.max()))


def _round_again(
    each: Round,
    sizes: GeneralizeSizes,
    done: Stored,
    shelves: Shelves,
    say: Callable[[str], None],
    workers: int,
) -> Iterator[DoneAgain]:
    stored = {case.bounds: done(case.bounds) for case in each.cases}
    for work, jobs in (
        (label_all, label_jobs(each.cases, shelves, each.seeds, sizes)),
        (teach_all, method_jobs(each.cases, shelves, stored, each.untrained, first=each.first)),
    ):
        names = list(jobs)
        for again in run_parallel(work, [jobs[name] for name in names], workers=workers):  # type: ignore[arg-type]
            say(names[again.index])
            yield DoneAgain(names[again.index], *compared(done(names[again.index]), again.result))


def _read_again(
    ws: Workspace,
    done: Stored,
    readers: Mapping[str, LocalModel],
    questions: Questions,
    digest: str,
    say: Callable[[str], None],
) -> Iterator[DoneAgain]:
    """The features of one side of an exercise, under every model, computed anew."""
    for model in readers.values():
        stage = _stage(digest, model.digest)
        say(stage)
        stored = features_from_bytes(ws.store.get(done(stage)["features"]))
        gaps = [abs(a.wide - b.wide) for a, b in zip(stored, features_of(model, questions), strict=True)]
        unlike = sum(int((gap > TOLERANCE).sum()) for gap in gaps)
        yield DoneAgain(stage, sum(gap.size for gap in gaps), unlike, max(float(gap.max()) for gap in gaps))


def _shelf(
    ws: Workspace, done: Stored, readers: Mapping[str, LocalModel], questions: Questions, digest: str, strong: str
) -> Any:
    found = [(name, done(_stage(digest, model.digest))["features"]) for name, model in readers.items()]
    return shelf_of(ws.store.root, tuple(found), questions, digest=digest, strong=strong)


def _stage(data: str, model: str) -> str:
    return f"features of {data[:12]} under {model[:12]}"


def compared(stored: Any, again: Any) -> tuple[int, int, float]:
    """Answers, how many have another sign or are missing, and the largest difference of probability of the others."""
    mine, theirs = (dict(_answers(each)) for each in (stored, again))
    if mine.keys() != theirs.keys():
        return 1, 1, 0.0
    count = unlike = 0
    largest = 0.0
    for name, text in mine.items():
        a, b = unpacked(text), unpacked(theirs[name])
        same = (
            (np.sign(a) == np.sign(b)) | (np.isnan(a) & np.isnan(b)) if a.shape == b.shape else np.zeros(len(a), bool)
        )
        count, unlike = count + len(a), unlike + int((~same).sum())
        if (kept := same & np.isfinite(a)).any():
            largest = max(largest, float(abs(probability(a[kept]) - probability(b[kept])).max()))
    return count, unlike, largest


def _answers(kept: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every packed row of log-odds in a stage's result, by where it stands."""
    if not isinstance(kept, Mapping):
        return
    for key, value in kept.items():
        if key in ("logits", "floor", "ceiling") or name.endswith("/taught"):
            yield f"{name}/{key}", value
        else:
            yield from _answers(value, f"{name}/{key}")
