"""Who sits at a board's tables: judges by address, trained nets from the store, advisers that search against the judge.

Judges of code and calculations are language models (`family:`, `hf:`), such models prompted for a verdict (`prompt:`),
or a person. Rules and pictures have readers of their own, trained once a seed and kept in the store; only a person, a
model that speaks, or for rules a prompted model, sits in their place. Players that are asked in words: `spoken`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from superalign.evidence import SuperalignError, holdout
from superalign.oversight import Lesson, Protocol, case_of
from superalign.oversight.advisers import (
    EvidenceAdviser,
    PixelSearch,
    PlanAdviser,
    SearchAdviser,
    against,
    train_adviser,
)
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
from superalign.oversight.judges.spoken import SpokenJudge
from superalign.oversight.prompts import load_prompt
from superalign.oversight.protocols import consultancy
from superalign.oversight.referee import ExecutingReferee, PieceReferee
from superalign.oversight.types import Case
from superalign.pipeline.board_config import PERSON, PROMPT, OversightConfig, speaks
from superalign.pipeline.board_own import Own, two_texts
from superalign.pipeline.board_scores import Cell, unseen_forms
from superalign.pipeline.desk import Desk
from superalign.pipeline.pages import Opened, put_page, words_of
from superalign.pipeline.seats import SEARCHERS, text_judge, text_players
from superalign.pipeline.spoken import ADVISERS, JUDGE, UNSEEN, Voices, judge_in_words, seats_in_words
from superalign.pipeline.spoken_heard import Ear
from superalign.tasks import pixels

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Whose models play on a board."""

    judge: LocalModel | None
    """Judges by what it finds likely; where a person or a model that speaks does, advisers search against it."""
    adviser: LocalModel | None
    voices: Voices | None = None
    """Who is asked in words; what they leave to nobody else is None above."""
    own: Mapping[str, Own] = field(default_factory=dict)
    """What is played on beside the tasks that ship: data by its name."""

    @property
    def models(self) -> tuple[LocalModel, ...]:
        """The models whose likelihoods are read, the judge's first."""
        return tuple(model for model in (self.judge, self.adviser) if model is not None)

    def addressed(self, config: OversightConfig) -> tuple[tuple[LocalModel, str], ...]:
        """These models, each once, with the address that it was loaded from."""
        stands = config.judge == PERSON or speaks(config.judge)
        addresses = (config.stand_in if stands else config.judge.removeprefix(PROMPT), config.advisers)
        found = dict(zip((self.judge, self.adviser), addresses, strict=True))
        return tuple((model, address) for model, address in found.items() if model is not None)

    @property
    def digests(self) -> tuple[str, ...]:
        """Of all that decides how a cell is played."""
        return (*(model.digest for model in self.models), *(self.voices.parts if self.voices else ()))

    @property
    def sources(self) -> tuple[str, ...]:
        """Digests of the models that a judge is made of: the one that speaks, else those that it was fitted with."""
        if self.voices and self.voices.judge:
            return (self.voices.judge.digest,)
        return tuple(dict.fromkeys(model.digest for model in self.models))


def cast_of(config: OversightConfig, voices: Voices | None) -> Cast:
    """The models of a board, loaded. Raises SuperalignError for a model or a prompt that can't be loaded."""
    if config.judge.startswith(PROMPT):
        load_prompt(config.prompt)
    advised = speaks(config.advisers)
    absent = config.judge == PERSON or speaks(config.judge)
    if absent and advised:
        return Cast(judge=None, adviser=None, voices=voices)
    from superalign.models import load_model

    judge = load_model(config.stand_in if absent else config.judge.removeprefix(PROMPT))
    return Cast(judge=judge, adviser=None if advised else load_model(config.advisers), voices=voices)


