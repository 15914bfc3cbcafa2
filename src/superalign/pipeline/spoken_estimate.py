"""What a board of players in words would cost: before the first request, nothing sent, nothing written.

    estimate = afforded(config, sizes, chosen, voices)
    estimate.calls, estimate.usd, estimate.cells

A pretending speaker plays the same protocols on the same items (`spoken_pretend`). At most: each of its answers is as
long as it may be and like no other, and counts its whole limit of tokens, prompts as `read_estimate` has them; where it
is open how the judge believes, by samples, and its first answer besides. At least: the shortest answers that can be
read, six characters to a token, by log-probability. The judge is asked in either case as often as the protocol says.
What was kept before costs nothing again; what is lost on the way and sent again is in no estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from superalign.evidence import SuperalignError, Workspace
from superalign.models.remote import Kept, RemoteSpeaker
from superalign.models.speaker import Ask
from superalign.oversight import Case, Protocol, case_of, play
from superalign.pipeline.board_config import BoardSizes, OversightConfig, settled
from superalign.pipeline.board_curves import cells_in_all
from superalign.pipeline.board_own import Own, fits_own
from superalign.pipeline.board_scores import Cell, chosen_protocols, page_of
from superalign.pipeline.desk import Desk
from superalign.pipeline.spending import CellEstimate, Estimate, enough, estimate_of
from superalign.pipeline.spoken import ADVISERS, JUDGE, Voices, judge_in_words, seats_in_words, uses_letter, voices_of
from superalign.pipeline.spoken_pretend import Free, Lengthened, Pretending
from superalign.tasks.item import Page

MILLION = 1_000_000


def afforded(
    config: OversightConfig,
    sizes: BoardSizes,
    chosen: Mapping[str, Protocol],
    voices: Voices,
    own: Mapping[str, Own] = MappingProxyType({}),
) -> Estimate:
    """What the rest of a board would cost. Raises SpendingLimit where even the least is over the limit."""
    terms, config = config, settled(config)
    with _Kept(terms, sizes, voices) as kept:
        pages = partial(page_of, sizes=sizes, own=own)
        most = _played(config, pages, chosen, voices, kept, long=True)
        short = _played(config, pages, chosen, voices, kept, long=False) if terms.limit is not None else most
    cells = tuple(
        CellEstimate(
            cell=name,
            calls=sum(bill.calls for bill in most[name].bills.values()),
            read=sum(bill.read for bill in most[name].bills.values()),
            written=sum(bill.written for bill in most[name].bills.values()),
            usd=_usd(most[name], voices),
            least=0.0 if short[name].begun or terms.limit is None else _usd(short[name], voices),
        )
        for name in most
    )
    found = estimate_of(cells, spent=kept.spent, limit=terms.limit)
    return enough(found, "this board", "play fewer protocols or tasks")


def estimated(config: OversightConfig, sizes: BoardSizes, own: Mapping[str, Own] = MappingProxyType({})) -> Estimate:
    """What a board would cost, for `--dry-run`: also where that is over the limit. Raises SuperalignError for a board
    that can't be, or on which nobody speaks.
    """
    chosen = chosen_protocols(settled(config))
    fits_own(config, own)
    voices = voices_of(config, chosen)
    if voices is None:
        raise SuperalignError(
            f"--dry-run says what models that speak would cost, and neither {config.judge} nor {config.advisers} is "
            "asked in words: leave it out"
        )
    try:
        found = afforded(replace(config, limit=None), sizes, chosen, voices, own)
        return estimate_of(found.cells, spent=found.spent, limit=config.limit)
    finally:
        voices.close()


@dataclass(slots=True)
class _Bill:
    """What would be sent to one speaker."""

    calls: int = 0
    read: int = 0
    written: int = 0

    def add(self, pretending: Pretending, asks: Sequence[Ask]) -> None:
        self.calls += len(asks)
        self.read += sum(map(pretending.read, asks))
        self.written += sum(map(pretending.written, asks))


@dataclass(slots=True)
class _Asked:
    """What a cell would send, by whom it goes to."""

    bills: dict[str, _Bill] = field(default_factory=dict)
    begun: bool = False
    """Was some of it asked before?"""


def _usd(asked: _Asked, voices: Voices) -> float | None:
    total = 0.0
    for who, bill in asked.bills.items():
        price = voices.named()[who].price
        if price is None:
            return None
        total += (bill.read * price[0] + bill.written * price[1]) / MILLION
    return total


class _Kept:
    """What a workspace holds of a board, as far as there is one; nothing is made."""

    def __init__(self, config: OversightConfig, sizes: BoardSizes, voices: Voices) -> None:
        self._config, self._sizes, self._voices = config, sizes, voices
        self.finished: set[str] = set()
        self.spent = 0.0
        self._index: Kept | None = None

    def __enter__(self) -> _Kept:
        path = self._config.workspace
        if not (path / "ledger.sqlite").is_file():
            return self
        with Workspace.open(path, create=False, write=False) as ws:
            desk = Desk(ws=ws, config=settled(self._config), sizes=self._sizes, say=lambda text: None)  # type: ignore[arg-type]
            mine = [e.body for e in ws.ledger.events("stage") if e.body.get("run") == desk.key("run")]
            self.finished = {str(body.get("stage")) for body in mine}
        if (path / "replies.sqlite").is_file():
            self._index = Kept(path, write=False)
            paid = [v.identity for v in self._voices.named().values() if isinstance(v.speaker, RemoteSpeaker)]
            self.spent = sum(self._index.paid(identity).usd for identity in dict.fromkeys(paid))
        return self

    def __exit__(self, *_: object) -> None:
        if self._index:
            self._index.close()

    def keys(self, keys: Sequence[str]) -> set[str]:
        """Those of these requests that were answered before."""
        return {row.key for row in self._index.rows(keys)} if self._index else set()


def _played(
    config: OversightConfig,
    pages: Callable[[str, str], Page],
    chosen: Mapping[str, Protocol],
    voices: Voices,
    kept: _Kept,
    *,
    long: bool,
) -> dict[str, _Asked]:
    """Cell → what it would send that no cell before it sends, and that was not answered before."""
    speakers = {who: Pretending(voice.identity, long=long) for who, voice in voices.named().items()}
    cases: dict[str, list[Case]] = {}
    seen: set[str] = set()
    found: dict[str, _Asked] = {}
    if voices.judge:  # how it believes is asked once, about nothing, and counted with the first cell
        judge_in_words(config, voices, speakers[JUDGE]).settled()
    for task, cell, seed in cells_in_all(config, chosen):
        asked = found.setdefault(f"{task}: {cell.name}", _Asked())
        if f"{task}: {cell.name}, seed {seed}" in kept.finished:
            continue
        if task not in cases:
            cases[task] = [case_of(item) for item in pages(task, "validation").items]
            _temper(config, pages, task, voices, speakers, long=long)
        _pretend(cell, config, voices, speakers, cases[task], seed, long=long)
        for who, pretending in speakers.items():
            new = {key: ask for key, ask in pretending.asked.items() if key not in seen}
            there = kept.keys(list(new))
            seen |= set(new)
            asked.begun |= bool(there)
            asked.bills.setdefault(who, _Bill()).add(pretending, [ask for key, ask in new.items() if key not in there])
            pretending.asked.clear()
    return found


def _temper(
    config: OversightConfig,
    pages: Callable[[str, str], Page],
    task: str,
    voices: Voices,
    speakers: Mapping[str, Pretending],
    *,
    long: bool,
) -> None:
    """What tempering asks is counted with a task's first cell, once a seed."""
    if not (config.temper and voices.judge):
        return
    page = pages(task, "train")
    lesson = [case_of(item) for item in page.items[: config.temper]]
    answers = [int(page.truths[case.item]["answer"]) for case in lesson]
    judge = judge_in_words(config, voices, speakers[JUDGE], by=_by(config, voices, long=long))
    for seed in range(config.seed, config.seed + config.seeds):
        judge.fitted(lesson, answers, quotes=config.budget, seed=seed)


def _pretend(
    cell: Cell,
    config: OversightConfig,
    voices: Voices,
    speakers: Mapping[str, Pretending],
    cases: Sequence[Case],
    seed: int,
    *,
    long: bool,
) -> None:
    free = Free(long)
    players: dict[str, Any] = dict.fromkeys(("judge", "referee", *cell.protocol.seats), free)
    if voices.judge:
        players["judge"] = judge_in_words(config, voices, speakers[JUDGE], by=_by(config, voices, long=long))
    if voices.advisers:
        seats = seats_in_words(cell.protocol, config, voices, speakers[ADVISERS])
        players |= {seat: Lengthened(adviser) for seat, adviser in seats.items()} if long else seats
    if any(player is not free for player in players.values()):
        for _ in play(cell.protocol, cases, players, seed=seed):
            pass


def _by(config: OversightConfig, voices: Voices, *, long: bool) -> str:
    """How the judge believes; where that is open, by samples at most and by log-probability at least."""
    if voices.using or config.judge_by != "auto":
        return voices.using or config.judge_by
    letter = uses_letter(voices.prompt(config.judge_prompt))
    return "logprob" if letter and not long else "samples"
