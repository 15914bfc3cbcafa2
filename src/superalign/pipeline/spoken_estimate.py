"""What a board of players in words would cost: before the first request, nothing sent, nothing written.

    estimate = afforded(config, sizes, chosen, voices)
    estimate.calls, estimate.usd, estimate.cells

A pretending speaker plays the same protocols on the same items. At most: each of its answers is as long as it may be,
and counts its whole limit of tokens; a token of a prompt is a third of its characters; where it is open how the judge
believes, by samples. At least: the shortest answers that can be read, six characters to a token, by log-probability.
The judge is asked in either case as often as the protocol says. What was kept before costs nothing again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from superalign.evidence import SuperalignError, Workspace
from superalign.models.remote import Kept, RemoteSpeaker, SpendingLimit
from superalign.models.remote.spending import CHARACTERS, read_estimate
from superalign.models.speaker import Ask, Reply, Token
from superalign.oversight import Case, Protocol, case_of, play
from superalign.oversight.types import Charge, Message, Position, Quote, View
from superalign.pipeline.board_config import BoardSizes, OversightConfig, settled
from superalign.pipeline.board_curves import cells_in_all
from superalign.pipeline.board_own import Own, fits_own
from superalign.pipeline.board_scores import Cell, chosen_protocols, page_of
from superalign.pipeline.desk import Desk
from superalign.pipeline.spoken import ADVISERS, JUDGE, Voices, judge_in_words, seats_in_words, uses_letter, voices_of
from superalign.tasks.item import Page

MILLION = 1_000_000
THIN = 6
"""Characters to a token, at least, in a prompt that turns out short."""
CHARGE = 12
"""Tokens that a charge takes in an answer, at least."""
SHORT = 8
"""Tokens of the shortest JSON answer, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEstimate:
    """One cell, all its seeds: what would be sent for it, at most."""

    cell: str
    """TASK: NAME."""
    calls: int
    read: int
    written: int
    usd: float | None
    """At most; None where no price is known."""
    least: float | None
    """USD at least; 0 where some of it was asked before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of a whole board."""

    cells: tuple[CellEstimate, ...]
    calls: int
    read: int
    written: int
    usd: float | None
    least: float | None
    spent: float
    """USD that this workspace has paid to these models already."""
    limit: float | None
    over: str = ""
    """The cell in which the limit could be reached; empty where it can't."""


