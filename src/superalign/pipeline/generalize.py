"""`superalign generalize`: every method of weak-to-strong learning under one protocol, stage by stage, into the ledger.

Features of a page under a model, labels and bounds of a setting, and every method's answers are stages of their own:
what was finished is found again by all that it depends on. Students never meet the truth of the exam.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import superalign
from superalign.evidence import SuperalignError, Workspace
from superalign.generalization import SUPERVISIONS, Method, Questions, all_methods, features
from superalign.models import LocalModel, load_model
from superalign.pipeline.desk import Desk, listed, register
from superalign.pipeline.generalize_beyond import play_hard, play_truth
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes, generalize_sizes
from superalign.pipeline.generalize_jobs import Shelves, label_jobs, method_jobs, shelf_of
from superalign.pipeline.generalize_overseen import check_overseers, play_overseers
from superalign.pipeline.generalize_pages import PLAIN, Exercise, drawn, exercises_of, opened, own_questions, page_of
from superalign.pipeline.generalize_plan import OVERSEEN, SCALED, Round, by_body, plan_of, rounds_of
from superalign.pipeline.generalize_scores import scored
from superalign.pipeline.generalize_work import (
    FAMILY,
    Shelf,
    features_to_bytes,
    label_all,
    read_after,
    teach_all,
    untrained_like,
)
from superalign.pipeline.room import check_texts_room, texts_of
from superalign.pipeline.stored import OfKey, Stored
from superalign.training.features import TextFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Players:
    """The models of a sweep, by who they are in it."""

    weak: LocalModel
    strong: LocalModel
    between: LocalModel | None
    larger: LocalModel | None
    untrained: LocalModel | None
    """The strong model's shape without its training; for family members only."""

    @property
    def all(self) -> dict[str, LocalModel]:
        """Name in `Material.readings` → model."""
        return {
            name: model
            for name in ("weak", "strong", "between", "larger", "untrained")
            if (model := getattr(self, name))
        }

    def readers(self, exercise: str) -> dict[str, LocalModel]:
        """Those who read an exercise: pairs of sizes are played on the plain one only."""
        return {name: model for name, model in self.all.items() if name != "larger" or exercise == PLAIN}


