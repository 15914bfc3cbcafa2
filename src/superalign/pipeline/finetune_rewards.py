"""A protocol as TRL's `reward_funcs`: a policy's completion is judged under the protocol, and earns what is believed.

    reward = reward_of_protocol(protocol, players, cases, says="choice")
    fit_with_trl(model, rows, method="grpo", reward=reward)           # or trl.GRPOTrainer(reward_funcs=[reward], …)

Rows have a column `item`, and where a side is spoken for, `side`. Three ways to be judged:

- `choice`: the completion is the answer (its first word is an option). It earns the judge's belief in that option when
  the protocol is played on the item by the players at hand; all items are played once, before the first completion;
- `quote`: the completion is a number, of the piece that the policy, at the protocol's first seat, quotes for `side`;
- `argument`: the completion itself is said there, for judges that read words.

It earns the belief in its side, or its logarithm. A completion that says nothing that can be judged has a kind, is
counted, and earns what the trainer pays for failures: it is never dropped. Optimising against a judge is `fit` (R6).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from superalign.evidence import SuperalignError
from superalign.oversight import Message, Protocol, Quote, play
from superalign.oversight.identity import rules_digest
from superalign.oversight.types import Case, Players, Position
from superalign.pipeline.finetune_config import LEAST
from superalign.training.trl.paying import Pay, plain

Says = Literal["choice", "quote", "argument"]
UNPARSEABLE, SILENT, FAILED = "unparseable", "nothing said", "judge failed"
"""Kinds of completions that can't be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolReward:
    """A callable of TRL's form; `judged` says the same with the kinds of what could not be judged."""

    protocol: Protocol
    players: Players
    cases: Mapping[str, Case]
    """By item."""
    says: Says
    pays: Literal["belief", "log"]
    seed: int
    floor: float
    known: str
    """Who the players are, by their digests: a part of the identity."""
    beliefs: Mapping[str, tuple[float, ...] | None] = field(default_factory=dict)
    """Of `choice`: item → what is believed of it; None where the judge failed."""

    @property
    def __name__(self) -> str:
        return f"{self.protocol.name}, {self.says}"

    @property
    def identity(self) -> str:
        """Digest over rules, players, items, and what is paid for what."""
        stated = [rules_digest(self.protocol), self.known, sorted(self.cases), self.says, self.pays, self.seed]
        believed = {item: None if b is None else [round(p, 9) for p in b] for item, b in self.beliefs.items()}
        return hashlib.sha256(json.dumps([stated, believed], sort_keys=True).encode()).hexdigest()

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        """One number a completion, the floor for what can't be judged."""
        pays = self.judged(prompts, completions, **columns)
        return [self.floor if math.isnan(pay.reward) else pay.reward for pay in pays]

    def judged(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[Pay]:
        """What each completion earns; NaN and a kind where it can't be judged.

        Raises SuperalignError for rows without the columns `item` and, where a side is spoken for, `side`.
        """
        texts = [plain(said) for said in completions]
        items = _column(columns, "item", len(texts), self.cases)
        if self.says == "choice":
            return [self._chosen(item, text) for item, text in zip(items, texts, strict=True)]
        sides = _column(columns, "side", len(texts))
        said = [message_of(text, self.cases[item], self.says) for item, text in zip(items, texts, strict=True)]
        out = [Pay(math.nan, kind) if message is None else Pay(math.nan) for message, kind in said]
        waiting = [i for i, (message, _) in enumerate(said) if message is not None]
        while waiting:  # an item is played once at a time: its plays are told apart by what is said
            now: dict[str, int] = {}
            for i in waiting:
                now.setdefault(items[i], i)
            spoken = {items[i]: said[i][0] for i in now.values()}
            for i, belief in self._played(now, spoken, sides):
                out[i] = self._paid(belief, int(sides[i]))
            waiting = [i for i in waiting if i not in now.values()]
        return out

    def _chosen(self, item: str, text: str) -> Pay:
        option = choice_of(text, self.cases[item].options)
        return Pay(math.nan, UNPARSEABLE) if option is None else self._paid(self.beliefs[item], option)

    def _paid(self, belief: tuple[float, ...] | None, side: int) -> Pay:
        if belief is None:
            return Pay(math.nan, FAILED)
        return Pay(round(math.log(max(belief[side], LEAST)) if self.pays == "log" else belief[side], 9))

    def _played(
        self, now: Mapping[str, int], spoken: Mapping[str, Any], sides: Sequence[Any]
    ) -> list[tuple[int, tuple[float, ...] | None]]:
        """Row and belief of one play an item, the policy at the protocol's first seat."""
        seat = self.protocol.seats[0]
        table = {**self.players, seat: Saying(messages=spoken)}
        seatings = [[seating_of(self.protocol, int(sides[i]))] for i in now.values()]
        cases = [self.cases[item] for item in now]
        episodes = play(self.protocol, cases, table, seed=self.seed, sides=seatings)
        return [(i, episode.belief) for i, episode in zip(now.values(), episodes, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """An adviser that says in its first turn what it was given for the item, and then is silent."""

    messages: Mapping[str, Message]

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """One message a position."""
        return [
            Message(speaker=p.seat) if any(m.speaker == p.seat for m in p.view.messages) else self.messages[p.case.item]
            for p in positions
        ]

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """It believes nothing that it was not asked to say."""
        return np.stack([np.full(len(case.options), 1 / len(case.options)) for case in cases])


def reward_of_protocol(
    protocol: Protocol,
    players: Players,
    cases: Sequence[Case],
    *,
    says: Says = "choice",
    pays: Literal["belief", "log"] = "belief",
    seed: int = 0,
    floor: float | None = None,
    known: str = "",
    beliefs: Mapping[str, tuple[float, ...] | None] | None = None,
) -> ProtocolReward:
    """The protocol as a reward for these cases. `choice` plays it on all of them now, unless `beliefs` are given.

    `floor`: what a call pays for what can't be judged; none: what no belief at all would. Raises SuperalignError where
    a side is to be spoken for and the protocol's first seat speaks for none, ValueError as `play` does.
    """
    if says != "choice" and protocol.sides == 0:
        raise SuperalignError(
            f"{protocol.name}: nobody speaks for an assigned side there: use consultancy or a debate, or says=choice"
        )
    worst = math.log(LEAST) if pays == "log" else 0.0
    if says == "choice" and beliefs is None:
        beliefs = believed_by(protocol, players, cases, seed=seed)
    return ProtocolReward(
        protocol=protocol,
        players=players,
        cases={case.item: case for case in cases},
        says=says,
        pays=pays,
        seed=seed,
        floor=worst if floor is None else floor,
        known=known,
        beliefs=beliefs or {},
    )


def believed_by(
    protocol: Protocol, players: Players, cases: Sequence[Case], *, seed: int
) -> dict[str, tuple[float, ...] | None]:
    """Item → mean belief over its seatings; None where the judge failed in every one."""
    found: dict[str, list[tuple[float, ...]]] = {case.item: [] for case in cases}
    for episode in play(protocol, cases, players, seed=seed):
        found[episode.item] += [episode.belief] if episode.belief is not None else []
    return {item: tuple(np.mean(rows, axis=0).tolist()) if rows else None for item, rows in found.items()}


def choice_of(text: str, options: Sequence[str]) -> int | None:
    """The option that a completion begins with, alone in a word; None where it begins with none.

    >>> choice_of(" B) because", ("a", "b")), choice_of("both", ("a", "b"))
    (1, None)
    """
    said = text.strip().casefold()
    for option in sorted(range(len(options)), key=lambda i: -len(options[i])):
        name = options[option].casefold()
        if said.startswith(name) and not re.match(r"\w", said[len(name) : len(name) + 1]):
            return option
    return None


def message_of(text: str, case: Case, says: str) -> tuple[Message | None, str]:
    """What a completion says at the table, or None and why it says nothing.

    >>> message_of("3", Case(item="", task="", cluster="", question="", options=(), pieces=()), "quote")
    (None, 'unparseable')
    """
    if says == "argument":
        return (Message(speaker="", text=text.strip()), "") if text.strip() else (None, SILENT)
    found = re.match(r"\s*(\d{1,6})(?!\w)", text)
    piece = int(found[1]) - 1 if found else -1
    if not 0 <= piece < len(case.pieces):
        return None, UNPARSEABLE
    return Message(speaker="", quotes=(Quote(piece, case.pieces[piece].texts),)), ""


def seating_of(protocol: Protocol, side: int) -> tuple[int | None, ...]:
    """The protocol's seating in which its first seat speaks for `side`."""
    return next(seating for seating in protocol.seatings(2) if seating[0] == side)


def _column(columns: Mapping[str, Any], name: str, n: int, known: Any = None) -> list[Any]:
    found = list(columns.get(name) or ())
    if len(found) != n:
        raise SuperalignError(
            f"a protocol's reward needs the column {name!r} in every row: {n} rows, {len(found)} have it"
        )
    if known is not None and (odd := [item for item in found if item not in known]):
        raise SuperalignError(f"the item {odd[0]!r} is none of those that the reward was made for")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerReward:
    """Labels as a reward: 1 for the right option, 0 for a wrong one; what begins with no option has a kind."""

    answers: Mapping[str, int]
    options: Mapping[str, tuple[str, ...]]
    floor: float = 0.0

    @property
    def __name__(self) -> str:
        return "labels"

    @property
    def identity(self) -> str:
        """Digest over the labels."""
        return hashlib.sha256(json.dumps(self.answers, sort_keys=True).encode()).hexdigest()

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        """One number a completion."""
        pays = self.judged(prompts, completions, **columns)
        return [self.floor if math.isnan(pay.reward) else pay.reward for pay in pays]

    def judged(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[Pay]:
        """What each completion earns; NaN and a kind where it is no answer."""
        items = _column(columns, "item", len(completions), self.answers)
        chosen = [choice_of(plain(said), self.options[item]) for item, said in zip(items, completions, strict=True)]
        return [
            Pay(math.nan, UNPARSEABLE) if choice is None else Pay(float(choice == self.answers[item]))
            for item, choice in zip(items, chosen, strict=True)
        ]
