"""`superalign oversight`: every protocol on the same items, each cell a stage, scores into the ledger.

A cell is one protocol on one task with one seed. Players are seated anew for each task: a judge fitted on the training
split, advisers that search against that judge, critics that go by their own reading. Protocols in which one or two
advisers argue are played twice: by the judge as it is, and by one adapted to the protocol, its advisers searching
against the adapted judge in their turn.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import superalign
from superalign.evidence import Workspace, holdout
from superalign.models import LocalModel, load_model
from superalign.oversight import Lesson, Protocol, case_of, play
from superalign.oversight.advisers import EvidenceAdviser, SearchAdviser, against
from superalign.oversight.judges import (
    LikelihoodJudge,
    PictureJudge,
    ReaderJudge,
    adapted,
    train_pixel_judge,
    train_reader,
)
from superalign.oversight.referee import PieceReferee
from superalign.oversight.types import Case, Players
from superalign.pipeline.board_config import PRIMARY, OversightConfig, board_sizes
from superalign.pipeline.board_scores import (
    Cell,
    cells_of,
    chosen_protocols,
    drawn,
    packed_episode,
    page_of,
    score_task,
    unseen_forms,
)
from superalign.pipeline.desk import Desk, register
from superalign.pipeline.pages import Opened, open_page, put_page, screened, words_of
from superalign.tasks import pixels

READS = 6
"""Lines that a reader of rules is shown at most in training."""
SEARCHERS = ("adviser", "a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One task on the board: its pages, truths opened, as Cases."""

    task: str
    lesson: Opened
    test: Opened

    def cases(self, which: Opened) -> list[Case]:
        """The Cases of a page."""
        return [case_of(item) for item in which.page.items]