def seated(desk: Desk, field: Field, config: OversightConfig, cast: Cast, seed: int) -> dict[str, Any]:
    """Everybody for one task: fitted on its lesson, advisers work against the judge, models read in fixed order."""
    judge = cast.judge
    players = _players(desk, field, config, cast, seed)
    if config.judge.startswith(PROMPT) and field.task != "pixels":
        cases, answers = field.cases(field.lesson), field.lesson.answers.tolist()
        asked = PromptedJudge(model=judge, prompt=load_prompt(config.prompt), name=judge.name)
        try:
            fitted = asked.fitted(cases, answers, quotes=config.budget, seed=seed)
        except ValueError as error:  # no prompt fits into its context
            raise SuperalignError(f"{field.task}, judged by {config.judge}: {error}") from error
        searchers = [] if speaks(config.advisers) else SEARCHERS
        players |= {"judge": fitted} | {seat: against(fitted, players[seat]) for seat in searchers}
    if config.judge == PERSON:
        journal = config.workspace / "person.jsonl"
        players["judge"] = PersonJudge(journal=journal, seed=seed, most=2 * desk.sizes.items)
        no_search(players)
    if cast.voices and cast.voices.judge:
        scale = tempered(desk, field, config, cast.voices, seed)
        players["judge"] = judge_in_words(config, cast.voices, cast.voices.judge.speaker, scale=scale)
    return players


def tempered(desk: Desk, field: Field, config: OversightConfig, voices: Voices, seed: int) -> float:
    """How far a judge that speaks can be trusted: fitted once on the first items of the lesson, replies kept."""
    assert voices.judge is not None
    if not config.temper:
        return 1.0

    def fit() -> dict[str, Any]:
        ear = Ear(voices.judge.speaker)  # type: ignore[union-attr]
        scale = scale_of(judge_in_words(config, voices, ear), field, config, seed)
        heard, silent = desk.ws.store.put_json(ear.heard), desk.ws.store.put_json(ear.silent)
        return {"scale": scale, "lesson": field.lesson.digest, "heard": heard, "silent": silent}

    return float(desk.stage(tempering_stage(field.task, seed), fit, *voices.parts)["scale"])


def tempering_stage(task: str, seed: int) -> str:
    """The stage in which a judge that speaks is tempered."""
    return f"{task}: the judge in words, tempered, seed {seed}"


def scale_of(judge: SpokenJudge, field: Field, config: OversightConfig, seed: int) -> float:
    """The scale that fits the judge's log-odds to the first `temper` items of the lesson."""
    cases, answers = field.cases(field.lesson)[: config.temper], field.lesson.answers[: config.temper].tolist()
    try:
        return judge.fitted(cases, answers, quotes=config.budget, seed=seed).scale
    except ValueError as error:  # nothing that it said can be read
        raise SuperalignError(f"{field.task}, judged by {config.judge}: {error}") from error


def in_their_seats(
    cell: Cell, config: OversightConfig, voices: Voices, players: Mapping[str, Any], speakers: Mapping[str, Any]
) -> dict[str, Any]:
    """The players of one cell, those that are asked in words through `speakers` (`JUDGE`, `ADVISERS`)."""
    found = dict(players)
    if voices.judge:
        scale = getattr(players.get("judge"), "scale", 1.0)
        found["judge"] = judge_in_words(config, voices, speakers[JUDGE], scale=scale)
    if voices.advisers:
        found |= seats_in_words(cell.protocol, config, voices, speakers[ADVISERS])
    return found


