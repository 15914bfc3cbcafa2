"""Many plays at once: whatever all protocols under way ask of one player is answered in one batch.

    episodes = list(play(PROTOCOLS["debate"], cases, {"judge": judge, "a": adviser, "b": adviser}, seed=0))

A judge that answers NaN or an adviser that is too late becomes a failure of that episode and of no other. Any player
may return `Failed(kind)` in the place of one answer; one that has `answers_to(what, abouts)` is asked by it, so that
where it is asked in numbers (`beliefs`, `knows`) its failures keep their kinds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from superalign.oversight.record import episode_of, recorded, stands_for
from superalign.oversight.table import Answers, Belief, Failed, Protocol, Request, Table, plain
from superalign.oversight.types import Case, Cost, Episode, Message, Players

OVERLAP = 32
"""Calls to one remote player at a time."""


def play(
    protocol: Protocol,
    cases: Sequence[Case],
    players: Players,
    *,
    seed: int = 0,
    sides: Sequence[Sequence[tuple[int | None, ...]]] | None = None,
    patience: float = 60.0,
) -> Iterator[Episode]:
    """Play a protocol on every Case in all its seatings; yields episodes in order once all are played.

    `players` seats the judge, the protocol's advisers and, where claims are checked, a referee. `sides` lists the
    seatings of each Case instead of the protocol's own. Calls to players whose `remote` is true overlap, and each is
    given `patience` seconds; an error of theirs fails that episode. Raises ValueError when a seat is empty, or a Case
    has fewer than two options or nothing to quote.
    """
    playable(protocol, cases, players)
    if sides is None:
        sides = [protocol.seatings(len(case.options)) for case in cases]
    tables = [
        Table(protocol=protocol, case=case, sides=tuple(seating), seed=seed)
        for case, seatings in zip(cases, sides, strict=True)
        for seating in seatings
    ]
    verdicts = _run(tables, players, patience)
    for table, verdict in zip(tables, verdicts, strict=True):
        yield episode_of(table, verdict)


def playable(protocol: Protocol, cases: Sequence[Case], players: Players) -> None:
    """Can this be played at all? Raises ValueError as `play` does."""
    empty = [s for s in ("judge", *protocol.seats, *(("referee",) if protocol.referee else ())) if s not in players]
    if empty:
        raise ValueError(f"{protocol.name}: nobody sits at {', '.join(empty)}: seat a player there")
    if odd := [case.item for case in cases if len(case.options) < 2 or not case.pieces]:
        raise ValueError(f"{odd[0]}: a case has two options and a piece to quote: leave out {len(odd)} of {len(cases)}")


def _run(tables: Sequence[Table], players: Players, patience: float) -> list[Belief | None]:
    verdicts: list[Belief | None] = [None] * len(tables)
    plays = [table.protocol.play(table) for table in tables]
    waiting: dict[int, tuple[Request, ...]] = {}
    sent: dict[int, Answers | None] = dict.fromkeys(range(len(tables)))
    while sent:
        for i, answers in sent.items():
            try:
                waiting[i] = next(plays[i]) if answers is None else plays[i].send(answers)
            except StopIteration as end:
                verdicts[i] = end.value
                waiting.pop(i, None)
        sent = _answered(waiting, tables, players, patience)
    return verdicts


def _answered(
    waiting: dict[int, tuple[Request, ...]], tables: Sequence[Table], players: Players, patience: float
) -> dict[int, Answers | None]:
    """Answers to everything that is asked just now, player by player."""
    asked: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for i, requests in waiting.items():
        for k, request in enumerate(requests):
            asked.setdefault((request.seat, request.what), []).append((i, k))
    found: dict[tuple[int, int], Any] = {}
    entries: dict[tuple[int, int], dict[str, Any]] = {}
    merged: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for (seat, what), places in asked.items():
        merged.setdefault((id(players[seat]), what), []).extend(places)
    for (_, what), places in merged.items():
        player = players[waiting[places[0][0]][places[0][1]].seat]
        began = time.perf_counter()
        abouts = [waiting[i][k].about for i, k in places]
        answers = asked_of(player, what, abouts, patience)
        each = (time.perf_counter() - began) / len(places)
        for (i, k), answer in zip(places, answers, strict=True):
            tables[i].cost += Cost(seconds=each)
            entries[i, k], found[i, k] = filed(answer, waiting[i][k], tables[i])
    for i, requests in waiting.items():
        tables[i].log.append([entries[i, k] for k in range(len(requests))])
    return {i: tuple(found[i, k] for k in range(len(requests))) for i, requests in waiting.items()}


def _plainly(what: str, answer: Any) -> Any:
    """A message in plain types: what players write is checked once, before it is kept or heard."""
    return plain(answer) if what == "moves" and isinstance(answer, Message) else answer


def filed(answer: Any, request: Request, table: Table) -> tuple[dict[str, Any], Any]:
    """An answer as it is put on record, and as the protocol is sent it; one that failed is counted at the table."""
    if not isinstance(answer, Failed):
        return recorded(request.what, answer), answer
    kind = str(answer.kind)
    return {"failed": kind}, stands_for(kind, request, table)


def asked_of(player: Any, what: str, abouts: Sequence[Any], patience: float) -> list[Any]:
    """A player's answers to all of one kind of question. Raises ValueError where their number is another."""
    answers = [_plainly(what, answer) for answer in _ask(player, what, abouts, patience)]
    if len(answers) != len(abouts):
        raise ValueError(f"{type(player).__name__}.{what}: {len(abouts)} were asked, {len(answers)} answered")
    return answers


