"""`superalign oversight`: every protocol on the same items, each cell a stage, scores into the ledger.

A cell is one protocol on one task with one seed. Players are seated anew for each task: a judge fitted on the training
split, advisers that search against that judge, critics that go by their own reading. Protocols in which one or two
advisers argue are played twice: by the judge as it is, and by one adapted to the protocol, its advisers searching
against the adapted judge in their turn. Some of it is played again at further budgets.
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

import superalign
from superalign.evidence import Finding, SuperalignError, Workspace, holdout
from superalign.oversight import Lesson, Protocol, play
from superalign.oversight.identity import fitted_digest, rules_digest
from superalign.pipeline.board_config import (
    ADDED,
    PERSON,
    PRIMARY,
    SETTINGS,
    SPENDING,
    BoardSizes,
    OversightConfig,
    board_sizes,
    is_own,
    settled,
    sized,
    speaks,
    why_not,
)
from superalign.pipeline.board_curves import budget_cells, cells_in_all, score_curve
from superalign.pipeline.board_own import Own, fits_own, keep_own, lesson_of, told_of, with_own
from superalign.pipeline.board_recount import boards_of
from superalign.pipeline.board_scores import (
    Cell,
    cells_of,
    chosen_protocols,
    clusters_of,
    drawn,
    left_out,
    packed_episode,
    page_of,
    score_task,
)
from superalign.pipeline.board_seats import (
    Cast,
    Field,
    cast_of,
    enter_judge,
    in_their_seats,
    referee_of,
    seated,
    trained_advisers,
)
from superalign.pipeline.desk import Desk, register
from superalign.pipeline.pages import open_page
from superalign.pipeline.seats import adapted_players
from superalign.pipeline.spoken import described, enter_voices, kept_by, settled_voices, voices_of
from superalign.pipeline.spoken_estimate import Estimate, afforded
from superalign.pipeline.spoken_heard import Ear
from superalign.pipeline.spoken_recount import bills_of, heard_of

MOST_SILENT = 0.5
"""Share of a cell's plays in which a judge may fail."""


def play_board(
    config: OversightConfig,
    *,
    own: Mapping[str, Own] | None = None,
    say: Callable[[str], None] = lambda text: None,
    tell: Callable[[Estimate], None] = lambda estimate: None,
) -> dict[str, Any]:
    """Play and score the board; returns where the ledger stands. What was finished before is not done again.

    Where models speak, `tell` is told what it will cost at most before the first request goes out. `own`: data that
    `with_own` has read already.

    Raises SuperalignError for unknown protocols, workspaces or models that can't be used, and, with `resume`, where
    there is nothing to go on with; then nothing is written. What a model that speaks raises (a key that is refused, a
    limit that is reached, and none is left) ends the board; its replies are kept, and the same call goes on from them.
    """
    if own is None:
        config, own = with_own(config)
    if config.resume:
        played_before(config, own)
    terms, config = config, settled(config)
    chosen = chosen_protocols(config)
    fits_own(config, own)
    sizes = sized(board_sizes(config.preset), config)
    for task in config.tasks if config.items else own:
        page = page_of(task, "validation", sizes, own)
        if len(page.items) < config.items:
            raise SuperalignError(f"{task}: --items {config.items}, and {len(page.items)} can be shown: ask for fewer")
        if len(set(clusters_of(task, page).values())) < 2:
            raise SuperalignError(
                f"{task}: what is judged, {len(page.items)} items, is one cluster, and nothing follows from it: raise "
                "--items, or bring rows of further clusters"
            )
    voices = voices_of(terms, chosen)
    try:
        if voices:
            tell(afforded(terms, sizes, chosen, voices, own))
        cast = replace(cast_of(config, voices), own=own)
        _check_room(config, sizes, cast)
        with Workspace.open(config.workspace, create=True) as ws:
            if voices:
                voices = kept_by(voices, terms, ws)
            desk = Desk(ws=ws, config=config, sizes=sizes, say=say)
            return _play(desk, config, chosen, replace(cast, voices=voices))
    finally:
        if voices:
            voices.close()


