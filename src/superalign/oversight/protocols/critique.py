"""Critique: an adviser names what is wrong and where; the judge has claims checked as far as its budget goes.

Saunders et al. 2022 (2206.05802), §3; the check that makes a claim worth its price: Leike, AXRP 24. Discarding: before
a check is spent the judge reads the piece that a claim points at, by itself, and drops what it finds implausible.
Best of n: of n drafts of one critic one is handed in, the one that persuades the judge most, or of which the critic is
surest (McAleese et al. 2024, 2407.00215). Critique of critique: a second adviser picks from the claims of the first,
and what both charge is checked first (2502.04675).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from superalign.oversight.table import Answers, Belief, Play, Protocol, Request, Table
from superalign.oversight.types import Adviser, Case, Charge, Message, Position, Quote

SURE = 0.9
"""Who believes in an option so much finds a charge against it implausible."""


def critique(*, claims: int = 1, checks: int = 1, discard: bool = False) -> Protocol:
    """The critic says what it believes; the first `checks` of its `claims` are checked.

    With `discard` the judge first reads the piece of each claim by itself. It drops claims that it finds implausible,
    for it believes in the charged option at `SURE` or more. Of the rest, those of which the piece tells it nothing (½)
    are checked last. Where none is left nothing is checked.
    """

    def rules(table: Table) -> Play:
        yield from table.say("critic")
        if not discard:
            return (yield from checked(table, checks, most=claims))
        stated = list(dict.fromkeys(table.messages[-1].charges[:claims]))
        right = yield from _read_apart(table, stated)
        kept = sorted((c for c in stated if right[c] < SURE), key=lambda c: right[c] == 0.5)
        return (yield from checked(table, checks, queue=kept))

    many = f" of {claims}" if claims > 1 else ""
    how = f"{claims} claims of a critic, implausible ones dropped, up to" if discard else "a critic's claims,"
    return Protocol(
        name=f"critique{many}{' with discarding' * discard}",
        title=f"{how} {checks} checked",
        play=rules,
        seats=("critic",),
        referee=True,
        source="Saunders et al. 2022, 2206.05802, §3",
    )


def critique_best_of(*, drafts: int = 4, checks: int = 1, choose: Literal["judge", "critic"] = "judge") -> Protocol:
    """The critic drafts `drafts` critiques of one claim each, and one of them is handed in and checked.

    `judge`: the one whose piece, read by itself, makes the judge believe least in the charged option; pieces are read
    once. `critic`: the one that the critic is surest of. The first of those that are as good.
    """

    def rules(table: Table) -> Play:
        said = yield tuple(_draft(table, k) for k in range(drafts))
        claims = [_claim(table.case, message) for message in said]
        right = (yield from _read_apart(table, [c for c in claims if c])) if choose == "judge" else None
        worth = [_worth(message, claim, right) for message, claim in zip(said, claims, strict=True)]
        table.hear("critic", said[int(np.argmax(worth))])
        return (yield from checked(table, checks, most=1))

    best = "that the judge finds likeliest" if choose == "judge" else "that the critic is surest of"
    return Protocol(
        name=f"critique best of {drafts}" + ", critic's choice" * (choose == "critic"),
        title=f"of {drafts} drafts of a critic the one {best}, {checks} checked",
        play=rules,
        seats=("critic",),
        referee=True,
        train=lambda lesson: {**lesson.players, "critic": drafting(lesson.players["critic"])},
        wraps=True,
        source="McAleese et al. 2024, 2407.00215",
    )


def _draft(table: Table, k: int) -> Request:
    side, draw = table.side("critic"), table.draw("critic", "draft", k)
    return Request("critic", "moves", Position(case=table.case, seat="critic", side=side, view=table.view, draw=draw))


def _claim(case: Case, message: Message | None) -> Charge | None:
    """The first charge of a message that is about something."""
    options, pieces = range(len(case.options)), range(len(case.pieces))
    charges = message.charges if message else ()
    return next((c._replace(holds=None) for c in charges if c.option in options and c.piece in pieces), None)


def _worth(message: Message | None, claim: Charge | None, right: Mapping[Charge, float] | None) -> float:
    """What speaks for handing a draft in; one without a claim comes after all that have one, silence last."""
    if message is None or claim is None:
        return -2.0 if message is None else -1.0
    stated = message.belief[claim.option] if len(message.belief) > claim.option else 1.0
    worth = 1.0 - (stated if right is None else right[claim])
    return worth if 0 <= worth <= 1 else 0.0


def _read_apart(table: Table, claims: Sequence[Charge]) -> Generator[tuple[Request, ...], Answers, dict[Charge, float]]:
    """What the judge believes of each charged option having read the piece by itself; ½ where it can't say."""
    read: dict[int, Belief | None] = {}
    for claim in claims:
        if claim.piece not in read:
            read[claim.piece] = yield from table.believe(table.view_of([claim.piece]))
    beliefs = {claim: read[claim.piece] for claim in claims}
    return {claim: 0.5 if belief is None else belief[claim.option] for claim, belief in beliefs.items()}