def _ask(player: Any, what: str, abouts: Sequence[Any], patience: float) -> Iterable[Any]:
    ask: Callable[[Sequence[Any]], Sequence[Any]] = _asker(player, what)
    if not getattr(player, "remote", False):
        return ask(abouts)
    return _overlapped(ask, abouts, patience)


def _asker(player: Any, what: str) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if what == "holds":
        return _holds(player)
    spoken: Callable[[str, Sequence[Any]], Sequence[Any]] | None = getattr(player, "answers_to", None)
    if spoken is not None:
        return lambda abouts: spoken(what, abouts)
    asked: Callable[[Sequence[Any]], Sequence[Any]] = getattr(player, what)
    return asked


def _holds(referee: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    return lambda abouts: [referee.holds(*about) for about in abouts]


def _overlapped(ask: Callable[[Sequence[Any]], Sequence[Any]], abouts: Sequence[Any], patience: float) -> list[Any]:
    """One call each, side by side; each has `patience` from when it begins.

    Its threads are daemons: one that never comes back keeps nobody waiting, not even the interpreter's end.
    """
    begun: dict[int, float] = {}
    answers: dict[int, Any] = {}
    late: set[int] = set()
    todo, told = deque(enumerate(abouts)), threading.Event()

    def work() -> None:
        while todo:
            try:
                place, about = todo.popleft()
            except IndexError:  # another thread took the last one
                return
            begun[place] = time.monotonic()
            try:
                answer = ask([about])[0]
            except Exception as error:  # noqa: BLE001 (whatever a player raises fails its own episode)
                answer = Failed(f"error ({type(error).__name__})")
            answers[place] = answer
            told.set()

    for _ in range(min(OVERLAP, len(abouts))):
        threading.Thread(target=work, daemon=True).start()
    while len(late | answers.keys()) < len(abouts):
        told.wait(0.05)
        told.clear()
        now = time.monotonic()
        late |= {i for i, since in list(begun.items()) if i not in answers and now - since > patience}
        if len(late - answers.keys()) >= OVERLAP:  # every thread is stuck
            todo.clear()
            break
    kept = dict(answers)
    return [Failed("timeout") if i in late or i not in kept else kept[i] for i in range(len(abouts))]