def _check_room(config: OversightConfig, sizes: BoardSizes, cast: Cast) -> None:
    """Raises SuperalignError where a model would be shown texts of our tasks cut; yours are looked at when read."""
    from superalign.pipeline.room import check_texts_room, texts_of

    for task in sorted({"slips", "traces", "mutants"} & set(config.tasks)):
        splits = [partial(page_of, task, split, sizes) for split in ("train", "validation")]
        check_texts_room(f"board on {task}", partial(texts_of, splits), *cast.models)


def _play(desk: Desk, config: OversightConfig, chosen: Mapping[str, Protocol], cast: Cast) -> dict[str, Any]:
    ws = desk.ws
    _begin(desk, config, chosen, cast)
    if cast.voices:
        enter_voices(desk, cast.voices)
        cast = replace(cast, voices=settled_voices(config, cast.voices))
    reason = "pretrained before any signal of this ledger was drawn; corpus hash in its recipe"
    for model, address in cast.addressed(config):
        register(desk, model, base=reason, address=address)
    for task in config.tasks:
        held = page_of(task, "validation", desk.sizes, cast.own)
        holdout.fingerprint(ws, f"construction/{task.partition('.')[0]}/validation", told_of(held))
    for task in config.tasks:
        play_task(desk, config, task, chosen, cast)
    return {
        "workspace": str(config.workspace),
        "board": desk.key("run"),
        "head": ws.ledger.head,
        "events": len(ws.ledger),
    }


def played_before(config: OversightConfig, own: Mapping[str, Own] | None = None) -> tuple[int, int]:
    """How many of a board's cells a workspace holds, and how many there are in all.

    Raises SuperalignError where it holds no board of exactly these options, and says what differs from the last one.
    """
    config = settled(config if own is not None else with_own(config)[0])
    chosen = chosen_protocols(config)
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        boards, odd = boards_of(ws)
        sizes = sized(board_sizes(config.preset), config)
        desk = Desk(ws=ws, config=config, sizes=sizes, say=lambda text: None)
        if desk.key("run") not in {board.key for board in boards}:
            raise SuperalignError(_nothing_to_resume(config, boards[-1].config if boards else None, odd))
        held = {e.body["stage"] for e in ws.ledger.events("stage") if e.body.get("run") == desk.key("run")}
    wanted = {f"{task}: {cell.name}, seed {seed}" for task, cell, seed in cells_in_all(config, chosen)}
    return len(wanted & held), len(wanted)


def _nothing_to_resume(config: OversightConfig, last: OversightConfig | None, odd: Sequence[Finding]) -> str:
    """What to say where the workspace holds no such board."""
    if last is None:
        found = f"it holds one that can't be played here: {odd[0].what}" if odd else "it holds none"
        return f"there is no leaderboard to resume in {config.workspace}: {found}; start one without --resume"
    names = [f.name for f in fields(OversightConfig) if f.name not in SETTINGS]
    told = [
        f"--{name} was {_words(getattr(last, name))} and is {_words(getattr(config, name))}"
        for name in names
        if getattr(last, name) != getattr(config, name)
    ]
    differs = "; ".join(told) or "its sizes, which are those of another version of superalign"
    return (
        f"no leaderboard in {config.workspace} has these options. Of the last one there, these differ: {differs}. "
        "Repeat its options to go on with it, or start this one without --resume"
    )