def _players(desk: Desk, field: Field, config: OversightConfig, cast: Cast, seed: int) -> dict[str, Any]:
    judge, adviser = cast.judge, cast.adviser
    advised = speaks(config.advisers)
    if field.task in cast.own and not two_texts(cast.own[field.task].data):
        return {}  # nobody here compares likelihoods: all who sit down speak, or are asked for a verdict
    if judge is None:
        return {"referee": referee_of(field, field.test, config)} if field.task not in ("rules", "pixels") else {}
    plans = config.advise == "plan" or (config.advise == "usual" and field.task == "rules")
    if field.task == "pixels":
        picture = PictureJudge(net=trained_net(desk, config.budget, seed), name="pixel judge")
        if advised:
            return {"judge": picture}
        search: Any = PixelSearch(judge=picture, knower=picture)
        planner = PlanAdviser(judge=picture, knower=picture, beam=BEAM)
        return {"judge": picture, **dict.fromkeys(SEARCHERS, planner if plans else search)}
    if field.task == "rules":
        reader = trained_reader(desk, "xs", seed)
        if advised:
            return {"judge": reader}
        scholar = trained_reader(desk, "m", seed)
        search = SearchAdviser(judge=reader, knower=scholar)
        planner = PlanAdviser(judge=reader, knower=scholar, beam=BEAM)
        return {"judge": reader, **dict.fromkeys(SEARCHERS, planner if plans else search)}
    cases, answers = field.cases(field.lesson), field.lesson.answers.tolist()
    referee = referee_of(field, field.test, config)
    if field.task in cast.own:
        whole_read(field.task, cast.models, cases)
    if adviser is None:
        alone = text_judge(judge, cases, answers, budget=config.budget, seed=seed)
        alone.prime((*cases[: desk.sizes.games], *field.cases(field.test)), config.budget)
        return {"judge": alone, "referee": referee}
    players = text_players(judge, adviser, cases, answers, budget=config.budget, seed=seed, referee=referee)
    test = field.cases(field.test)
    players["judge"].prime((*cases[: desk.sizes.games], *test), config.budget)
    for seat in ("critic", "second critic"):
        players[seat].knows(test)
    if plans:
        planner = PlanAdviser(judge=players["judge"], knower=players["critic"], beam=BEAM, width=2 * config.budget)
        players |= dict.fromkeys(SEARCHERS, planner)
    return players


def whole_read(task: str, models: Iterable[LocalModel], cases: Sequence[Case]) -> None:
    """Raises SuperalignError where a model can't read the texts of a lesson whole: nothing could be fitted on them."""
    for model in models:
        cut = int((~np.isfinite(EvidenceAdviser(model=model).differences(cases))).sum())
        if cut:
            raise SuperalignError(
                f"{task}: {cut} of {len(cases)} lessons are longer than {model.name} reads ({model.context:,} tokens): "
                "shorten or remove them, or seat a model that reads more"
            )


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


def enter_judge(desk: Desk, cell: str, field: Field, config: OversightConfig, weights: str, cast: Cast) -> str:
    """The judge of a cell as the ledger knows it: fitted from the models at the table and the lesson's truths.

    Of a model that speaks behind an API the name says that nobody sees its weights; it is fitted to the lesson only
    where it was tempered on it.
    """
    text = json.dumps([cell, field.task, weights, list(cast.digests)])
    who = "person" if config.judge == PERSON else "judge"
    unseen = cast.voices and cast.voices.judge and cast.voices.judge.unseen
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = f"{who} of {field.task}, {cell}" + (f", {UNSEEN}" if unseen else "")
    with desk.ws.ledger.transaction():
        desk.ws.node(kind="model", digest=digest, name=name, meta={"weights": weights})
        if config.judge == PERSON:
            desk.ws.base(digest, reason="a person at this terminal, who was fitted to nothing here")
        for source in () if config.judge == PERSON else _sources(desk, field, config, cast):
            desk.ws.use(source, digest, "fit")
    return f"{name}@{digest}"


def _sources(desk: Desk, field: Field, config: OversightConfig, cast: Cast) -> list[str]:
    """What a judge of this task was made from: models that read texts, or the pictures that a net was trained on."""
    if speaks(config.judge):
        return [*cast.sources, *([field.lesson.digest] if config.temper else [])]
    if field.task == "rules":
        return [field.lesson.digest]
    if field.task != "pixels":
        return [*cast.sources, field.lesson.digest]
    pictures = pixels(split="train")
    digest = put_page(desk, pictures)
    holdout.screen(desk.ws, digest, words_of(pictures))
    return [digest, field.lesson.digest]
