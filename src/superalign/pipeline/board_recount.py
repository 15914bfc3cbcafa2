"""V2 of leaderboards: what a stranger's ledger says was played, checked, and its scores made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from superalign.evidence import Event, Finding, Workspace
from superalign.oversight import case_of
from superalign.oversight.record import played_again
from superalign.oversight.referee import PieceReferee
from superalign.oversight.types import Case
from superalign.pipeline.board_config import SETTINGS, TASKS, BoardSizes, OversightConfig, is_own, speaks
from superalign.pipeline.board_curves import budget_cells, score_curve
from superalign.pipeline.board_own import Own, own_again, unrepeated
from superalign.pipeline.board_scores import (
    Cell,
    cells_of,
    chosen_protocols,
    drawn,
    packed_episode,
    page_of,
    score_task,
)
from superalign.pipeline.board_seats import Field, scale_of, tempering_stage
from superalign.pipeline.desk import Desk
from superalign.pipeline.pages import Opened, open_page
from superalign.pipeline.recounted import counted, is_whole, sealed_before, sizes_of, unfit
from superalign.pipeline.spoken import Voices, judge_in_words
from superalign.pipeline.spoken_recount import again, reread, same_scale, voices_again
from superalign.pipeline.stored import Malformed, Stored
from superalign.pipeline.tally import Tally, close
from superalign.tasks.item import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One leaderboard that a workspace holds, and the event that says so."""

    event: Event
    config: OversightConfig
    sizes: BoardSizes
    own: Mapping[str, Own] = field(default_factory=dict)
    """Data of one's own by its name, from the store."""

    def page(self, task: str, split: str) -> Page:
        """The items that were judged (`validation`), or learned from (`train`) unless they were screened out."""
        return page_of(task, split, self.sizes, self.own)

    @property
    def key(self) -> str:
        """What its stages name it by."""
        return self.desk(None).key("run")

    def desk(self, ws: Any) -> Desk:
        """A desk of this configuration."""
        return Desk(ws=ws, config=self.config, sizes=self.sizes, say=lambda text: None)


def boards_of(ws: Workspace) -> tuple[list[Board], list[Finding]]:
    """The different leaderboards of a workspace, and what is wrong with others."""
    return counted(ws, "board", "leaderboard", lambda event: _board(event, ws))


def _board(event: Event, ws: Workspace) -> Board:
    """Raises Malformed, or another of MALFORMED, for what this version plays no leaderboard of."""
    config = _config(event, ws)
    sizes = sizes_of(event, BoardSizes(), "leaderboard", least=1)
    own = own_again(event.body["data"], config.tasks, ws.store) if any(map(is_own, config.tasks)) else {}
    board = Board(event=event, config=config, sizes=sizes, own=own)
    if config.items not in (0, sizes.items):
        raise unfit(event, sizes.items, f"size items, where {config.items} were asked for,", "leaderboard")
    if event.body.get("items") != drawn(config, sizes, own):
        raise Malformed(event.seq, "this version of superalign draws other items than the one that played this")
    chosen_protocols(board.config)
    sealed_before(ws, board, "board", "leaderboard")
    return board


def replay(board: Board, tally: Any, ws: Workspace) -> None:
    """Score again every task of a board that was scored, from all cells that the plan names."""
    desk, done = board.desk(tally), Stored(ws, board)
    chosen, config = chosen_protocols(board.config), board.config
    for task in config.tasks:
        if done(f"{task}, measured") is None:
            continue
        test = open_page(desk, board.page(task, "validation"))
        heard = _heard_again(ws, board, task, done)
        score_task(desk, task, test, _played_again(desk, done, board, task, test, cells_of(task, chosen), heard))
        if done(f"{task}, curve") is not None:
            further = [cell for budget in config.curve for cell in budget_cells(task, budget, chosen)]
            score_curve(desk, task, test, chosen, _played_again(desk, done, board, task, test, further, heard))


def _heard_again(ws: Workspace, board: Board, task: str, done: Stored) -> Voices | None:
    """Who spoke on a board, to be read again from raw responses; how far its judge was trusted follows from them, too.

    Raises ValueError, or another of MALFORMED, where it does not.
    """
    config = board.config
    if not speaks(config.judge) and not speaks(config.advisers):
        return None
    voices = voices_again(board.event.body["spoken"], config, ws.store)
    for seed in range(config.seed, config.seed + config.seeds) if voices.judge and config.temper else ():
        told = done(tempering_stage(task, seed))
        opened = open_page(board.desk(Tally(ws)), lesson_then(ws, board, task, told["lesson"]))
        judge = judge_in_words(config, voices, again(ws.store, voices.judge, told), by=_using(done, board, task, seed))
        mine = scale_of(judge, Field(task=task, lesson=opened, test=opened), config, seed)
        if not same_scale(mine, told["scale"]):
            raise ValueError(f"{task}, seed {seed}: the judge's scale {told['scale']} is not what its answers give")
    return voices


