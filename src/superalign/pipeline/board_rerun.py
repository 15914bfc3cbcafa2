"""V3 of leaderboards: every cell played again by the same players, and its episodes compared with the stored ones.

Nets come from the store; the few weights that are fitted on the lesson are fitted again. Last digits differ between
machines, and now and then one of them decides what an adviser quotes: a cell is alike when nearly all of its
episodes end in the same verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from superalign.evidence import SuperalignError, Workspace
from superalign.oversight import play
from superalign.pipeline.board import at_the_table
from superalign.pipeline.board_config import PERSON, PROMPT, SPEAKING, WORDS, speaks
from superalign.pipeline.board_curves import budget_cells
from superalign.pipeline.board_own import lesson_of
from superalign.pipeline.board_recount import Board, lesson_then
from superalign.pipeline.board_scores import Cell, cells_of, chosen_protocols, packed_episode
from superalign.pipeline.board_seats import Cast, Field, cast_of, in_their_seats, seated
from superalign.pipeline.pages import open_page
from superalign.pipeline.spoken import Voices, settled_voices, voices_of
from superalign.pipeline.spoken_heard import Ear
from superalign.pipeline.spoken_recount import voices_again
from superalign.pipeline.stored import Stored, shipped
from superalign.pipeline.tally import Tally

TOLERANCE = 1e-3
"""Absolute, on beliefs."""


class PlayedAgain(NamedTuple):
    """One cell, played again."""

    stage: str
    episodes: int
    unlike: int
    largest: float
    """Largest difference of a verdict among the episodes that are alike."""


def play_boards_again(board: Board, ws: Workspace, *, say: Callable[[str], None]) -> Iterator[PlayedAgain]:
    """All cells of a board that were scored. Raises SuperalignError where a person judged, or models are not known."""
    config = board.config
    if config.judge == PERSON:
        raise SuperalignError("a person judged: nobody is asked again")
    judge, advisers = config.judge.removeprefix(PROMPT).removeprefix(WORDS), config.advisers.removeprefix(WORDS)
    for address in (judge, advisers, config.stand_in):
        if address.startswith(SPEAKING):
            raise SuperalignError(
                f"{address!r:.80} is asked elsewhere, and its weights are not in the store: such boards end at level 2"
            )
        if not shipped(address):
            raise SuperalignError(f"{address!r:.80} is an address that no ledger can give: such boards end at level 2")
    chosen, done = chosen_protocols(config), Stored(ws, board)
    cast = replace(cast_of(config, _voices(board, ws, done)), own=board.own)
    for task in config.tasks:
        if done(f"{task}, measured") is None:
            continue
        rounds = [(config, cells_of(task, chosen))]
        first = f"{task}: {rounds[0][1][0].name}, seed {config.seed}"
        field = _field(board, ws, task, str(done(first)["subject"]))
        rounds += [(replace(config, budget=b), budget_cells(task, b, chosen)) for b in config.curve]
        for at, cells in rounds if done(f"{task}, curve") is not None else rounds[:1]:
            for seed in range(config.seed, config.seed + config.seeds):
                players = seated(board.desk(ws), field, at, cast, seed)
                for cell in cells:
                    stage = f"{task}: {cell.name}, seed {seed}"
                    say(stage)
                    stored = ws.store.get_json(done(stage)["episodes"])["episodes"]
                    again = _again(board, ws, cell, field, at, players, seed, cast)
                    yield PlayedAgain(stage, len(stored), *compared(stored, again))


def _voices(board: Board, ws: Workspace, done: Stored) -> Voices | None:
    """Who speaks on this machine too: the models of the addresses, with the prompts of the store."""
    config = board.config
    if not speaks(config.judge) and not speaks(config.advisers):
        return None
    there = voices_again(board.event.body["spoken"], config, ws.store)
    here = voices_of(config, {}, files=there.files)
    assert here is not None
    for who, voice in here.named().items():
        if voice.identity != there.named()[who].identity:
            raise SuperalignError(f"the {who} was {there.named()[who].identity:.80}, and here is {voice.identity}")
    return settled_voices(config, here)


def _field(board: Board, ws: Workspace, task: str, subject: str) -> Field:
    """Lesson and exam of a task; the lesson is what the judge `subject` (`name@digest`) is on record as fitted to."""
    kept = board.desk(Tally(ws))
    whole, graph = board.page(task, "train"), ws.state.graph
    fitted = {edge.source for edge in graph.edges if edge.target == subject.rpartition("@")[2] and edge.mode == "fit"}
    data = sorted(each for each in fitted if graph.nodes[each].kind == "data")
    lesson = (
        lesson_then(ws, board, task, data[0])
        if len(data) == 1 and task != "pixels"
        else lesson_of(board.desk(ws), whole)
    )
    return Field(task=task, lesson=open_page(kept, lesson), test=open_page(kept, board.page(task, "validation")))


def _again(
    board: Board, ws: Workspace, cell: Cell, field: Field, config: Any, players: dict[str, Any], seed: int, cast: Cast
) -> list[dict[str, Any]]:
    table = at_the_table(board.desk(ws), cell, field, config, players, seed)
    if cast.voices:
        speakers = {who: Ear(voice.speaker) for who, voice in cast.voices.named().items()}
        table = in_their_seats(cell, config, cast.voices, table, speakers)
    return [packed_episode(e) for e in play(cell.protocol, field.cases(field.test), table, seed=seed)]


def compared(stored: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]]) -> tuple[int, float]:
    """How many episodes end otherwise, and how far the verdicts of the others lie apart at most.

    >>> compared([{"item": "x", "sides": [], "belief": [0.5, 0.5]}], [{"item": "x", "sides": [], "belief": [0.9, 0.1]}])
    (1, 0.0)
    """
    known = {(e["item"], tuple(e["sides"])): e["belief"] for e in again}
    unlike, largest = max(0, len(again) - len(stored)), 0.0
    for e in stored:
        gap = _gap(e["belief"], known.get((e["item"], tuple(e["sides"])), ()))
        unlike, largest = (unlike + 1, largest) if gap > TOLERANCE else (unlike, max(largest, gap))
    return unlike, largest


def _gap(a: Any, b: Any) -> float:
    if a is None or b is None:
        return 0.0 if a is b else float("inf")
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) if len(a) == len(b) else float("inf")