def generalize(config: GeneralizeConfig, *, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Play and score the sweep; returns where the ledger stands. What was finished before is not done again.

    Raises SuperalignError for unknown methods or supervisors, and for workspaces, models or data that can't be used.
    """
    config = playable(config)
    methods = chosen_methods(config)
    sizes = generalize_sizes(config)
    own = own_questions(config, sizes) if config.data is not None else None
    players = players_of(config)
    check_texts_room("sweep", lambda: _all_texts(config, sizes, own), *players.all.values())
    with Workspace.open(config.workspace, create=True) as ws:
        desk = Desk(ws=ws, config=config, sizes=sizes, say=say)  # type: ignore[arg-type]
        _begin(desk, config, sizes, players, methods)
        for name, model in players.all.items():
            why = f"the {name} model: pretrained before any signal of this ledger was drawn"
            register(desk, model, base=why, address=getattr(config, name, ""))
        exercises = exercises_of(desk, config, sizes, own)
        asked = partial(opened, desk, config, exercises)
        desk.stage("questions", lambda: {"exercises": asked(), "subject": players.strong.identity})
        shelves = {name: shelves_of(desk, config, exercise, players) for name, exercise in exercises.items()}
        if "oversight" in config.parts:
            shelves[OVERSEEN] = play_overseers(desk, config, exercises[PLAIN], shelves[PLAIN], players)
        for each in rounds_of(config, sizes, methods):
            play_round(desk, each, shelves)
        if "easy-to-hard" in config.parts:
            play_hard(desk, config, shelves)
        if "truth" in config.parts:
            play_truth(desk, config, exercises[PLAIN], players.strong.digest)
        done = Stored(ws, OfKey(desk.key("run")))
        for part, work in scored(desk, config, tuple(methods), done).items():
            with desk.together(f"scores, {part}") as new:
                if new:
                    say(f"scores, {part}")
                    work()
        return {
            "workspace": str(config.workspace),
            "sweep": desk.key("run"),
            "head": ws.ledger.head,
            "events": len(ws.ledger),
        }


def _all_texts(
    config: GeneralizeConfig, sizes: GeneralizeSizes, own: tuple[Questions, Questions] | None
) -> Iterator[str]:
    """Whatever is read in a sweep, distractors apart."""
    if own is not None:
        return (text for side in own for texts in side.texts for text in texts)
    return texts_of([partial(page_of, config, sizes, split) for split in ("train", "validation")])


def playable(config: GeneralizeConfig) -> GeneralizeConfig:
    """The options without what these models or data can't be asked: a quirk is planted in family members, on slips."""
    slips = config.data is None and config.task == "slips"
    able = {"truth": slips and config.strong.startswith(FAMILY), "oversight": slips}
    kept = tuple(part for part in config.parts if able.get(part, True)) or ("methods",)
    stranger = config.larger.startswith(FAMILY) and not config.strong.startswith(FAMILY)
    larger = "" if stranger or config.larger == config.strong or "scaling" not in kept else config.larger
    return replace(config, parts=kept, larger=larger)


def expected_stages(config: GeneralizeConfig) -> int:
    """How many times `say` is called in a sweep from nothing, about: what a progress bar counts to."""
    (frozen, changing), cases = by_body(chosen_methods(config)), len(config.settings) * len(config.supervision)
    exercises = 1 + len({"distractor", "loud"} & set(config.settings))
    found = 1 + 8 * exercises + cases * (1 + len(frozen)) * ("methods" in config.parts)
    found += cases * len(changing) * ("bodies" in config.parts)
    return found + (1 + len(config.overseers) * (2 + len(SCALED))) * ("oversight" in config.parts)


def chosen_methods(config: GeneralizeConfig) -> dict[str, Method]:
    """The methods to be played; zero-shot and naive always are. Raises SuperalignError for names that there aren't."""
    known = all_methods()
    if unknown := [name for name in config.methods if name not in known]:
        raise SuperalignError(f"--methods {unknown[0]}: there is no such method; use any of: {'; '.join(known)}")
    if unknown := [name for name in config.supervision if name not in SUPERVISIONS]:
        raise SuperalignError(f"--supervision {unknown[0]}: no such supervisor; use any of: {'; '.join(SUPERVISIONS)}")
    if not config.settings or not config.supervision or config.seeds < 0 or config.seed < 0:
        raise SuperalignError("a sweep needs a setting, a supervisor, and seeds from 0 on")
    if "oversight" in config.parts:
        check_overseers(config)
    names = dict.fromkeys(("zero-shot", "naive", *(config.methods or known)))
    return {name: known[name] for name in names}


def players_of(config: GeneralizeConfig) -> Players:
    """Load the models. Raises SuperalignError where one can't be loaded."""
    strong = load_model(config.strong)
    return Players(
        weak=load_model(config.weak),
        strong=strong,
        between=load_model(config.between) if config.between else None,
        larger=load_model(config.larger) if config.larger else None,
        untrained=untrained_like(config.strong, strong),
    )


def _begin(
    desk: Desk, config: GeneralizeConfig, sizes: GeneralizeSizes, players: Players, methods: Mapping[str, Method]
) -> None:
    """The run and, sealed before the first answer, the plan with its primary contrasts."""
    import torch

    body = {
        "generalization": listed(config),
        "sizes": asdict(sizes),
        "items": drawn(config, sizes),
        "methods": list(methods),
        "models": {name: model.digest for name, model in players.all.items()},
        "version": superalign.__version__,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__},
    }
    for event in desk.ws.ledger.events("run"):
        same = all(event.body.get(part) == body[part] for part in ("generalization", "sizes"))
        if same and event.body.get("models") != body["models"]:
            raise SuperalignError(
                f"this sweep was begun with other weights at the same addresses (event {event.seq}): "
                "play them in a workspace of their own"
            )
    for kind, actor, content in (("run", "notary", body), ("plan", "evaluator", plan_of(desk, config, methods))):
        if not any(event.body == content for event in desk.ws.ledger.events(kind)):
            desk.ws.ledger.append(kind, content, actor=actor)


def play_round(desk: Desk, each: Round, shelves: Shelves) -> None:
    """Every method of every case: first labels and bounds, which methods share, then the students."""
    sizes: GeneralizeSizes = desk.sizes  # type: ignore[assignment]
    labelled = label_jobs(each.cases, shelves, each.seeds, sizes)
    courses = desk.stages(label_all, {name: (job, "") for name, job in labelled.items()})
    taught = method_jobs(each.cases, shelves, courses, each.untrained, first=each.first)
    desk.stages(teach_all, {name: (job, "") for name, job in taught.items()})


def shelves_of(desk: Desk, config: GeneralizeConfig, exercise: Exercise, players: Players) -> tuple[Shelf, Shelf]:
    """Where the features of an exercise's two sides lie, once every model has read them."""
    return tuple(  # type: ignore[return-value]
        _shelf(desk, questions, digest, players.readers(exercise.name), config.strong)
        for questions, digest in ((exercise.train, exercise.train_digest), (exercise.exam, exercise.exam_digest))
    )


def _shelf(desk: Desk, questions: Questions, digest: str, readers: Mapping[str, LocalModel], strong: str) -> Shelf:
    found = []
    for name, model in readers.items():

        def work(model: LocalModel = model) -> dict[str, str]:
            return {"features": desk.ws.store.put(features_to_bytes(features_of(model, questions)))}

        stored = desk.once(f"features of {digest[:12]} under {model.digest[:12]}", work)
        found.append((name, stored["features"]))
    return shelf_of(desk.ws.store.root, tuple(found), questions, digest=digest, strong=strong)


def features_of(model: LocalModel, questions: Questions) -> tuple[TextFeatures, ...]:
    """As `features`, with the context that the family reads before code; other models read the texts alone."""
    context, skip = read_after(model)
    return features(model, questions, context=context, skip=skip)
