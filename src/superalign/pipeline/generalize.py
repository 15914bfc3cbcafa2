"""`superalign generalize`: every method of weak-to-strong learning under one protocol, stage by stage, into the ledger.

Features of a page under a model, labels and bounds of a setting, and every method's answers are stages of their own:
what was finished is found again by all that it depends on. Students never meet the truth of the exam.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import superalign
from superalign.evidence import SuperalignError, Workspace
from superalign.generalization import SUPERVISIONS, Method, Questions, all_methods, features
from superalign.generalization.questions import FAMILY_CONTEXT
from superalign.models import LocalModel, load_model
from superalign.models.words import one_token_a_word
from superalign.pipeline.desk import Desk, register
from superalign.pipeline.generalize_beyond import play_hard, play_truth
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes, generalize_sizes
from superalign.pipeline.generalize_jobs import Shelves, label_jobs, method_jobs, shelf_of
from superalign.pipeline.generalize_pages import PLAIN, Exercise, drawn, exercises_of, opened, own_questions
from superalign.pipeline.generalize_plan import Case, cases_of, plan_of, scaling_cases
from superalign.pipeline.generalize_scores import scored
from superalign.pipeline.generalize_work import Shelf, features_to_bytes, label_all, teach_all
from superalign.pipeline.stored import Stored
from superalign.training.features import TextFeatures

FAMILY = "family:"


class _Keyed(NamedTuple):
    """A sweep, as far as its stages are named by it."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Players:
    """The models of a sweep, by who they are in it."""

    weak: LocalModel
    strong: LocalModel
    between: LocalModel | None
    untrained: LocalModel | None
    """The strong model's shape without its training; for family members only."""

    @property
    def all(self) -> dict[str, LocalModel]:
        """Name in `Material.readings` → model."""
        named = {"weak": self.weak, "strong": self.strong, "between": self.between, "untrained": self.untrained}
        return {name: model for name, model in named.items() if model is not None}


