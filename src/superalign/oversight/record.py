"""What players answered, as JSON, and plays made again from it: no player is asked, and every rule is applied anew.

An auditor who has the answers, the items and the truths finds every message, mark, belief, verdict, failure and cost
of an episode by playing its protocol again. What was answered is taken as recorded: whether these players answer so,
only asking them again would show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from superalign.oversight.table import UNANSWERED, Protocol, Request, Table, numbers
from superalign.oversight.types import Case, Charge, Episode, Message, Quote, Referee

Log = Sequence[Sequence[Mapping[str, Any]]]
"""Answers, turn by turn, each {what: answer} or {"failed": kind}."""


def recorded(what: str, answer: Any) -> dict[str, Any]:
    """One answer as JSON, messages in plain types (`table.plain`); numbers that are none become None.

    >>> recorded("beliefs", [0.25, float("nan")])
    {'beliefs': [0.25, None]}
    """
    if what == "holds":
        return {what: bool(answer)}
    if what == "moves":
        return {what: None if answer is None else _message(answer)}
    return {what: [_number(p) for p in numbers(answer)] if isinstance(answer, Iterable) else None}


def _message(said: Message) -> dict[str, Any]:
    quotes = [[q.piece, list(q.texts), q.verified] for q in said.quotes]
    charges = [[c.option, c.piece, c.holds] for c in said.charges]
    belief = [_number(p) for p in said.belief]
    stated = {"speaker": said.speaker, "side": said.side, "text": said.text, "asked": said.asked}
    return stated | {"quotes": quotes, "charges": charges, "belief": belief}


def _number(p: float) -> float | None:
    return p if math.isfinite(p) else None


def answered(entry: Mapping[str, Any], request: Request, table: Table) -> Any:
    """The answer that an entry records, as the protocol is sent it. Raises ValueError for an entry that is none."""
    if "failed" in entry:
        return stands_for(str(entry["failed"]), request, table)
    if set(entry) != {request.what}:
        raise ValueError(f"{request.seat} was asked for its {request.what}, and {sorted(entry)!s:.80} is on record")
    stored = entry[request.what]
    if request.what == "holds":
        return stored is True
    if request.what != "moves":
        return None if stored is None else [float("nan") if p is None else float(p) for p in stored]
    if stored is None:
        return None
    return Message(
        speaker=str(stored["speaker"]),
        side=stored["side"],
        quotes=tuple(Quote(int(p), tuple(map(str, texts)), verified=bool(v)) for p, texts, v in stored["quotes"]),
        charges=tuple(Charge(int(o), int(p), holds=holds) for o, p, holds in stored["charges"]),
        belief=tuple(float("nan") if p is None else float(p) for p in stored["belief"]),
        text=str(stored["text"]),
        asked=int(stored.get("asked", 0)),
    )


def stands_for(kind: str, request: Request, table: Table) -> Any:
    """What a protocol is sent where a player did not answer; the table counts the failure."""
    table.failures.append(f"{kind}: {request.seat}")
    if request.what == "moves":
        return Message(speaker=request.seat)
    return False if request.what == "holds" else UNANSWERED


def episode_of(table: Table, verdict: tuple[float, ...] | None) -> Episode:
    """The episode of a play that has ended."""
    return Episode(
        protocol=table.protocol.name,
        item=table.case.item,
        task=table.case.task,
        cluster=table.case.cluster,
        question=table.case.question,
        options=table.case.options,
        sides=table.sides,
        seed=table.seed,
        messages=tuple(table.messages),
        beliefs=tuple(table.beliefs),
        belief=verdict,
        failures=tuple(table.failures),
        answers=tuple(tuple(turn) for turn in table.log),
        cost=table.cost,
    )


def played_again(
    protocol: Protocol, case: Case, sides: Sequence[int | None], seed: int, log: Log, referee: Referee | None = None
) -> Episode:
    """The episode that follows from recorded answers; a referee says again whether charges hold.

    Raises ValueError where the log is too short or too long, answers what was not asked, or says of a charge what the
    referee doesn't.
    """
    table = Table(protocol=protocol, case=case, sides=tuple(sides), seed=seed)
    play, turn = protocol.play(table), 0
    sent: tuple[Any, ...] | None = None
    while True:
        try:
            requests = next(play) if sent is None else play.send(sent)
        except StopIteration as end:
            if turn != len(log):
                raise ValueError(f"the play ends after {turn} turns, {len(log)} are on record") from None
            return episode_of(table, end.value)
        if turn >= len(log) or len(log[turn]) != len(requests):
            raise ValueError(f"turn {turn} asks {len(requests)} questions, and other answers are on record")
        for entry, request in zip(log[turn], requests, strict=True):
            if request.what != "holds" or referee is None or "failed" in entry:
                continue
            if entry.get("holds") != referee.holds(*request.about):
                raise ValueError(f"a check in turn {turn} is on record as the referee does not tell it")
        sent = tuple(answered(entry, r, table) for entry, r in zip(log[turn], requests, strict=True))
        table.log.append([dict(entry) for entry in log[turn]])
        turn += 1
