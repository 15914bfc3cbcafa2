"""The table at which one protocol is played on one Case: what a protocol asks through, and what it is told.

A protocol is a generator over a Table: it yields requests, all that are asked at once, and is sent one answer each. It
knows nothing of batches, threads or time (`play`). What a player says is checked here, for every protocol alike: quotes
are compared with the Case, and marks, seats and sides are set by the table, whatever the player wrote.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from superalign.oversight.types import Case, Charge, Cost, Message, Players, Position, Quote, View

Belief = tuple[float, ...]
Answers = tuple[Any, ...]


class Unanswered(tuple[float, ...]):
    """A row that is like no other: an empty one that a player returns is not it."""


UNANSWERED: Sequence[float] = Unanswered()
"""Stands for a row of a player that was too late, or broke: that is counted where it happens."""
Play = Generator["tuple[Request, ...]", Answers, "Belief | None"]
"""Yields what is asked at once, is sent one answer each, returns the verdict (None: the judge failed)."""


class Failed(NamedTuple):
    """What any player may return in the place of one answer: none, and of which kind. The play goes on without it.

    The kind is counted once, as "KIND: SEAT", and stays on record; a verdict that fails fails the episode.
    """

    kind: str
    """In a few words, as in "refused", "not JSON", "timeout"."""


class Request(NamedTuple):
    """One question to one player: `what` is "moves", "knows", "beliefs" or "holds"."""

    seat: str
    what: str
    about: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What players are trained on: Cases of the training split with their true options, and the players at hand."""

    cases: Sequence[Case]
    answers: Sequence[int]
    players: Players
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Rules by which a judge is helped, as a generator over one table."""

    name: str
    title: str
    play: Callable[[Table], Play]
    seats: tuple[str, ...] = ()
    """Advisers it needs."""
    sides: int = 0
    """How many of them argue for an assigned option: 0, 1 (every item is played for either) or 2 (in both orders)."""
    referee: bool = False
    """Does somebody have a claim checked?"""
    train: Callable[[Lesson], Players] | None = None
    """Makes the players that it is played with from those at hand, where something is trained for it."""
    wraps: bool = False
    """Does `train` make them without a look at the lesson?"""
    source: str = ""
    """Paper and section."""
    record: bool = True
    """Is the judge asked for the record alone, too? Not where a person judges, whose time that would cost."""

    @property
    def learns(self) -> bool:
        """Are players trained by playing?"""
        return self.train is not None and not self.wraps

    def seatings(self, options: int) -> list[tuple[int | None, ...]]:
        """All assignments of sides to seats that an item of two options is played with. Raises ValueError for others.

        >>> Protocol(name="", title="", play=lambda table: None, seats=("a", "b"), sides=2).seatings(2)
        [(0, 1), (1, 0)]
        """
        rest: tuple[int | None, ...] = (None,) * (len(self.seats) - self.sides)
        if self.sides == 0:
            return [rest]
        if options != 2:
            raise ValueError(f"{self.name}: an item has {options} options, say which sides are to be argued for")
        return [(0, *rest), (1, *rest)] if self.sides == 1 else [(0, 1, *rest), (1, 0, *rest)]


@dataclass(slots=True, kw_only=True)
class Table:
    """One play under way."""

    protocol: Protocol
    case: Case
    sides: tuple[int | None, ...]
    seed: int
    messages: list[Message] = field(default_factory=list)
    beliefs: list[Belief | None] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    log: list[list[dict[str, Any]]] = field(default_factory=list)
    """What players answered, as JSON."""
    readers: set[str] = field(default_factory=set)
    """Advisers that have read the case."""
    order: list[Charge] = field(default_factory=list)
    """Charges in the order in which they are to be checked, where the protocol has one of its own."""

    def draw(self, *parts: object) -> int:
        """A seed for whatever is random here: of item, sides, play's seed and `parts`, never of the order of play."""
        text = "\0".join(map(str, (self.case.item, self.protocol.name, self.sides, self.seed, *parts)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big")

    @property
    def view(self) -> View:
        """What the judge has been shown."""
        case = self.case
        return View(task=case.task, question=case.question, options=case.options, messages=tuple(self.messages))

    def view_of(self, pieces: Iterable[int]) -> View:
        """A view of these pieces and nothing else."""
        return replace(self.view, messages=(self._table_says(pieces),))

    def view_by(self, seat: str) -> View:
        """What the judge has been shown by one seat alone."""
        return replace(self.view, messages=tuple(m for m in self.messages if m.speaker == seat))

    def random_pieces(self, count: int, *parts: object) -> list[int]:
        """Up to `count` pieces at random."""
        order = np.random.default_rng(self.draw("pieces", *parts)).permutation(len(self.case.pieces))
        return sorted(order[:count].tolist())

    def reveal(self, pieces: Iterable[int]) -> None:
        """Show pieces that nobody chose."""
        self.messages.append(self._table_says(pieces))

    def settle(self, charge: Charge) -> None:
        """Put on the table what a check has shown."""
        self.messages.append(Message(speaker="referee", charges=(charge,)))

    def _table_says(self, pieces: Iterable[int]) -> Message:
        quotes = tuple(Quote(piece, self.case.pieces[piece].texts, verified=True) for piece in pieces)
        return Message(speaker="table", quotes=quotes)

    def side(self, seat: str) -> int | None:
        """The option a seat argues for."""
        return self.sides[self.protocol.seats.index(seat)]

    def compares(self, pieces: Iterable[int]) -> None:
        """The judge reads these pieces without being asked what it believes."""
        words = words_in(self._table_says(pieces))
        self.cost += Cost(judge_words=words)

    def say(
        self, *seats: str, turns_left: int = 0, view: View | None = None, quotes: int = 1, replied: bool | None = None
    ) -> Play:
        """One turn: the seats speak at once, nobody hears the others before; then all of it is on the table.

        Each may quote `quotes` pieces; more are not heard. `replied`: does somebody speak after them? Where that is not
        said, those who have turns left have rivals who do.
        """
        view = self.view if view is None else view
        asked = tuple(
            Request(
                seat,
                "moves",
                Position(
                    case=self.case,
                    seat=seat,
                    side=self.side(seat),
                    view=view,
                    turns_left=turns_left,
                    replied=turns_left > 0 if replied is None else replied,
                    draw=self.draw(seat, len(self.messages)),
                ),
            )
            for seat in seats
        )
        answers = yield asked
        for seat, said in zip(seats, answers, strict=True):
            self.hear(seat, said, quotes=quotes)
        return None

    def hear(self, seat: str, said: Message | None, *, quotes: int = 1) -> None:
        """Put a message on the table, which sets seat, side and marks, and drops what is out of order."""
        said = self._in_order(seat, said, quotes)
        kept = tuple(self._compared(quote) for quote in said.quotes)
        if not all(q.verified for q in kept):
            self.failures.append(f"misquote: {seat}")
        charges = tuple(c._replace(holds=None) for c in said.charges)
        message = replace(said, speaker=seat, side=self.side(seat), quotes=kept, charges=charges, asked=0)
        self._reads(seat)
        self.messages.append(message)
        self.cost += Cost(adviser_words=words_in(message), adviser_asks=max(0, said.asked))

    def _in_order(self, seat: str, said: Message | None, quotes: int) -> Message:
        """The message without quotes over the limit, charges about nothing, beliefs that are none; each is counted."""
        if said is None:
            self.failures.append(f"no answer: {seat}")
            return Message(speaker=seat)
        options, pieces = range(len(self.case.options)), range(len(self.case.pieces))
        charges = tuple(c for c in said.charges if c.option in options and c.piece in pieces)
        stated = _distribution(said.belief, len(options)) if said.belief else ()
        for kind, bad in (
            ("too many quotes", len(said.quotes) > quotes),
            ("charge about nothing", len(charges) < len(said.charges)),
            ("belief that is none", stated is None),
        ):
            if bad:
                self.failures.append(f"{kind}: {seat}")
        return replace(said, quotes=tuple(said.quotes[:quotes]), charges=charges, belief=stated or ())

    def _reads(self, seat: str) -> None:
        """An adviser reads the whole case, once."""
        if seat not in self.readers:
            self.readers.add(seat)
            words = sum(len(text.split()) for piece in self.case.pieces for text in piece.texts)
            self.cost += Cost(adviser_words=words)

    def _compared(self, quote: Quote) -> Quote:
        """The quote with its mark; a verified one reads as the case does: blanks of the speaker tell nothing."""
        known = self.case.pieces[quote.piece].texts if 0 <= quote.piece < len(self.case.pieces) else ()
        if not known or [t.split() for t in quote.texts] != [t.split() for t in known]:
            return quote._replace(verified=False)
        return Quote(quote.piece, known, verified=True)

    def believe(self, view: View | None = None, *, measured: bool = False) -> Play:
        """Ask the judge, by what is on the table or by `view`; the belief is kept and returned.

        `measured`: it is asked for the record alone, and no verdict rests on it; that costs the judge nothing.
        """
        if measured and not self.protocol.record:
            return None
        view = self.view if view is None else view
        if not measured:
            self.cost += Cost(judge_words=len(view.question.split()) + sum(map(words_in, view.messages)))
        (row,) = yield (Request("judge", "beliefs", view),)
        belief = self.normal(row)
        self.beliefs.append(belief)
        return belief

    def normal(self, row: Sequence[float] | None) -> Belief | None:
        """A judge's row as a belief; None, and a failure, where it is no distribution."""
        if row is UNANSWERED:  # counted already, by its kind
            return None
        values = numbers(row)
        belief = _distribution(values, len(self.case.options))
        if belief is None:
            self.failures.append("nan" if values else "no answer")
        return belief

    def knows(self, seat: str) -> Generator[tuple[Request, ...], Answers, Belief | None]:
        """What an adviser believes itself, having read everything."""
        self._reads(seat)
        (row,) = yield (Request(seat, "knows", self.case),)
        return self.normal(row)

    def check(self, charge: Charge) -> Generator[tuple[Request, ...], Answers, bool]:
        """Have one charge checked, at the judge's expense."""
        self.cost += Cost(judge_checks=1)
        (holds,) = yield (Request("referee", "holds", (self.case, charge)),)
        return bool(holds)


def _distribution(values: Sequence[float], options: int) -> Belief | None:
    """Numbers as a belief over so many options, or None where they are none."""
    fine = len(values) == options and all(math.isfinite(p) and p >= 0 for p in values) and sum(values) > 0
    total = math.fsum(values)
    return tuple(p / total for p in values) if fine else None


def plain(said: Message) -> Message:
    """A player's message in plain types: a place that is no whole number is −1, what is no number is NaN.

    >>> plain(Message(speaker="a", quotes=(Quote("0", ("x",)),))).quotes[0].piece  # type: ignore[arg-type]
    -1
    """
    quotes = tuple(
        Quote(_place(q.piece), tuple(map(str, q.texts)) if isinstance(q.texts, tuple | list) else (), bool(q.verified))
        for q in said.quotes
    )
    charges = tuple(c._replace(option=_place(c.option), piece=_place(c.piece)) for c in said.charges)
    return Message(
        speaker=str(said.speaker),
        side=None if said.side is None else _place(said.side),
        quotes=quotes,
        charges=charges,
        belief=tuple(numbers(said.belief)),
        text=str(said.text),
        asked=max(0, _place(said.asked)),
    )


def numbers(row: Any) -> list[float]:
    """A row as floats, NaN for what is none; empty where there is no row.

    >>> numbers([1, "a"]), numbers(None)
    ([1.0, nan], [])
    """
    listed = list(row) if isinstance(row, Iterable) else []
    return [float(p) if isinstance(p, int | float | np.number) else math.nan for p in listed]


def _place(value: Any) -> int:
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else -1


def words_in(message: Message) -> int:
    """Words of a message's quotes and text."""
    return sum(len(text.split()) for q in message.quotes for text in q.texts) + len(message.text.split())