def drafting(critic: Adviser) -> Adviser:
    """The critic as one whose claims are drawn, if it has a reading of its own to draw by; else itself."""
    return Drafter(critic=critic) if hasattr(critic, "evidence") else critic


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafter:
    """A critic that samples: the more a piece speaks against an option, the likelier that is what it charges."""

    critic: Any
    """An EvidenceAdviser, or whoever else has `evidence`."""
    heat: float = 1.0
    """Nats; near 0 it always charges where the evidence is heaviest."""

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): the critic's beliefs."""
        out: np.ndarray = self.critic.knows(cases)
        return out

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """One claim each, by the position's draw, with its piece quoted and what the critic believes by it alone."""
        found = self.critic.evidence([p.case for p in positions])
        return [self._move(position, weight) for position, weight in zip(positions, found, strict=True)]

    def _move(self, position: Position, weight: np.ndarray) -> Message:
        against = np.stack([-weight, weight]) / self.heat
        if position.side is not None:
            against[position.side] = -np.inf
        chances = np.exp(against - against.max()).ravel()
        drawn = np.random.default_rng(position.draw).choice(len(chances), p=chances / chances.sum())
        option, piece = divmod(int(drawn), len(weight))
        first = float(1 / (1 + np.exp(-np.clip(weight[piece], -30, 30))))
        quote = Quote(piece, position.case.pieces[piece].texts)
        charges, said = (Charge(option, piece),), (first, 1 - first)
        return Message(speaker=position.seat, quotes=(quote,), charges=charges, belief=said)


def critique_of_critique(*, claims: int = 3, checks: int = 1) -> Protocol:
    """A second critic, who has read the first, picks from its claims what it charges too; that is checked first."""

    def rules(table: Table) -> Play:
        yield from table.say("critic")
        yield from table.say("second critic")
        first, second = (message.charges for message in table.messages[-2:])
        shared = [charge for charge in first[:claims] if charge in second[:claims]]
        table.order = [*shared, *(charge for charge in first if charge not in shared)]
        return (yield from checked(table, checks, most=claims))

    return Protocol(
        name="critique of critique",
        title=f"two critics; what both charge is checked first, {checks} checked",
        play=rules,
        seats=("critic", "second critic"),
        referee=True,
        source="2502.04675",
    )


def checked(table: Table, checks: int, *, most: int | None = None, queue: Sequence[Charge] | None = None) -> Play:
    """Have charges checked, by turns of their speakers or as `queue` has them; one that holds settles the item.

    The judge believes by what it was shown. A charge that holds rules its option out; none that fails tells more than
    that its speaker was wrong there, and the judge's own belief stands.
    """
    belief = yield from table.believe()
    for charge in (_queue(table, most) if queue is None else queue)[:checks]:
        holds = yield from table.check(charge)
        table.settle(charge._replace(holds=holds))
        if holds:
            belief = _without(charge.option, len(table.case.options))
            table.beliefs.append(belief)
            break
    return belief


def _queue(table: Table, most: int | None) -> list[Charge]:
    """Charges in the order in which they are checked: speakers by turns, each one's weightiest first."""
    if table.order:
        return table.order
    lists = [list(message.charges[:most]) for message in table.messages if message.charges]
    if len(lists) > 1 and table.draw("who is checked first") % 2:
        lists.reverse()
    queue: list[Charge] = []
    for k in range(max(map(len, lists), default=0)):
        queue += [charges[k] for charges in lists if k < len(charges) and charges[k] not in queue]
    return queue


def _without(option: int, options: int) -> Belief:
    return tuple(0.0 if k == option else 1 / (options - 1) for k in range(options))
