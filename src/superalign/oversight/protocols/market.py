"""Market making: a market predicts what the judge will believe in the end, an adversary shows what moves it most.

The market M is trained: its price after any transcript is to be the judge's belief at the end of it, so that a price
that no further argument moves is what the judge would believe if it had heard everything (Hubinger 2020, "AI safety
via market making"; L_M = −p* log p_t − (1 − p*) log(1 − p_t), L_Adv = −|p_{t+1} − p_t|, myopic). It knows what the
adviser believes. What is deployed is M's price, so it inherits whatever the judge can be persuaded of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from superalign.oversight.advisers.search import against
from superalign.oversight.judges.adapted import AdaptedJudge, fitted_to
from superalign.oversight.play import play
from superalign.oversight.protocols.controls import QUOTES
from superalign.oversight.table import Lesson, Play, Protocol, Table
from superalign.oversight.types import Message, Players, View

NAME = "market making"
STILL = 0.02
"""A price that moves less than this has settled."""


def market_making(*, turns: int = QUOTES, rounds: int = 3) -> Protocol:
    """Up to `turns` quotes of the adversary; market and adversary are trained against each other for `rounds`."""
    protocol = Protocol(
        name=NAME,
        title=f"a trained market that knows the adviser's belief; an adversary moves it, up to {turns} quotes",
        play=_rules(turns),
        seats=("adviser", "adversary"),
        train=lambda lesson: _trained(protocol, lesson, rounds),
        source="Hubinger 2020, AI safety via market making",
    )
    return protocol


def _rules(turns: int) -> Callable[[Table], Play]:
    def rules(table: Table) -> Play:
        known = yield from table.knows("adviser")
        if known is None:
            return None
        table.messages.append(Message(speaker="adviser", belief=known))
        price = yield from table.believe()
        for turn in range(turns):
            yield from table.say("adversary", turns_left=turns - turn - 1, replied=False)
            before, price = price, (yield from table.believe())
            if before and price and max(abs(a - b) for a, b in zip(before, price, strict=True)) < STILL:
                break
        return price

    return rules


def _trained(protocol: Protocol, lesson: Lesson, rounds: int) -> Players:
    """Market and adversary, trained by turns: the market on all transcripts so far, the adversary against it."""
    human, adviser = lesson.players["judge"], lesson.players["adviser"]
    market: AdaptedJudge | None = None
    views: list[View] = []
    ends: list[float] = []
    players: Players = {}
    for turn in range(rounds + 1):
        judge = market or human
        adversary = against(judge, adviser, goal="move", width=None)
        players = {**lesson.players, "judge": judge, "adversary": adversary}
        if turn == rounds:
            break
        episodes = list(play(protocol, lesson.cases, players, seed=lesson.seed + turn))
        for episode in episodes:
            whole = episode.view
            end = float(human.beliefs([_heard(whole)])[0, 0])
            for k in range(1, len(whole.messages) + 1):
                views.append(replace(whole, messages=whole.messages[:k]))
                ends.append(end)
        market = fitted_to(human, NAME, views, np.nan_to_num(np.array(ends), nan=0.5))
    return players


def _heard(view: View) -> View:
    """What the judge itself goes by: the market's own knowledge is no argument."""
    return replace(view, messages=tuple(m for m in view.messages if m.quotes))
