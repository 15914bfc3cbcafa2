"""One table played by whoever awaits the answers: for frameworks that ask models themselves, as Inspect does.

    async def ask(seat, asks): ...                       # one Reply an Ask, in their order
    episode = await play_async(PROTOCOLS["debate"], case, players, seed=0, sides=(0, 1), ask=ask)

The same replies give the same episode as `play` does, but for the time that it took.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from superalign.models.speaker import Ask, Reply
from superalign.oversight.play import asked_of, filed, playable
from superalign.oversight.record import episode_of
from superalign.oversight.spoken.players import is_spoken, noted
from superalign.oversight.table import Protocol, Request, Table, plain
from superalign.oversight.types import Case, Cost, Episode, Message, Players

T = TypeVar("T")
Asking = Callable[[str, tuple[Ask, ...]], Awaitable[Sequence[Reply]]]
"""Seat and asks → one reply an ask."""


async def play_async(
    protocol: Protocol,
    case: Case,
    players: Players,
    *,
    seed: int = 0,
    sides: Sequence[int | None],
    ask: Asking,
    patience: float = 60.0,
) -> Episode:
    """Play a protocol on one Case in one seating. Players in words are asked through `ask`, those that speak at once
    side by side; all others are called as `play` calls them, and keep the event loop waiting.

    Raises ValueError as `play` does, and for another number of replies than of asks; what `ask` raises goes through.
    """
    playable(protocol, [case], players)
    table = Table(protocol=protocol, case=case, sides=tuple(sides), seed=seed)
    rules = protocol.play(table)
    sent: tuple[Any, ...] | None = None
    while True:
        try:
            requests = next(rules) if sent is None else rules.send(sent)
        except StopIteration as end:
            return episode_of(table, end.value)
        began = time.perf_counter()
        answers = await _answers(requests, players, ask, patience)
        pairs = [filed(answer, request, table) for answer, request in zip(answers, requests, strict=True)]
        table.cost += Cost(seconds=time.perf_counter() - began)
        table.log.append([entry for entry, _ in pairs])
        sent = tuple(answer for _, answer in pairs)


async def side_by_side(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All of it at once, results in order. Where one raises, the others are ended: nobody goes on to be paid for."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _answers(requests: Sequence[Request], players: Players, ask: Asking, patience: float) -> list[Any]:
    """Answers in the order of the requests; others than players in words are asked in one batch each, as in `play`."""
    spoken = [k for k, r in enumerate(requests) if is_spoken(players[r.seat]) and r.what != "holds"]
    found = dict(zip(spoken, await side_by_side(_one(requests[k], players, ask) for k in spoken), strict=True))
    batches: dict[tuple[int, str], list[int]] = {}
    for k, request in enumerate(requests):
        if k not in found:
            batches.setdefault((id(players[request.seat]), request.what), []).append(k)
    for (_, what), places in batches.items():
        abouts = [requests[k].about for k in places]
        found |= zip(places, asked_of(players[requests[places[0]].seat], what, abouts, patience), strict=True)
    return [found[k] for k in range(len(requests))]


async def _one(request: Request, players: Players, ask: Asking) -> Any:
    player = players[request.seat]
    if getattr(player, "undecided", False):  # it chooses by a first answer how it is asked (`SpokenJudge`, "auto")
        player.settle(await ask(request.seat, player.probes()))
    asks = player.asks_of(request.what, request.about)
    replies = tuple(await ask(request.seat, asks))
    noted(player, request.what, request.about, asks, replies)
    answer = player.answer_of(request.what, request.about, replies)
    return plain(answer) if isinstance(answer, Message) else answer