class Pretending:
    """A speaker that answers what fits the form, as long or as short as it can; remembers what it was asked."""

    reserved = ()

    def __init__(self, identity: str, *, long: bool) -> None:
        self.identity, self.long = identity, long
        self.asked: dict[str, Ask] = {}

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask."""
        self.asked |= {ask.key(self.identity): ask for ask in asks}
        return [self._said(ask) for ask in asks]

    def _said(self, ask: Ask) -> Reply:
        if not ask.schema:
            shown = (("A", -0.7), ("B", -0.7))
            return Reply(kind="answer", text="A", tokens=(Token("A", -0.7, shown),) if ask.alternatives else ())
        fields = json.loads(ask.schema)["properties"]
        return Reply(kind="answer", text=json.dumps({name: self._value(form, ask) for name, form in fields.items()}))

    def _value(self, form: Mapping[str, Any], ask: Ask) -> Any:
        many = min(form.get("maxItems", 0), ask.tokens // CHARGE) if self.long else 0
        if form["type"] == "array" and form["items"]["type"] == "integer":
            return list(range(1, many + 1))
        if form["type"] == "array":
            option = form["items"]["properties"]["option"]["enum"][-1]
            return [{"option": option, "place": place} for place in range(1, many + 1)]
        if form["type"] == "object":
            return dict.fromkeys(form["properties"], 1 / len(form["properties"]))
        if "enum" in form:
            return form["enum"][0]
        return "x" * min(form["maxLength"], ask.tokens * CHARACTERS) if self.long else ""

    def written(self, ask: Ask) -> int:
        """Tokens of an answer, at most or at least."""
        return ask.tokens if self.long else SHORT if ask.schema else 1

    def read(self, ask: Ask) -> int:
        """Tokens of a prompt, at most (its schema told) or at least."""
        if self.long:
            return read_estimate(ask) + len(ask.schema) // CHARACTERS
        return sum(len(turn.content) for turn in ask.messages) // THIN


@dataclass(frozen=True, slots=True)
class Free:
    """Whoever is not asked in words: costs nothing, and says as much as it may."""

    options: int = field(default=2)

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        return np.full((len(views), self.options), 1 / self.options)

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        return np.full((len(cases), self.options), 1 / self.options)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        return [_longest(position) for position in positions]

    def holds(self, case: Case, charge: Charge) -> bool:
        return False


def _longest(position: Position) -> Message:
    shown, pieces = position.view.shown(), position.case.pieces
    left = [place for place in range(len(pieces)) if place not in shown] or [0]
    place = max(left, key=lambda k: sum(map(len, pieces[k].texts)))
    quotes = (Quote(place, pieces[place].texts),)
    return Message(speaker=position.seat, quotes=quotes, charges=(Charge(1, place),), belief=(0.5, 0.5))


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
            calls=sum(len(asks) for asks in most[name].new.values()),
            read=sum(p.read(ask) for p, asks in most[name].priced() for ask in asks),
            written=sum(p.written(ask) for p, asks in most[name].priced() for ask in asks),
            usd=_usd(most[name], voices),
            least=0.0 if short[name].begun or terms.limit is None else _usd(short[name], voices),
        )
        for name in most
    )
    usd = [cell.usd for cell in cells if cell.usd is not None]
    least = [cell.least for cell in cells if cell.least is not None]
    found = Estimate(
        cells=cells,
        calls=sum(cell.calls for cell in cells),
        read=sum(cell.read for cell in cells),
        written=sum(cell.written for cell in cells),
        usd=sum(usd) if len(usd) == len(cells) else None,
        least=sum(least) if len(least) == len(cells) else None,
        spent=kept.spent,
        limit=terms.limit,
    )
    if terms.limit is None:
        return found
    if found.least is not None and found.spent + found.least > terms.limit:
        raise SpendingLimit(
            f"this board would cost at least {found.least:.4f} USD"
            + (f" beside the {found.spent:.4f} that are spent" if found.spent else "")
            + f", and --limit is {terms.limit:.4f}: nothing was sent; raise the limit, or play fewer protocols or tasks"
        )
    return replace(found, over=_over(found))


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
        return replace(found, limit=config.limit, over=_over(replace(found, limit=config.limit)))
    finally:
        voices.close()


def _over(found: Estimate) -> str:
    total = found.spent
    for cell in found.cells:
        total += cell.usd or 0.0
        if found.limit is not None and total > found.limit:
            return cell.cell
    return ""


@dataclass(slots=True)
class _Asked:
    """What a cell would send, by whom it goes to."""

    speakers: Mapping[str, Pretending]
    new: dict[str, list[Ask]] = field(default_factory=dict)
    begun: bool = False
    """Was some of it asked before?"""

    def priced(self) -> list[tuple[Pretending, list[Ask]]]:
        return [(self.speakers[who], asks) for who, asks in self.new.items()]


def _usd(asked: _Asked, voices: Voices) -> float | None:
    total = 0.0
    for who, asks in asked.new.items():
        price = voices.named()[who].price
        if price is None:
            return None
        pretending = asked.speakers[who]
        total += sum(pretending.read(ask) * price[0] + pretending.written(ask) * price[1] for ask in asks) / MILLION
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
            self._index = Kept(path)
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
    for task, cell, seed in cells_in_all(config, chosen):
        asked = found.setdefault(f"{task}: {cell.name}", _Asked(speakers))
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
            asked.new.setdefault(who, []).extend(ask for key, ask in new.items() if key not in there)
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
    free = Free()
    players: dict[str, Any] = dict.fromkeys(("judge", "referee", *cell.protocol.seats), free)
    if voices.judge:
        players["judge"] = judge_in_words(config, voices, speakers[JUDGE], by=_by(config, voices, long=long))
    if voices.advisers:
        players |= seats_in_words(cell.protocol, config, voices, speakers[ADVISERS])
    if any(player is not free for player in players.values()):
        for _ in play(cell.protocol, cases, players, seed=seed):
            pass


def _by(config: OversightConfig, voices: Voices, *, long: bool) -> str:
    """How the judge believes; where that is open, by samples at most and by log-probability at least."""
    if voices.using or config.judge_by != "auto":
        return voices.using or config.judge_by
    letter = uses_letter(voices.prompt(config.judge_prompt))
    return "logprob" if letter and not long else "samples"