def _words(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _begin(desk: Desk, config: OversightConfig, chosen: Mapping[str, Protocol], cast: Cast) -> None:
    """The run and, sealed before the first episode, the plan with its primary contrasts.

    Raises SuperalignError where this board was begun with other weights at the same address.
    """
    import torch

    usual = OversightConfig()
    stated = {
        k: list(v) if isinstance(v, tuple) else str(v)
        for k, v in asdict(config).items()
        if k not in ("workspace", "resume", *SPENDING)
        and (v != getattr(usual, k) or (k not in ADDED if not cast.voices else k not in ("items", "judge_tokens")))
    }
    body = {
        "board": stated,
        "sizes": asdict(desk.sizes),
        "items": drawn(config, desk.sizes, cast.own),
        "models": [model.digest for model in cast.models],
        "version": superalign.__version__,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__},
    }
    if cast.voices:
        body["spoken"] = described(config, cast.voices, desk.key("run"), left_out(config))
    if cast.own:
        unfit = {task: unplayed(task, chosen) for task in cast.own}
        body["data"] = {"board": desk.key("run"), "tasks": keep_own(desk.ws, cast.own), "left out": unfit}
    plan = {
        "board": desk.key("run"),
        "tasks": list(config.tasks),
        "protocols": list(chosen),
        "primary": [f"{a} - {b}, accuracy, on each task" for a, b in PRIMARY if {a, b} <= set(chosen)],
        "correction": "holm over the primary contrasts of a task, benjamini-hochberg over all others; times the tasks",
        "equivalence": "two one-sided tests, 2 points, corrected in the same families",
        "seeds": "items and seeds are in every interval, calibration aside; one seed: items alone",
        "curve": {
            str(b): [f"{task}: {cell.name}" for task in config.tasks for cell in budget_cells(task, b, chosen)]
            for b in config.curve
        },
    }
    for event in desk.ws.ledger.events("run"):
        same = all(event.body.get(part) == body[part] for part in ("board", "sizes"))
        if same and event.body.get("models", body["models"]) != body["models"]:
            raise SuperalignError(
                f"this board was begun with other weights at {config.judge} or {config.advisers} (event {event.seq}): "
                "play them in a workspace of their own"
            )
        if same and event.body.get("spoken") != body.get("spoken"):
            raise SuperalignError(
                f"this board was begun with another model at {config.judge} or {config.advisers}, or with other words "
                f"in the same prompt's file (event {event.seq}): play them in a workspace of their own"
            )
    for kind, actor, content in (("run", "notary", body), ("plan", "evaluator", plan)):
        if not any(event.body == content for event in desk.ws.ledger.events(kind)):
            desk.ws.ledger.append(kind, content, actor=actor)


def unplayed(task: str, chosen: Mapping[str, Protocol]) -> dict[str, str]:
    """Protocol → why it is not played on data of that format."""
    found = {
        name: why_not(name, protocol.referee, task, learns=protocol.learns)
        for name, protocol in chosen.items()
        if is_own(task)
    }
    return {name: why for name, why in found.items() if why}


def play_task(
    desk: Desk,
    config: OversightConfig,
    task: str,
    chosen: Mapping[str, Protocol],
    cast: Cast,
) -> None:
    """All cells of one task, then their scores."""
    lesson = lesson_of(desk, page_of(task, "train", desk.sizes, cast.own))
    test = page_of(task, "validation", desk.sizes, cast.own)
    field = Field(task=task, lesson=open_page(desk, lesson), test=open_page(desk, test))
    if lesson.items:
        holdout.screen(desk.ws, field.lesson.digest, told_of(lesson))
    done = _all_played(desk, field, config, cells_of(task, chosen), cast)
    with desk.together(f"{task}, measured") as new:
        if new:
            score_task(desk, task, field.test, done)
    if not config.curve:
        return
    for budget in config.curve:
        at = replace(config, budget=budget)
        done |= _all_played(desk, field, at, budget_cells(task, budget, chosen), cast)
    with desk.together(f"{task}, curve") as new:
        if new:
            score_curve(desk, task, field.test, chosen, done)


