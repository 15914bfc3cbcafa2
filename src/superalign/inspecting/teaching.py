"""Protocols that train players by playing (market making, …), in Inspect: taught once an evaluation, then played.

    learned = await learned_once(rules, table, of, seed=0)       # in a solver, where models are known
    episode = await played(rules, case, sides, learned, table, seed=0)

What is fitted are a few weights over what the judge believes, by oversight's own rules; no language model is changed.
The lesson is of the training split, and its plays are asked of the models of the seats. Those rules know no event
loop: they run in a thread, which asks Inspect's models through the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from superalign.evidence import SuperalignError
from superalign.inspecting.items import Drawn, TaskUnfit

if TYPE_CHECKING:
    from superalign.inspecting.seats import Seated
    from superalign.models.speaker import Ask, Reply
    from superalign.oversight import Episode, Protocol
    from superalign.oversight.types import Case
    from superalign.tasks.item import Page

T = TypeVar("T")
THREADS = 128
"""Plays at a time, at most: each waits in one for its models."""
LEARNED = ("train", "dev")
"""Splits that players may learn from; a file of yours may lack the first."""


@dataclass(frozen=True, slots=True)
class Bridged:
    """The speaker of a seat, for a thread that the event loop waits for."""

    identity: str
    seat: str
    table: Seated

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask. What Inspect raises (limits, a provider's error, an end from outside) goes through."""
        from anyio import from_thread

        return from_thread.run(self.table.ask, self.seat, list(asks))


def lesson_for(drawn: Drawn, items: int) -> tuple[Drawn, Page]:
    """The lesson of a task that is played on `drawn`: `items` of its training split, none of them judged.

    Raises TaskUnfit where the task is played on what is learned from, or holds no lesson.
    """
    if drawn.split == LEARNED[0]:
        raise TaskUnfit(f"its players learn from {drawn.split}: play it on dev, validation or test")
    if items < 1:
        raise TaskUnfit(f"lesson={items}: its players learn from 1 item or more")
    why = ""
    splits = [split for split in (LEARNED if drawn.own else LEARNED[:1]) if split != drawn.split]
    for split in splits:
        of = replace(drawn, split=split, items=items)
        try:
            page = of.page()
        except TaskUnfit as error:
            why = why or str(error)
            continue
        if page.items:
            return of, page
    raise TaskUnfit(f"{drawn.task}: its players learn from items of its training split: {why or 'it holds none'}")


async def learned_once(rules: Protocol, table: Seated, of: Drawn, *, seed: int) -> Mapping[str, Any]:
    """The players of a table, taught by the lesson `of` once; who comes while they learn waits for it.

    Raises SuperalignError where nothing of what the judge said could be read, so that there is nothing to learn from.
    """
    import anyio

    from superalign.oversight import case_of
    from superalign.oversight.table import Lesson

    assert rules.train is not None
    table.turn = table.turn or anyio.Lock()
    async with table.turn:
        if table.learned is None:
            page = of.page()
            lesson = Lesson(
                cases=[case_of(item) for item in page.items],
                answers=[int(page.truths[item.id]["answer"]) for item in page.items],
                players=bridged(table),
                seed=seed,
            )
            try:
                table.learned = await aside(table, partial(rules.train, lesson))
            except ValueError as error:
                raise SuperalignError(f"{rules.name}: its players could not be taught: {error}") from error
    return table.learned


def bridged(table: Seated) -> dict[str, Any]:
    """The players of a table, as a thread asks them; the judge is settled."""
    found = {}
    for seat, player in table.players.items():
        own: dict[str, Any] = {"by": player.using} if seat == "judge" else {}
        if seat == "adviser" and "adversary" in table.players:
            own = {"moving": table.players["adversary"].prompt}
        found[seat] = replace(player, speaker=Bridged(player.speaker.identity, seat, table), **own)
    return found


async def aside(table: Seated, work: Callable[[], T]) -> T:
    """Do it in a thread, of which the table has its own."""
    from anyio import CapacityLimiter, to_thread

    table.threads = table.threads or CapacityLimiter(THREADS)
    return await to_thread.run_sync(work, limiter=table.threads)


async def played(
    rules: Protocol,
    case: Case,
    sides: Sequence[int | None],
    players: Mapping[str, Any],
    table: Seated,
    *,
    seed: int,
) -> Episode:
    """One play by players that were taught."""
    from superalign.oversight import play

    def once() -> Episode:
        (episode,) = play(rules, [case], dict(players), seed=seed, sides=[[tuple(sides)]])
        return episode

    return await aside(table, once)
