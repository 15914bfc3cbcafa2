"""Players that pretend: they answer what fits the form, as long or as short as it can be, so that requests are counted.

    pretending = Pretending(voice.identity, long=True)             # asked in the place of a speaker, remembers the asks
    adviser = Lengthened(SpokenAdviser(speaker=pretending, prompt=prompt))
    play(protocol, cases, {"judge": judge, "adviser": adviser, "referee": Free()}); pretending.asked

At most: every message is the longest that there can be, and like no other, so that no two requests which rest on
messages are one. At least: every message is empty.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from superalign.models.remote.spending import CHARACTERS, read_estimate
from superalign.models.speaker import Ask, Reply, Token
from superalign.oversight import Case
from superalign.oversight.advisers.spoken import SpokenAdviser
from superalign.oversight.types import Charge, Message, Piece, Position, Quote, View
from superalign.pipeline.seats import CLAIMS

THIN = 6
"""Characters to a token, at least, in a prompt that turns out short."""
CHARGE = 12
"""Tokens that a charge takes in an answer, at least."""
SHORT = 8
"""Tokens of the shortest JSON answer, at least."""


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
        """Tokens of a prompt, at most or at least."""
        return read_estimate(ask) if self.long else sum(len(turn.content) for turn in ask.messages) // THIN


@dataclass(frozen=True, slots=True)
class Lengthened:
    """An adviser that is asked in words: what it says is made as long as it may be, and like nothing else."""

    adviser: SpokenAdviser

    def answers_to(self, what: str, abouts: Sequence[Any]) -> list[Any]:
        """Answers as `play` asks for them."""
        said = self.adviser.answers_to(what, abouts)
        if what != "moves":
            return said
        return [
            lengthened(message, position, draft) if isinstance(message, Message) else message
            for message, position, draft in zip(said, abouts, drafts(abouts), strict=True)
        ]


def drafts(positions: Sequence[Position]) -> list[int]:
    """Of each, how many before it ask the same seat for the same turn: drafts of one message, none like another."""
    seen: Counter[tuple[Any, ...]] = Counter()
    found = []
    for position in positions:
        turn = (position.case.item, position.seat, position.side, len(position.view.messages), position.turns_left)
        found.append(seen[turn])
        seen[turn] += 1
    return found


def lengthened(said: Message, position: Position, draft: int = 0) -> Message:
    """The message with as many quotes and charges, of the longest pieces, and a text of its own that is as long.

    Each `draft` begins with another piece.

    Pieces in which options differ come first: where nothing that is shown differs, both orders of the options are one
    request.
    """
    pieces = position.case.pieces
    longest = sorted(range(len(pieces)), key=lambda place: (_alike(pieces[place]), -sum(map(len, pieces[place].texts))))
    longest = longest[draft % len(longest) :] + longest[: draft % len(longest)]
    return replace(
        said,
        quotes=tuple(Quote(place, pieces[place].texts) for place in longest[: len(said.quotes)]),
        charges=tuple(Charge(said.charges[0].option, place) for place in longest[: len(said.charges)]),
        text=f"{position.draw:x}".ljust(len(said.text), "x"),
    )


def _alike(piece: Piece) -> bool:
    return len(set(piece.texts)) == 1


@dataclass(frozen=True, slots=True)
class Free:
    """Whoever is not asked in words: costs nothing, and says as much, or as little, as it may."""

    long: bool = True
    options: int = field(default=2)

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        return np.full((len(views), self.options), 1 / self.options)

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        return np.full((len(cases), self.options), 1 / self.options)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        return [self._move(*each) for each in zip(positions, drafts(positions), strict=True)]

    def holds(self, case: Case, charge: Charge) -> bool:
        return False

    def _move(self, position: Position, draft: int) -> Message:
        if not self.long:
            return Message(speaker=position.seat)
        charges = (Charge(1, 0),) * CLAIMS
        said = Message(speaker=position.seat, quotes=(Quote(0, ()),), charges=charges, belief=(0.5, 0.5))
        return lengthened(said, position, draft)
