"""A finding: what an auditor is told about one thing that is wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`seq` is the event's number, or None where it isn't about one event."""

    seq: int | None
    what: str
    where: str
    do: str
