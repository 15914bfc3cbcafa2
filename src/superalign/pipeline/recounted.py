"""What V2 of leaderboards and of sweeps share: which there are, and what a stranger's ledger says of them, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Protocol, TypeGuard, TypeVar

from superalign.evidence import Event, Finding, Tampered, Workspace
from superalign.pipeline.stored import LARGER, MALFORMED, MAX_RUNS, Malformed


class Counted(Protocol):
    """A leaderboard, or a sweep."""

    @property
    def event(self) -> Event:
        """What says so."""

    @property
    def key(self) -> str:
        """What its stages name it by."""


C = TypeVar("C", bound=Counted)
S = TypeVar("S")


def counted(ws: Workspace, what: str, noun: str, read: Callable[[Event], C]) -> tuple[list[C], list[Finding]]:
    """The different ones among `run` events that hold `what`, as `read` has them, and what is wrong with others.

    Raises Tampered where there are more than MAX_RUNS.
    """
    kept: dict[str, C] = {}
    findings = []
    for event in ws.ledger.events("run"):
        if what not in event.body:
            continue
        try:
            one = read(event)
        except MALFORMED as error:
            do = "verify it with the version that made it, or don't rely on it"
            findings.append(Finding(seq=event.seq, what=f"{error!s:.300}", where=f"event {event.seq}", do=do))
            continue
        kept.setdefault(one.key, one)
    if len(kept) > MAX_RUNS:
        raise Tampered(f"{len(kept)} different {noun}s, and scores of {MAX_RUNS} at most are recomputed")
    return list(kept.values()), findings


def sealed_before(ws: Workspace, one: Counted, what: str, noun: str) -> None:
    """Raises Malformed unless a `plan` event whose `what` is its key was sealed before its first stage."""
    plans = [event.seq for event in ws.ledger.events("plan") if event.body.get(what) == one.key]
    played = [event.seq for event in ws.ledger.events("stage") if event.body.get("run") == one.key]
    if played and (not plans or min(plans) > min(played)):
        raise Malformed(one.event.seq, f"this {noun} was played before its plan was sealed")


def sizes_of(event: Event, usual: S, noun: str, *, least: int) -> S:
    """The sizes that an event states, of the class of `usual`, the default preset: from `least` to LARGER times it.

    Raises Malformed for other names and other numbers.
    """
    stated = event.body.get("sizes")
    names = [field.name for field in fields(usual)]  # type: ignore[arg-type]
    if not isinstance(stated, Mapping) or set(stated) != set(names):
        raise Malformed(event.seq, f"the sizes of this {noun} are no such object")
    for name in names:
        if type(stated[name]) is not int or not least <= stated[name] <= LARGER * getattr(usual, name):
            raise unfit(event, stated[name], f"size {name}", noun)
    return type(usual)(**stated)


def is_whole(value: Any) -> TypeGuard[str]:
    """Is it a whole number, not negative, as a `run` event writes those of a configuration?"""
    return isinstance(value, str) and value.isdecimal() and len(value) < 10


def unfit(event: Event, value: Any, what: str, noun: str) -> Malformed:
    """What to raise for a value that no leaderboard, or no sweep, has."""
    return Malformed(event.seq, f"{value!r:.80} can't be the {what} of a {noun}")