def play_board(config: OversightConfig, *, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Play and score the board; returns where the ledger stands. What was finished before is not done again.

    Raises SuperalignError for unknown protocols, and workspaces or models that can't be used; then nothing is written.
    """
    chosen = chosen_protocols(config)
    judge, adviser = load_model(config.judge), load_model(config.advisers)
    with Workspace.open(config.workspace, create=True) as ws:
        desk = Desk(ws=ws, config=config, sizes=board_sizes(config.preset), say=say)
        _begin(desk, config, chosen)
        for model in dict.fromkeys((judge, adviser)):
            register(
                desk, model, base="pretrained before any signal of this ledger was drawn; corpus hash in its recipe"
            )
        for task in config.tasks:
            holdout.fingerprint(
                ws, f"construction/{task}/validation", words_of(page_of(task, "validation", desk.sizes))
            )
        for task in config.tasks:
            play_task(desk, config, task, chosen, judge, adviser)
        return {
            "workspace": str(config.workspace),
            "board": desk.key("run"),
            "head": ws.ledger.head,
            "events": len(ws.ledger),
        }


def _begin(desk: Desk, config: OversightConfig, chosen: Mapping[str, Protocol]) -> None:
    """The run and, sealed before the first episode, the plan with its primary contrasts."""
    import torch

    stated = {k: list(v) if isinstance(v, tuple) else str(v) for k, v in asdict(config).items() if k != "workspace"}
    body = {
        "board": stated,
        "sizes": asdict(desk.sizes),
        "items": drawn(config, desk.sizes),
        "version": superalign.__version__,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__},
    }
    plan = {
        "board": desk.key("run"),
        "tasks": list(config.tasks),
        "protocols": list(chosen),
        "primary": [f"{a} - {b}, accuracy, on each task" for a, b in PRIMARY if {a, b} <= set(chosen)],
        "correction": "holm over the primary contrasts of a task, benjamini-hochberg over all others; times the tasks",
        "equivalence": "two one-sided tests, 2 points",
    }
    for kind, actor, content in (("run", "notary", body), ("plan", "evaluator", plan)):
        if not any(event.body == content for event in desk.ws.ledger.events(kind)):
            desk.ws.ledger.append(kind, content, actor=actor)


def play_task(
    desk: Desk,
    config: OversightConfig,
    task: str,
    chosen: Mapping[str, Protocol],
    judge: LocalModel,
    adviser: LocalModel,
) -> None:
    """All cells of one task, then their scores."""
    lesson = screened(desk, page_of(task, "train", desk.sizes))
    field = Field(
        task=task, lesson=open_page(desk, lesson), test=open_page(desk, page_of(task, "validation", desk.sizes))
    )
    holdout.screen(desk.ws, field.lesson.digest, words_of(lesson))
    cells = cells_of(task, chosen)
    done: dict[str, list[Any]] = {cell.name: [] for cell in cells}
    for seed in range(config.seed, config.seed + config.seeds):
        players: dict[str, Any] | None = None
        for cell in cells:
            name = f"{task}: {cell.name}, seed {seed}"
            kept = desk.finished(name, seed, judge.digest, adviser.digest)
            if kept is None:
                players = players or seated(desk, field, config, judge, adviser, seed)
                desk.say(name)
                kept = _played(desk, name, cell, field, players, seed, models=(judge, adviser))
            done[cell.name].append(kept)
    with desk.together(f"{task}, measured") as new:
        if new:
            score_task(desk, task, field.test, done)


def seated(
    desk: Desk, field: Field, config: OversightConfig, judge: LocalModel, adviser: LocalModel, seed: int
) -> dict[str, Any]:
    """Everybody for one task: fitted on its lesson, advisers search against the judge, models read in fixed order."""
    cases, answers = field.cases(field.lesson), field.lesson.answers.tolist()
    referee = PieceReferee(truths=_truths(field.test))
    if field.task == "pixels":
        picture = PictureJudge(
            net=train_pixel_judge(pixels=config.budget, seed=seed, without=unseen_forms()), name="pixel judge"
        )
        search = SearchAdviser(judge=picture, knower=picture)
        return {"judge": picture, **dict.fromkeys(SEARCHERS, search)}
    if field.task == "rules":
        reader, scholar = (trained_reader(desk, size, seed) for size in ("xs", "m"))
        return {"judge": reader, **dict.fromkeys(SEARCHERS, SearchAdviser(judge=reader, knower=scholar))}
    weak = LikelihoodJudge(model=judge, name=judge.name).fitted(cases, answers, quotes=config.budget, seed=seed)
    strong = EvidenceAdviser(model=adviser, charges=3).fitted(cases, answers)
    second = EvidenceAdviser(model=judge, charges=3).fitted(cases, answers)
    games, test = cases[: desk.sizes.games], field.cases(field.test)
    weak.prime((*games, *test), config.budget)
    for reader in (strong, second):
        reader.knows(test)
    search = SearchAdviser(judge=weak, knower=strong, width=config.budget)
    return {
        "judge": weak,
        "referee": referee,
        **dict.fromkeys(SEARCHERS, search),
        "critic": strong,
        "second critic": second,
    }


def _played(
    desk: Desk,
    name: str,
    cell: Cell,
    field: Field,
    players: dict[str, Any],
    seed: int,
    *,
    models: tuple[LocalModel, ...],
) -> Any:
    """Play a cell and store its episodes; its judge is entered as fitted from the models and the lesson's truths."""
    began = time.monotonic()
    lesson = Lesson(
        cases=field.cases(field.lesson)[: desk.sizes.games],
        answers=field.lesson.answers[: desk.sizes.games].tolist(),
        players=players | {"referee": PieceReferee(truths=_truths(field.lesson))},
        seed=seed,
    )
    if cell.adapts:
        players = players | _adapted(cell.protocol, lesson) | {"referee": players.get("referee")}
    elif cell.protocol.train is not None:
        players = players | dict(cell.protocol.train(lesson)) | {"referee": players.get("referee")}
    episodes = [packed_episode(e) for e in play(cell.protocol, field.cases(field.test), players, seed=seed)]
    digest = desk.ws.store.put_json({"protocol": cell.name, "task": field.task, "seed": seed, "episodes": episodes})
    subject = _subject(desk, cell, field, _fingerprint(players["judge"]), models)
    result = {"episodes": digest, "subject": subject}
    return desk.finish(name, result, seed, *(model.digest for model in models), seconds=time.monotonic() - began)


def _adapted(protocol: Protocol, lesson: Lesson) -> Players:
    """The judge refitted on the protocol's own transcripts, and advisers that search against it."""
    truth = dict(zip((case.item for case in lesson.cases), lesson.answers, strict=True))
    episodes = list(play(protocol, lesson.cases, lesson.players, seed=lesson.seed))
    judge = adapted(lesson.players["judge"], protocol.name, episodes, [truth[e.item] for e in episodes])
    search = against(judge, lesson.players["adviser"])
    return {**lesson.players, "judge": judge, **dict.fromkeys(SEARCHERS, search)}


def trained_reader(desk: Desk, size: Literal["xs", "m"], seed: int) -> ReaderJudge:
    """A reader of rules, trained once a seed and kept in the store."""
    steps = desk.sizes.judge_steps if size == "xs" else desk.sizes.adviser_steps

    def train() -> dict[str, str]:
        reader = train_reader(size=size, quotes=READS, seed=seed, steps=steps)
        return {"weights": desk.ws.store.put(reader.to_bytes())}

    kept = desk.stage(f"reader of rules, {size}, seed {seed}", train, size, seed, actor="trainer")
    return ReaderJudge.from_bytes(desk.ws.store.get(kept["weights"]))


def _truths(page: Opened) -> dict[str, Any]:
    return {item.id: truth for item, truth in zip(page.page.items, page.truths, strict=True)}


def _fingerprint(judge: Any) -> str:
    """Digest of what a judge was fitted to be."""
    parts: list[Any] = []
    while judge is not None:
        net = getattr(judge, "net", None)
        own = judge.digest if isinstance(judge, ReaderJudge) else list(getattr(judge, "weights", ()))
        parts.append([type(judge).__name__, own, net.digest if net else ""])
        judge = getattr(judge, "judge", None)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _subject(desk: Desk, cell: Cell, field: Field, weights: str, models: tuple[LocalModel, ...]) -> str:
    """The judge of a cell as the ledger knows it: fitted from the models at the table and the lesson's truths."""
    text = json.dumps([cell.name, field.task, weights, [model.digest for model in models]])
    digest, name = hashlib.sha256(text.encode()).hexdigest(), f"judge of {field.task}, {cell.name}"
    with desk.ws.ledger.transaction():
        desk.ws.node(kind="model", digest=digest, name=name, meta={"weights": weights})
        for source in _sources(desk, field, models):
            desk.ws.use(source, digest, "fit")
    return f"{name}@{digest}"


def _sources(desk: Desk, field: Field, models: tuple[LocalModel, ...]) -> list[str]:
    """What a judge of this task was made from: models that read texts, or the pictures that a net was trained on."""
    if field.task == "rules":
        return [field.lesson.digest]
    if field.task != "pixels":
        return [*dict.fromkeys(model.digest for model in models), field.lesson.digest]
    pictures = pixels(split="train")
    digest = put_page(desk, pictures)
    holdout.screen(desk.ws, digest, words_of(pictures))
    return [digest, field.lesson.digest]
