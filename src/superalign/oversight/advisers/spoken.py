"""An adviser in words: any language model that is asked to argue, to criticise or to help, and answers in JSON.

    adviser = SpokenAdviser(speaker=speaker, prompt=load_chat_prompt("debater"))
    list(play(PROTOCOLS["debate"], cases, {"judge": judge, "a": adviser, "b": adviser}))

It reads the case in numbered pieces and quotes by numbers, so that a quote reads as the case does. What it says in
words nobody has verified. A refusal, and an answer that is not of the form, is no message but a failure of its kind
(`superalign.models.answers.KINDS`): the play goes on, its seat has been silent in that turn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from superalign.models.answers import Unread, as_schema, read_json
from superalign.models.frames import reserved_of
from superalign.models.speaker import Ask, Reply, Speaker
from superalign.oversight.prompts.chat import ChatPrompt, load_chat_prompt
from superalign.oversight.prompts.rendering import letters_of
from superalign.oversight.spoken.answers import belief_of, form_of, message_of
from superalign.oversight.spoken.framing import adviser_turns, own_turns
from superalign.oversight.spoken.players import READ, SEEDS, answers_to
from superalign.oversight.table import Failed
from superalign.oversight.types import Case, Judge, Message, Position

BELIEF = ("belief",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenAdviser:
    """One speaker with one prompt. The same position with the same draw is the same request."""

    speaker: Speaker
    prompt: ChatPrompt
    name: str = "adviser in words"
    quotes: int = 1
    """Places that it is told it may quote in a turn; the table hears no more than the protocol allows."""
    length: int = 1200
    """Characters of an argument, at most."""
    tokens: int = 800
    """Of an answer, at most."""
    temperature: float = 0.7
    """0: every draft of one position is the same."""
    moving: ChatPrompt | None = None
    """The prompt by which it moves a judge, rather than to win; None: the one that ships."""
    heard: dict[str, str] = field(init=False, default_factory=dict, repr=False, compare=False)
    counted: dict[str, int] = field(init=False, default_factory=dict, repr=False, compare=False)
    remembered: dict[str, Reply] = field(init=False, default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.prompt.role != "adviser":
            raise ValueError(f"the prompt {self.prompt.name} is one of a judge: give an adviser's")

    @property
    def digest(self) -> str:
        """SHA-256 of the speaker's identity, the prompt's file and everything else that decides what is asked."""
        dials = [self.quotes, self.length, self.tokens, repr(self.temperature)]
        return hashlib.sha256(json.dumps([self.speaker.identity, self.prompt.digest, dials]).encode()).hexdigest()

    def moves(self, positions: Sequence[Position]) -> list[Message | Failed]:
        """One message a position, or why there is none."""
        return answers_to(self, "moves", positions)

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): its own beliefs, as it states them, averaged over both orders of the options; NaN where it
        states none that can be read.
        """
        found = answers_to(self, "knows", cases)
        options = max((len(case.options) for case in cases), default=0)
        rows = [[np.nan] * options if isinstance(row, Failed) else row for row in found]
        return np.array(rows, dtype=np.float64).reshape(len(cases), options)

    def answers_to(self, what: str, abouts: Sequence[Any]) -> list[Any]:
        """Answers as `play` asks for them: those that failed keep their kind."""
        return answers_to(self, what, abouts)

    def against(self, judge: Judge, *, goal: str = "win", **dials: Any) -> SpokenAdviser:
        """Itself: it works against whichever judge there is, and asks it nothing. Where the goal is to move the judge,
        with the prompt for that.
        """
        return replace(self, prompt=self.moving or load_chat_prompt("adversary")) if goal == "move" else self

    def asks_of(self, what: str, about: Any) -> tuple[Ask, ...]:
        """One request for a message; two, one for either order of the options, for its own belief."""
        reserved = reserved_of(self.speaker)
        if what == "moves":
            turns = adviser_turns(self.prompt, about, reserved, quotes=self.quotes, length=self.length)
            form = as_schema(self._form(about.case, self.prompt.answer, _order(about.case)))
            seed = about.draw % SEEDS if self.temperature > 0 else 0
            ask = Ask(messages=turns, tokens=self.tokens, temperature=self.temperature, seed=seed, schema=form)
            return (ask,)
        asks = []
        for order in (_order(about), _order(about)[::-1]):
            turns = own_turns(self.prompt, about, order, reserved, quotes=self.quotes, length=self.length)
            asks.append(Ask(messages=turns, tokens=self.tokens, schema=as_schema(self._form(about, BELIEF, order))))
        return tuple(asks)

    def answer_of(self, what: str, about: Any, replies: Sequence[Reply]) -> Any:
        """The message, or (options,) its belief; `Failed` of the first reply's kind that can't be read."""
        if what == "moves":
            (found,) = (self._said(about, reply) for reply in replies)
            return Failed(found.kind) if isinstance(found, Unread) else found
        rows = []
        for order, reply in zip((_order(about), _order(about)[::-1]), replies, strict=True):
            row = self._believed(about, reply, order)
            if isinstance(row, Unread):
                return Failed(row.kind)
            rows.append(row)
        return tuple(float(p) for p in np.mean(rows, axis=0))

    def kind_of(self, what: str, about: Any, reply: Reply) -> str:
        """ "read", or what the reply is instead."""
        found = self._said(about, reply) if what == "moves" else self._believed(about, reply, _order(about))
        return found.kind if isinstance(found, Unread) else READ

    def _said(self, position: Position, reply: Reply) -> Message | Unread:
        order = _order(position.case)
        read = read_json(reply, self._form(position.case, self.prompt.answer, order))
        return (
            read if isinstance(read, Unread) else message_of(read, position, letters_of(position.case.options, order))
        )

    def _believed(self, case: Case, reply: Reply, order: Sequence[int]) -> tuple[float, ...] | Unread:
        read = read_json(reply, self._form(case, BELIEF, order))
        return read if isinstance(read, Unread) else belief_of(read["belief"], letters_of(case.options, order))

    def _form(self, case: Case, fields: Sequence[str], order: Sequence[int]) -> dict[str, Any]:
        letters = letters_of(case.options, order)
        return form_of(fields, letters=letters, places=len(case.pieces), length=self.length)


def _order(case: Case) -> tuple[int, ...]:
    return tuple(range(len(case.options)))
