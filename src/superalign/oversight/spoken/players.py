"""What is common to players in words: one request or several a question, replies remembered, counted and noted.

A player in words is asked by `asks_of` and read by `answer_of`, which are functions of the player, the question and the
replies and of nothing else; who carries the asks, and when, is another's business (`answers_to` here, `play_async`).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from superalign.models.speaker import Ask, Reply, Speaker
from superalign.oversight.spoken.answers import PLACES

READ = "read"
"""Kind of a reply that holds an answer."""
SEEDS = 2**31
"""Seeds of requests are below it: providers take no larger ones."""


class SpokenPlayer(Protocol):
    """A judge or an adviser in words. `what` is "moves", "knows" or "beliefs", `about` a Position, a Case or a View."""

    def asks_of(self, what: str, about: Any) -> tuple[Ask, ...]:
        """All that is asked for one answer."""

    def answer_of(self, what: str, about: Any, replies: Sequence[Reply]) -> Any:
        """What these replies, one an ask, come to: a Message, a row of numbers, or `Failed(kind)`."""


class Noting(SpokenPlayer, Protocol):
    """A player in words that keeps what it heard."""

    @property
    def speaker(self) -> Speaker:
        """Who is asked."""

    @property
    def heard(self) -> dict[str, str]:
        """Key of an ask → digest of the raw response; only ever added to."""

    @property
    def counted(self) -> dict[str, int]:
        """Kind → replies of it, "read" those that held an answer."""

    @property
    def remembered(self) -> dict[str, Reply]:
        """Key of an ask → its reply."""

    def kind_of(self, what: str, about: Any, reply: Reply) -> str:
        """What kind of reply it is to that question: "read", or what it is instead."""


def is_spoken(player: Any) -> bool:
    """Is it asked in words?"""
    return hasattr(player, "asks_of") and hasattr(player, "answer_of")


def answers_to(player: Noting, what: str, abouts: Sequence[Any]) -> list[Any]:
    """A player's answers to many questions, asked in one batch; nothing is asked twice that was answered.

    What the speaker raises (a key that is refused, a spending limit that is reached) goes through.
    """
    identity = player.speaker.identity
    asked = [player.asks_of(what, about) for about in abouts]
    keys = [[ask.key(identity) for ask in asks] for asks in asked]
    new = {
        key: (ask, about)
        for about, asks, named in zip(abouts, asked, keys, strict=True)
        for ask, key in zip(asks, named, strict=True)
        if key not in player.remembered
    }
    replies = dict(zip(new, player.speaker.ask([ask for ask, _ in new.values()]) if new else (), strict=True))
    for key, (ask, about) in new.items():
        noted(player, what, about, (ask,), (replies[key],))
        if replies[key].kind != "none":  # an answer that never came may come another time
            player.remembered[key] = replace(replies[key], tokens=replies[key].tokens[:PLACES])
    known = ChainMap(replies, player.remembered)
    return [
        player.answer_of(what, about, [known[key] for key in named]) for about, named in zip(abouts, keys, strict=True)
    ]


def noted(player: Any, what: str, about: Any, asks: Sequence[Ask], replies: Sequence[Reply]) -> None:
    """Count replies by kind and keep the digests of what they were read from, where the player keeps them.

    Raises ValueError for more or fewer replies than were asked for.
    """
    if len(asks) != len(replies):
        raise ValueError(f"{len(asks)} were asked and {len(replies)} replied: give one reply an ask, in their order")
    if not hasattr(player, "heard"):
        return
    for ask, reply in zip(asks, replies, strict=True):
        kind = player.kind_of(what, about, reply)
        player.counted[kind] = player.counted.get(kind, 0) + 1
        if reply.raw:
            player.heard.setdefault(ask.key(player.speaker.identity), reply.raw)
