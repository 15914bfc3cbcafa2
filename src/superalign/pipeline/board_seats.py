"""Who sits at a board's tables: judges by address, trained nets from the store, advisers that search against the judge.

Judges of code and calculations are language models (`family:`, `hf:`), such models prompted for a verdict (`prompt:`),
or a person. Rules and pictures have readers of their own, trained once a seed and kept in the store; only a person, or
for rules a prompted model, sits in their place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from superalign.evidence import SuperalignError, holdout
from superalign.models import LocalModel, load_model
from superalign.oversight import Lesson, Protocol, case_of
from superalign.oversight.advisers import PixelSearch, PlanAdviser, SearchAdviser, against, train_adviser
from superalign.oversight.judges import (
    PersonJudge,
    PictureJudge,
    PixelJudge,
    PromptedJudge,
    ReaderJudge,
    no_search,
    train_pixel_judge,
    train_reader,
)
from superalign.oversight.prompts import load_prompt
from superalign.oversight.protocols import consultancy
from superalign.oversight.referee import ExecutingReferee, PieceReferee
from superalign.oversight.types import Case
from superalign.pipeline.board_config import PERSON, PROMPT, OversightConfig
from superalign.pipeline.board_scores import unseen_forms
from superalign.pipeline.desk import Desk
from superalign.pipeline.pages import Opened, put_page, words_of
from superalign.pipeline.seats import SEARCHERS, text_players
from superalign.tasks import pixels

READS = 6
"""Lines that a reader of rules is shown at most in training."""
BEAM = 6
"""Sets of quotes that a planner grows further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One task on the board: its pages, truths opened, as Cases."""

    task: str
    lesson: Opened
    test: Opened

    def cases(self, which: Opened) -> list[Case]:
        """The Cases of a page."""
        return [case_of(item) for item in which.page.items]

    def truths(self, which: Opened) -> dict[str, Any]:
        """Item → truth of a page."""
        return {item.id: truth for item, truth in zip(which.page.items, which.truths, strict=True)}


def judging_model(config: OversightConfig) -> LocalModel:
    """The model that judges, or, where a person does, the one that advisers search against.

    Raises SuperalignError for a model or a prompt that can't be loaded.
    """
    if config.judge.startswith(PROMPT):
        load_prompt(config.prompt)
    return load_model(config.stand_in if config.judge == PERSON else config.judge.removeprefix(PROMPT))


def seated(
    desk: Desk, field: Field, config: OversightConfig, judge: LocalModel, adviser: LocalModel, seed: int
) -> dict[str, Any]:
    """Everybody for one task: fitted on its lesson, advisers work against the judge, models read in fixed order."""
    players = _players(desk, field, config, judge, adviser, seed)
    if config.judge.startswith(PROMPT) and field.task != "pixels":
        cases, answers = field.cases(field.lesson), field.lesson.answers.tolist()
        asked = PromptedJudge(model=judge, prompt=load_prompt(config.prompt), name=judge.name)
        try:
            fitted = asked.fitted(cases, answers, quotes=config.budget, seed=seed)
        except ValueError as error:  # no prompt fits into its context
            raise SuperalignError(f"{field.task}, judged by {config.judge}: {error}") from error
        players |= {"judge": fitted} | {seat: against(fitted, players[seat]) for seat in SEARCHERS}
    if config.judge == PERSON:
        journal = config.workspace / "person.jsonl"
        players["judge"] = PersonJudge(journal=journal, seed=seed, most=2 * desk.sizes.items)
        no_search(players)
    return players


def _players(
    desk: Desk, field: Field, config: OversightConfig, judge: LocalModel, adviser: LocalModel, seed: int
) -> dict[str, Any]:
    plans = config.advise == "plan" or (config.advise == "usual" and field.task == "rules")
    if field.task == "pixels":
        picture = PictureJudge(net=trained_net(desk, config.budget, seed), name="pixel judge")
        search: Any = PixelSearch(judge=picture, knower=picture)
        planner = PlanAdviser(judge=picture, knower=picture, beam=BEAM)
        return {"judge": picture, **dict.fromkeys(SEARCHERS, planner if plans else search)}
    if field.task == "rules":
        reader, scholar = (trained_reader(desk, size, seed) for size in ("xs", "m"))
        search = SearchAdviser(judge=reader, knower=scholar)
        planner = PlanAdviser(judge=reader, knower=scholar, beam=BEAM)
        return {"judge": reader, **dict.fromkeys(SEARCHERS, planner if plans else search)}
    cases, answers = field.cases(field.lesson), field.lesson.answers.tolist()
    referee = referee_of(field, field.test, config)
    players = text_players(judge, adviser, cases, answers, budget=config.budget, seed=seed, referee=referee)
    test = field.cases(field.test)
    players["judge"].prime((*cases[: desk.sizes.games], *test), config.budget)
    for seat in ("critic", "second critic"):
        players[seat].knows(test)
    if plans:
        planner = PlanAdviser(judge=players["judge"], knower=players["critic"], beam=BEAM, width=2 * config.budget)
        players |= dict.fromkeys(SEARCHERS, planner)
    return players


def referee_of(field: Field, which: Opened, config: OversightConfig) -> PieceReferee | ExecutingReferee:
    """Who checks claims about a page."""
    if config.checks == "executed" and field.task == "mutants":
        return ExecutingReferee(truths=field.truths(which), split=which.page.split)
    return PieceReferee(truths=field.truths(which))


def trained_advisers(protocol: Protocol, lesson: Lesson, budget: int) -> dict[str, Any]:
    """Advisers whose policy was trained against the judge, in this protocol where it assigns sides, else to consult."""
    argued = 0 < protocol.sides == len(protocol.seats)
    judge, knower = lesson.players["judge"], lesson.players["adviser"].knower
    made = train_adviser(
        judge, knower, lesson.cases, protocol=protocol if argued else consultancy(turns=budget), seed=lesson.seed
    )
    return dict.fromkeys(SEARCHERS, made)


def trained_reader(desk: Desk, size: Literal["xs", "m"], seed: int) -> ReaderJudge:
    """A reader of rules, trained once a seed and kept in the store."""
    steps = desk.sizes.judge_steps if size == "xs" else desk.sizes.adviser_steps

    def train() -> dict[str, str]:
        reader = train_reader(size=size, quotes=READS, seed=seed, steps=steps)
        return {"weights": desk.ws.store.put(reader.to_bytes())}

    kept = desk.once(f"reader of rules, {size}, {steps} steps, seed {seed}", train, actor="trainer")
    return ReaderJudge.from_bytes(desk.ws.store.get(kept["weights"]))


def trained_net(desk: Desk, budget: int, seed: int) -> PixelJudge:
    """A judge of pictures that may see `budget` pixels, trained once a seed and kept in the store."""

    def train() -> dict[str, str]:
        net = train_pixel_judge(pixels=budget, seed=seed, without=unseen_forms())
        return {"weights": desk.ws.store.put(net.to_bytes())}

    kept = desk.once(f"judge of pictures, {budget} pixels, seed {seed}", train, actor="trainer")
    return PixelJudge.from_bytes(desk.ws.store.get(kept["weights"]))


def fingerprint(players: Mapping[str, Any]) -> str:
    """Digest of what the judge, and whoever estimates for it, were fitted to be."""
    parts: list[Any] = []
    for player in (players["judge"], players.get("estimator")):
        while player is not None:
            net = getattr(player, "net", None)
            known = isinstance(player, ReaderJudge | PromptedJudge)
            own = player.digest if known else list(getattr(player, "weights", ()))
            parts.append([type(player).__name__, own, net.digest if net else ""])
            player = getattr(player, "judge", None)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def enter_judge(
    desk: Desk, cell: str, field: Field, config: OversightConfig, weights: str, models: tuple[LocalModel, ...]
) -> str:
    """The judge of a cell as the ledger knows it: fitted from the models at the table and the lesson's truths."""
    text = json.dumps([cell, field.task, weights, [model.digest for model in models]])
    who = "person" if config.judge == PERSON else "judge"
    digest, name = hashlib.sha256(text.encode()).hexdigest(), f"{who} of {field.task}, {cell}"
    with desk.ws.ledger.transaction():
        desk.ws.node(kind="model", digest=digest, name=name, meta={"weights": weights})
        if config.judge == PERSON:
            desk.ws.base(digest, reason="a person at this terminal, who was fitted to nothing here")
        for source in () if config.judge == PERSON else _sources(desk, field, models):
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
