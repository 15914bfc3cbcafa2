"""The nouns of oversight: what is played on, what is said, what the judge is shown, and how a play ends.

A Case is an Item as a protocol can play it: its texts cut into pieces, each of which can be quoted. Advisers read the
whole Case; the judge reads a View: the question and what was said, never a piece that nobody quoted. Truths are in none
of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np


class Piece(NamedTuple):
    """What one quote shows: the same place in the text of every option, or one text that all options share."""

    texts: tuple[str, ...]
    """One text in all, or one an option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An Item, cut into the pieces that can be quoted from it."""

    item: str
    """Id, which tells nothing."""
    task: str
    cluster: str
    question: str
    """What the judge sees unasked."""
    options: tuple[str, ...]
    pieces: tuple[Piece, ...]


class Quote(NamedTuple):
    """A piece, as somebody says that it reads. `verified` is the referee's, who compared it with the Case."""

    piece: int
    """Place in the Case, which may be read as an order (of lines, of steps)."""
    texts: tuple[str, ...]
    verified: bool = False


class Charge(NamedTuple):
    """A claim that can be checked: this option is wrong, and this piece shows it."""

    option: int
    piece: int
    holds: bool | None = None
    """None until somebody checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one player says in one turn."""

    speaker: str
    """Seat at the table, as in "adviser" or "critic 2": never a model's name."""
    side: int | None = None
    """Option that the speaker argues for, if it is known to the judge that it does."""
    quotes: tuple[Quote, ...] = ()
    charges: tuple[Charge, ...] = ()
    belief: tuple[float, ...] = ()
    """What the speaker says it believes, one number an option; empty when it doesn't say."""
    text: str = ""
    """Anything else, in words."""
    asked: int = 0
    """Views that the speaker asked the judge about before it spoke: a cost, and never on the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a judge is shown."""

    task: str
    question: str
    options: tuple[str, ...]
    messages: tuple[Message, ...] = ()

    def shown(self) -> dict[int, tuple[str, ...]]:
        """Piece → its texts, of all quotes that were verified, in the order of the pieces."""
        return {q.piece: q.texts for q in sorted(q for m in self.messages for q in m.quotes if q.verified)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What an adviser is asked to speak on: the Case, its seat and side, and what the judge has seen so far."""

    case: Case
    seat: str
    side: int | None
    """Option to argue for; None: whatever it believes."""
    view: View
    turns_left: int = 0
    """Turns of its own after this one."""
    replied: bool = False
    """Will somebody speak after it, whether or not it has a turn left?"""
    draw: int = 0
    """Seed of anything random, a function of item, seat, turn and play."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a play has cost."""

    judge_words: int = 0
    """Words that the judge has read, again for every belief."""
    judge_checks: int = 0
    adviser_words: int = 0
    """Words that advisers have said or read to say them."""
    adviser_asks: int = 0
    """Views that searching advisers had the judge judge."""
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            judge_words=self.judge_words + other.judge_words,
            judge_checks=self.judge_checks + other.judge_checks,
            adviser_words=self.adviser_words + other.adviser_words,
            adviser_asks=self.adviser_asks + other.adviser_asks,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One play of a protocol on one Case: who said what, what was believed after each turn, what it cost.

    JSON-ready with `dataclasses.asdict`. `belief` is None where the judge failed; that stays in every denominator.
    """

    protocol: str
    item: str
    task: str
    cluster: str
    question: str
    options: tuple[str, ...]
    sides: tuple[int | None, ...]
    """Option that each seat argued for, in the protocol's order of seats."""
    seed: int
    messages: tuple[Message, ...]
    beliefs: tuple[tuple[float, ...] | None, ...]
    """After each turn, one number an option."""
    belief: tuple[float, ...] | None
    """The verdict."""
    failures: tuple[str, ...] = ()
    """Kinds: "nan", "no answer", "timeout: SEAT", "misquote: SEAT"; of players in words also "refused: SEAT",
    "not JSON: SEAT" and the others of `models.answers.KINDS`."""
    answers: tuple[tuple[Mapping[str, Any], ...], ...] = ()
    """What players answered, turn by turn, as `record.recorded` has it: the rest follows from it."""
    cost: Cost = field(default_factory=Cost)

    @property
    def view(self) -> View:
        """All that the judge had been shown when the play ended."""
        return View(task=self.task, question=self.question, options=self.options, messages=self.messages)


class Judge(Protocol):
    """Who believes: P(option is right) from what it is shown, one row a view; NaN where it can't say."""

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, options), rows sum to one."""


class Adviser(Protocol):
    """Who speaks, and may be asked what it believes itself. Both are asked of many at once."""

    def moves(self, positions: Sequence[Position]) -> Sequence[Message]:
        """One message a position."""

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): its own beliefs after reading everything."""


class Referee(Protocol):
    """Who can tell whether a charge holds, at a price: the only player who is handed truths."""

    def holds(self, case: Case, charge: Charge) -> bool:
        """Does it?"""


Players = Mapping[str, Any]
"""Seat → Judge, Adviser or Referee."""
