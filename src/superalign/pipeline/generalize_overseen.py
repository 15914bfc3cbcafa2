"""Labels of oversight protocols for a sweep: a weak judge helped by the strong model says which text is right.

The judge's two weights, the adviser's sharpness and whatever a protocol trains are fitted on `LESSON` further pairs
with their truth, as many as the supervisor of the natural setting has seen. A protocol is played on every question to
learn from, and on the exam, where it is the floor.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.evidence import Signal, SuperalignError, holdout
from superalign.generalization import Questions
from superalign.oversight import case_of, play
from superalign.oversight.protocols import QUOTES
from superalign.pipeline.board_scores import packed_episode
from superalign.pipeline.desk import Desk
from superalign.pipeline.generalize_config import GeneralizeConfig
from superalign.pipeline.generalize_pages import Exercise, questions_again
from superalign.pipeline.generalize_work import Shelf
from superalign.pipeline.pages import open_page, screened, words_of
from superalign.pipeline.seats import read_afresh
from superalign.pipeline.signals import Told, further_pairs, playable, seated, tally
from superalign.tasks.item import Item

if TYPE_CHECKING:
    from superalign.pipeline.generalize import Players

TASK = "slips.pair"
LESSON_STAGE = "what overseers are fitted on"
SIDES = ("a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverseenJob:
    """Play one protocol on all questions of an exercise."""

    protocol: str
    weak: str
    """Address of the judge's model."""
    strong: str
    """Address of the advisers' model."""
    lesson: Questions
    """What players are fitted on, with its truth."""
    train: Questions
    exam: Questions
    seed: int


def overseen_stage(protocol: str) -> str:
    """Name of the stage."""
    return f"{protocol}, played on every question"


def check_overseers(config: GeneralizeConfig) -> None:
    """Raises SuperalignError for a protocol that can't be played here."""
    known = playable()
    if unknown := [name for name in config.overseers if name not in known]:
        raise SuperalignError(f"--overseers {unknown[0]}: there is no such protocol; use any of: {'; '.join(known)}")


def play_overseers(
    desk: Desk, config: GeneralizeConfig, exercise: Exercise, shelves: tuple[Shelf, Shelf], players: Players
) -> tuple[Shelf, Shelf]:
    """Play every protocol, enter what it says as a signal, and return the shelves with it."""
    lesson = desk.stage(LESSON_STAGE, lambda: {"lesson": _lesson(desk)})
    found = {stage: desk.finished(stage, "") for stage in map(overseen_stage, config.overseers)}
    if None in found.values():
        known = questions_again(desk.ws, TASK, "train", lesson["lesson"])  # truths are opened, which is on record
        jobs = overseen_jobs(config, exercise.train, exercise.exam, known)
        found = desk.stages(oversee, {name: (job, "") for name, job in jobs.items()})
    sources = (exercise.train_digest, lesson["lesson"], players.weak.digest, players.strong.digest)
    for name in config.overseers:
        _enter(desk, name, found[overseen_stage(name)], sources)
    return with_said(shelves, config, found)


def with_said(
    shelves: tuple[Shelf, Shelf], config: GeneralizeConfig, found: Mapping[str, Mapping[str, Any]]
) -> tuple[Shelf, Shelf]:
    """Training and exam shelf with what protocols said, from what their stages stored."""
    told = {name: found[overseen_stage(name)] for name in config.overseers}
    train, exam = (
        shelf._replace(said=tuple((name, believed(kept, side).tobytes()) for name, kept in told.items()))
        for shelf, side in zip(shelves, ("train", "exam"), strict=True)
    )
    return train, exam


def overseen_jobs(
    config: GeneralizeConfig, train: Questions, exam: Questions, lesson: Questions
) -> dict[str, OverseenJob]:
    """Name of a stage → its job."""
    return {
        overseen_stage(name): OverseenJob(
            protocol=name,
            weak=config.weak,
            strong=config.strong,
            lesson=lesson.sent(),
            train=train.sent(),
            exam=exam.sent(),
            seed=config.seed,
        )
        for name in config.overseers
    }


def _lesson(desk: Desk) -> str:
    """Pairs that no half of the sweep holds, screened like its own, stored with their truth sealed; their digest."""
    page = screened(desk, further_pairs(desk.sizes.train))  # type: ignore[attr-defined]
    opened = open_page(desk, page)
    holdout.screen(desk.ws, opened.digest, words_of(page))
    return opened.digest


def _enter(desk: Desk, name: str, kept: Mapping[str, Mapping[str, Any]], sources: tuple[str, ...]) -> None:
    """What a protocol said of the questions to learn from is a signal; the ledger says what went into it."""
    told = kept["train"]["belief"]
    digest = hashlib.sha256(json.dumps([name, sources, told]).encode()).hexdigest()
    with desk.together(f"the signal of {name}") as new:
        if new:
            family = f"{name}/slips/train"
            desk.ws.signal(
                Signal(name=f"{name} on slips/train", digest=digest, family=family, role="train", kind="judge")
            )
            for source in sources:
                desk.ws.use(source, digest, "fit")


def items_again(questions: Questions) -> tuple[Item, ...]:
    """Pairs of texts as items of the task they are of."""
    assert questions.second is not None
    return tuple(
        Item(id=id, task=TASK, cluster=str(cluster), input=dict(zip(SIDES, texts, strict=True)), options=SIDES)
        for id, cluster, texts in zip(
            questions.ids, questions.clusters, zip(*questions.texts, strict=True), strict=True
        )
    )


def oversee(job: OverseenJob) -> dict[str, Any]:
    """Side → P(the first text is right) of every question, and the looks at the truth that it took."""
    import torch

    from superalign.models import load_model

    torch.set_num_threads(1)
    cell, weak, strong = playable()[job.protocol], load_model(job.weak), load_model(job.strong)
    truths = {
        id: {"answer": 0 if yes else 1, "kind": str(kind)}
        for side in (job.lesson, job.train, job.exam)
        for id, yes, kind in zip(side.ids, side.truth, side.kinds, strict=True)
    }
    lesson = [case_of(item) for item in items_again(job.lesson)]
    answers = [0 if yes else 1 for yes in job.lesson.truth]
    players = seated(cell, lesson, answers, truths, weak, strong, seed=job.seed)
    sides = {}
    for name, questions in (("train", job.train), ("exam", job.exam)):
        told = _told(job, players, questions)
        sides[name] = {"belief": _bytes(told.belief), "checks": int(told.checks.sum()), "questions": len(questions)}
    return sides


def _told(job: OverseenJob, players: Mapping[str, Any], questions: Questions) -> Told:
    items = items_again(questions)
    cases = [case_of(item) for item in items]
    read_afresh({**players, "judge": players["base"]}, cases, QUOTES)
    episodes = play(playable()[job.protocol].protocol, cases, players, seed=job.seed)
    return tally(items, [packed_episode(episode) for episode in episodes])


def believed(kept: Mapping[str, Mapping[str, Any]], side: str) -> np.ndarray:
    """(n,) P(the first text is right) of every question of a side, from what a stage stored."""
    return np.frombuffer(base64.b64decode(kept[side]["belief"]), dtype="<f8")


def _bytes(belief: np.ndarray) -> str:
    return base64.b64encode(belief.astype("<f8").tobytes()).decode()