def generalize(config: GeneralizeConfig, *, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Play and score the sweep; returns where the ledger stands. What was finished before is not done again.

    Raises SuperalignError for unknown methods or supervisors, and for workspaces, models or data that can't be used.
    """
    config = playable(config)
    methods = chosen_methods(config)
    sizes = generalize_sizes(config)
    own = own_questions(config, sizes) if config.data is not None else None
    players = players_of(config)
    with Workspace.open(config.workspace, create=True) as ws:
        desk = Desk(ws=ws, config=config, sizes=sizes, say=say)  # type: ignore[arg-type]
        _begin(desk, config, sizes, players, methods)
        for name, model in players.all.items():
            register(desk, model, base=f"the {name} model: pretrained before any signal of this ledger was drawn")
        exercises = exercises_of(desk, config, sizes, own)
        asked = partial(opened, desk, config, exercises)
        desk.stage("questions", lambda: {"exercises": asked(), "subject": players.strong.identity})
        shelves = {name: shelves_of(desk, exercise, players) for name, exercise in exercises.items()}
        first, names = config.seed, tuple(methods)
        if "methods" in config.parts:
            seeds = tuple(range(first, first + sizes.seeds))
            play_cases(desk, cases_of(config, names), shelves, seeds=seeds, untrained=sizes.untrained_seeds)
        if "scaling" in config.parts:
            seeds = tuple(range(first, first + sizes.scaling_seeds))
            play_cases(desk, scaling_cases(config), shelves, seeds=seeds, untrained=0)
        if "easy-to-hard" in config.parts:
            play_hard(desk, config, shelves)
        if "truth" in config.parts:
            play_truth(desk, config, exercises[PLAIN], players.strong.digest)
        done = Stored(ws, _Keyed(desk.key("run")))
        for part, work in scored(desk, config, names, done).items():
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


def playable(config: GeneralizeConfig) -> GeneralizeConfig:
    """The options without what these models or data can't be asked: a quirk is planted in family members, on slips."""
    if config.data is None and config.task == "slips" and config.strong.startswith(FAMILY):
        return config
    kept = tuple(part for part in config.parts if part != "truth")
    return replace(config, parts=kept or ("methods",))


def expected_stages(config: GeneralizeConfig) -> int:
    """How many times `say` is called in a sweep from nothing, about: what a progress bar counts to."""
    methods, cases = len(chosen_methods(config)), len(config.settings) * len(config.supervision)
    exercises = 1 + len({"distractor", "loud"} & set(config.settings))
    return 1 + 8 * exercises + cases * (1 + methods) * ("methods" in config.parts)


def chosen_methods(config: GeneralizeConfig) -> dict[str, Method]:
    """The methods to be played; zero-shot and naive always are. Raises SuperalignError for names that there aren't."""
    known = all_methods()
    if unknown := [name for name in config.methods if name not in known]:
        raise SuperalignError(f"--methods {unknown[0]}: there is no such method; use any of: {'; '.join(known)}")
    if unknown := [name for name in config.supervision if name not in SUPERVISIONS]:
        raise SuperalignError(f"--supervision {unknown[0]}: no such supervisor; use any of: {'; '.join(SUPERVISIONS)}")
    if not config.settings or not config.supervision or config.seeds < 0 or config.seed < 0:
        raise SuperalignError("a sweep needs a setting, a supervisor, and seeds from 0 on")
    names = dict.fromkeys(("zero-shot", "naive", *(config.methods or known)))
    return {name: known[name] for name in names}


def players_of(config: GeneralizeConfig) -> Players:
    """Load the models. Raises SuperalignError where one can't be loaded."""
    from superalign.training.family import SIZES, fresh_model

    strong, size = load_model(config.strong), config.strong.removeprefix(FAMILY)
    untrained = None
    if config.strong.startswith(FAMILY) and size in SIZES:
        network = fresh_model(size, seed=0).eval()
        untrained = LocalModel(name="untrained", network=network, tokenizer=strong.tokenizer).sealed()
    return Players(
        weak=load_model(config.weak),
        strong=strong,
        between=load_model(config.between) if config.between else None,
        untrained=untrained,
    )


def _begin(
    desk: Desk, config: GeneralizeConfig, sizes: GeneralizeSizes, players: Players, methods: Mapping[str, Method]
) -> None:
    """The run and, sealed before the first answer, the plan with its primary contrasts."""
    import torch

    body = {
        "generalization": _stated(config),
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


def _stated(config: GeneralizeConfig) -> dict[str, Any]:
    """The options as the ledger states them; where things lie, and on how many processes, is no part of it."""
    told = {k: list(v) if isinstance(v, tuple) else str(v) for k, v in asdict(config).items()}
    return {k: v for k, v in told.items() if k not in ("workspace", "workers", "json")}


def play_cases(desk: Desk, cases: Sequence[Case], shelves: Shelves, *, seeds: tuple[int, ...], untrained: int) -> None:
    """Every method of every case: first labels and bounds, which methods share, then the students."""
    sizes: GeneralizeSizes = desk.sizes  # type: ignore[assignment]
    labelled = label_jobs(cases, shelves, seeds, sizes)
    courses = desk.stages(label_all, {name: (job, "") for name, job in labelled.items()})
    taught = method_jobs(cases, shelves, courses, untrained)
    desk.stages(teach_all, {name: (job, "") for name, job in taught.items()})


def shelves_of(desk: Desk, exercise: Exercise, players: Players) -> tuple[Shelf, Shelf]:
    """Where the features of an exercise's two sides lie, once every model has read them."""
    return tuple(  # type: ignore[return-value]
        _shelf(desk, questions, digest, players)
        for questions, digest in ((exercise.train, exercise.train_digest), (exercise.exam, exercise.exam_digest))
    )


def _shelf(desk: Desk, questions: Questions, digest: str, players: Players) -> Shelf:
    found = []
    for name, model in players.all.items():

        def work(model: LocalModel = model) -> dict[str, str]:
            return {"features": desk.ws.store.put(features_to_bytes(features_of(model, questions)))}

        stored = desk.once(f"features of {digest[:12]} under {model.digest[:12]}", work)
        found.append(("s" if name == "between" else name, stored["features"]))
    return shelf_of(desk.ws.store.root, tuple(found), questions)


def features_of(model: LocalModel, questions: Questions) -> tuple[TextFeatures, ...]:
    """As `features`, with the context that the family reads before code; other models read the texts alone."""
    context, skip = (FAMILY_CONTEXT, 2) if one_token_a_word(model.tokenizer) else ("", 0)
    return features(model, questions, context=context, skip=skip)
