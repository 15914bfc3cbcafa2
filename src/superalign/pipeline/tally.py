"""What scoring says when it is played again, and how that compares with what a ledger holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from superalign.evidence import Claim, Event, Finding, Measurement, Signal, Workspace, canonical, sha256

TOLERANCE = 1e-9
"""Relative: another machine's libraries may round the last digits otherwise."""
_DO = "don't rely on it; ask who computed it, and with which version of superalign"


class Tally:
    """Stands where a run has its workspace: reads a stranger's objects and truths, and keeps what scoring says."""

    def __init__(self, ws: Workspace) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        """(type of event, body), in order."""
        self.store, self.ledger = _Store(ws), _Events(self)
        self.evaluator, self.state = ws.evaluator, ws.state

    def measure(self, measurement: Measurement) -> int:
        """Keep a measurement; its number is its place among all that was said."""
        return self.keep("measurement", {f.name: getattr(measurement, f.name) for f in fields(measurement)})

    def claim(self, claim: Claim) -> int:
        """Keep a claim."""
        return self.keep("claim", {f.name: getattr(claim, f.name) for f in fields(claim)})

    def keep(self, type: str, body: Mapping[str, Any]) -> int:
        """Keep one fact."""
        self.said.append((type, dict(body)))
        return len(self.said) - 1

    def signal(self, signal: Signal) -> None:
        """A run registers its signals here; V1 has checked them."""

    def contains(self, *args: Any, **names: Any) -> None:
        """A run says here what a page holds; V1 has checked it."""

    def seal(self, *args: Any) -> None:
        """A run seals its truths here; they are only read now."""


class _Store:
    """Objects by digest; what a run would store is only kept in mind."""

    def __init__(self, ws: Workspace) -> None:
        self._ws, self._mine = ws, dict[str, Any]()

    def put_json(self, value: Any) -> str:
        digest = sha256(canonical(value))
        self._mine[digest] = value
        return digest

    def get_json(self, digest: str) -> Any:
        return self._mine[digest] if digest in self._mine else self._ws.store.get_json(digest)

    def get(self, digest: str) -> bytes:
        return self._ws.store.get(digest)

    def path(self, digest: str) -> Path:
        return self._ws.store.path(digest)


class _Events:
    """The ledger as scoring uses it: figures go in, measurements come out."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def append(self, type: str, body: Mapping[str, Any], *, actor: str) -> None:
        self._tally.keep(type, body)

    def events(self, type: str) -> list[Event]:
        blank = {"prev": "", "time": "", "actor": "evaluator", "digest": "", "signature": ""}
        said = enumerate(self._tally.said)
        return [Event(seq=i, type=t, body=body, **blank) for i, (t, body) in said if t == type]


def strike(ws: Workspace, tally: Tally, events: list[Event]) -> list[Event]:
    """The events that do not follow from what was recomputed; each fact explains one event."""
    left: dict[tuple[str, ...], list[Event]] = {}
    for event in events:
        left.setdefault(_about(event.type, event.body), []).append(event)
    for type, body in tally.said:
        for event in left.get(_about(type, body), []):
            if _same(ws, tally, event, type, body):
                left[_about(type, body)].remove(event)
                break
    return sorted((event for events in left.values() for event in events), key=lambda event: event.seq)


def unexplained(ws: Workspace, event: Event) -> Finding:
    """What to say of an event that doesn't follow."""
    name = event.body.get("name") or event.body.get("text") or event.body.get("figure")
    value = f" = {event.body['value']}" if event.type == "measurement" else ""
    what = f"the {event.type} {name!s:.80}{value} doesn't follow from the stored raw outputs"
    return Finding(seq=event.seq, what=what, where=f"event {event.seq}", do=_DO)


def close(a: Any, b: Any, *, tolerance: float = TOLERANCE) -> bool:
    """Two JSON values alike, numbers up to a relative tolerance; lists and tuples are the same.

    >>> close({"x": [1.0, None]}, {"x": (1.0 + 1e-12, None)}), close(1, "1"), close(True, 1)
    (True, False, False)
    """
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(close(a[k], b[k], tolerance=tolerance) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(close(x, y, tolerance=tolerance) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and bool(a == b)


def _about(type: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    """What a fact is about: candidates for being the same are sought among these only."""
    return (type, *(str(body.get(k)) for k in ("name", "subject", "text", "figure")))


def _same(ws: Workspace, tally: Tally, event: Event, type: str, body: Mapping[str, Any]) -> bool:
    stored, mine = dict(event.body), dict(body)
    if type == "measurement":
        stored.pop("in_distribution", None)  # lineage says it, not the scorer; V1 has checked it
        mine.pop("in_distribution", None)
    if type == "claim":
        stored["measurements"] = [_about("measurement", ws.ledger[seq].body) for seq in stored["measurements"]]
        mine["measurements"] = [_about(*tally.said[at]) for at in mine["measurements"]]
    if type == "figure":
        stored["data"], mine["data"] = ws.store.get_json(stored["data"]), tally.store.get_json(mine["data"])
    return close(stored, mine)