def _all_played(
    desk: Desk, field: Field, config: OversightConfig, cells: Sequence[Cell], cast: Cast
) -> dict[str, list[Any]]:
    """Cell → what it stored, a result a seed; players are seated for a seed once something is left to play with it."""
    done: dict[str, list[Any]] = {cell.name: [] for cell in cells}
    for seed in range(config.seed, config.seed + config.seeds):
        players: dict[str, Any] | None = None
        for cell in cells:
            name = f"{field.task}: {cell.name}, seed {seed}"
            key = (seed, *cast.digests, rules_digest(cell.protocol))
            kept = desk.finished(name, *key)
            if kept is None:
                players = players or seated(desk, field, config, cast, seed)
                desk.say(name)
                began = time.monotonic()
                result = _played(desk, cell, field, config, players, seed, cast)
                kept = desk.finish(name, result, *key, seconds=time.monotonic() - began)
            done[cell.name].append(kept)
    return done


def _judged_enough(task: str, name: str, episodes: Sequence[Mapping[str, Any]]) -> None:
    """Raises SuperalignError where the judge failed in most plays: that is an outage, and no accuracy."""
    silent = [e for e in episodes if e["belief"] is None]
    if len(silent) > MOST_SILENT * len(episodes):
        kinds = Counter(kind for e in silent for kind in e["failures"]).most_common(2)
        raise SuperalignError(
            f"{task}, {name}: no verdict in {len(silent)} of {len(episodes)} plays ("
            + ", ".join(f"{kind}: {count}" for kind, count in kinds)
            + "); they are not kept. Mend the judge, or seat another, and run this again: finished cells stay"
        )


def _played(
    desk: Desk, cell: Cell, field: Field, config: OversightConfig, players: dict[str, Any], seed: int, cast: Cast
) -> dict[str, Any]:
    """Play a cell and store its episodes; its judge is entered as fitted from the models and the lesson's truths."""
    players = at_the_table(desk, cell, field, config, players, seed)
    ears = {who: Ear(voice.speaker) for who, voice in cast.voices.named().items()} if cast.voices else {}
    if cast.voices:
        players = in_their_seats(cell, config, cast.voices, players, ears)
    episodes = [packed_episode(e) for e in play(cell.protocol, field.cases(field.test), players, seed=seed)]
    _judged_enough(field.task, cell.name, episodes)
    digest = desk.ws.store.put_json({"protocol": cell.name, "task": field.task, "seed": seed, "episodes": episodes})
    subject = enter_judge(desk, cell.name, field, config, fitted_digest(players), cast)
    result: dict[str, Any] = {"episodes": digest, "subject": subject}
    if cast.voices:
        scale = getattr(players["judge"], "scale", 1.0) if cast.voices.judge else 1.0
        heard = heard_of(desk, cast.voices, ears, scale)
        bills = bills_of(desk.ws.store, cell, config, cast.voices, heard, field.cases(field.test), episodes)
        result["spoken"] = heard | {"bills": desk.ws.store.put_json(bills)}
    return result


def at_the_table(
    desk: Desk, cell: Cell, field: Field, config: OversightConfig, players: dict[str, Any], seed: int
) -> dict[str, Any]:
    """The players of one cell: whoever is trained for its protocol, or adapted to it, in their seats."""
    lesson = Lesson(
        cases=field.cases(field.lesson)[: desk.sizes.games],
        answers=field.lesson.answers[: desk.sizes.games].tolist(),
        players=players | {"referee": referee_of(field, field.lesson, config)},
        seed=seed,
    )
    argued = cell.protocol.seats and cell.protocol.train is None
    if config.advise == "trained" and argued and config.judge != PERSON:
        lesson = replace(lesson, players={**lesson.players, **trained_advisers(cell.protocol, lesson, config.budget)})
    trained = lesson.players
    if cell.adapts:
        trained = adapted_players(cell.protocol, lesson)
    elif cell.protocol.train is not None and not (cell.protocol.wraps and speaks(config.advisers)):
        trained = cell.protocol.train(lesson)
    return {**players, **trained, "referee": players.get("referee")}