def lesson_then(ws: Workspace, board: Board, task: str, digest: str) -> Page:
    """What was learned from, as it is on record: what was held out later is screened out of no earlier lesson.

    Raises ValueError for a lesson that lacks what still repeats nothing held out.
    """
    page = board.page(task, "train")
    kept = {str(item["id"]) for item in ws.store.get_json(digest)["items"]}
    items = tuple(item for item in page.items if item.id in kept)
    now = {item.id for item in unrepeated(board.desk(ws), page).items}
    if len(items) < len(kept) or not now <= kept:
        raise ValueError(f"{task}: the lesson on record is not what its training split leaves")
    return replace(page, items=items, truths={item.id: page.truths[item.id] for item in items})


def _using(done: Stored, board: Board, task: str, seed: int) -> str:
    first = next(iter(cells_of(task, chosen_protocols(board.config))))
    return str(done(f"{task}: {first.name}, seed {seed}")["spoken"]["using"])


def _played_again(
    desk: Desk, done: Stored, board: Board, task: str, test: Opened, cells: Sequence[Cell], voices: Voices | None
) -> dict[str, list[Any]]:
    """Cell → what it stored, a result a seed, every episode played again, what was said in words read again."""
    config = board.config
    scales = {
        seed: float(done(tempering_stage(task, seed))["scale"]) if voices and voices.judge and config.temper else 1.0
        for seed in range(config.seed, config.seed + config.seeds)
    }
    first, found = board.config.seed, dict[str, list[Any]]()
    for cell in cells:
        found[cell.name] = []
        for seed in range(first, first + board.config.seeds):
            result = done(f"{task}: {cell.name}, seed {seed}")
            episodes = desk.ws.store.get_json(result["episodes"])["episodes"]
            play_again(cell, test, seed, episodes)
            if voices:
                if result["spoken"]["scale"] != scales[seed]:
                    raise ValueError(f"{cell.name}: its judge's scale is not that of the task")
                reread(cell, config, voices, result, cases_of(test), episodes, desk.ws.store)
            found[cell.name].append(result)
    return found


def cases_of(test: Opened) -> list[Case]:
    """The Cases of a page."""
    return [case_of(item) for item in test.page.items]


def play_again(cell: Cell, test: Opened, seed: int, episodes: Any) -> None:
    """Raises ValueError unless every item was played in every seating, and every episode follows from its answers."""
    cases = {item.id: case_of(item) for item in test.page.items}
    referee = PieceReferee(truths={item.id: truth for item, truth in zip(test.page.items, test.truths, strict=True)})
    played = [(e["item"], tuple(e["sides"])) for e in episodes]
    wanted = [(name, sides) for name, case in cases.items() for sides in cell.protocol.seatings(len(case.options))]
    if sorted(played, key=repr) != sorted(wanted, key=repr):
        raise ValueError(f"{cell.name}: {len(played)} plays are stored where {len(wanted)} were to be played")
    for e in episodes:
        again = packed_episode(played_again(cell.protocol, cases[e["item"]], e["sides"], seed, e["answers"], referee))
        mine, stored = ({k: v for k, v in part.items() if k != "cost"} for part in (again, e))
        costs = [{k: v for k, v in part["cost"].items() if k != "seconds"} for part in (again, e)]
        if not close(mine, stored) or costs[0] != costs[1]:
            raise ValueError(f"{cell.name}: the episode of item {e['item']} does not follow from its answers")


def _config(event: Event, ws: Workspace) -> OversightConfig:
    stated = event.body["board"]
    if not isinstance(stated, Mapping):
        raise Malformed(event.seq, "the config of this leaderboard is no object")
    kept: dict[str, Any] = {}
    for each in fields(OversightConfig):
        if each.name in SETTINGS or (each.name not in stated and each.metadata.get("added")):
            continue
        usual, value = getattr(OversightConfig(), each.name), stated.get(each.name)
        kind = int if each.name == "curve" else str
        listed = isinstance(value, list) and all(type(entry) is kind for entry in value)
        fits = listed if isinstance(usual, tuple) else isinstance(value, str)
        if isinstance(usual, int):
            fits = is_whole(value)
        if not fits:
            raise unfit(event, value, each.name, "leaderboard")
        kept[each.name] = tuple(value) if isinstance(usual, tuple) else type(usual)(value)
    known = all(task in TASKS or is_own(task) for task in kept["tasks"])
    if not kept["tasks"] or not known or not 1 <= kept["seeds"] <= 100:
        raise Malformed(event.seq, "this leaderboard has tasks or seeds that no leaderboard has")
    return OversightConfig(workspace=ws.path, **kept)
