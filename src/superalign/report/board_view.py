"""What a ledger holds of a leaderboard, task by task; figures are a stranger's JSON: checked, never trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from superalign.report.measured import number_of
from superalign.report.text import finite
from superalign.report.views import Number

READ = "judge tokens per play"
CONTROLS = ("oracle", "deference", "unaided", "ensemble")
SIGNED = ("brier", "bits gained", "score difference", "error similarity")
MAX_BINS = 40
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of the requests that players in words sent under one protocol."""

    by: str
    """How the judge believes."""
    replies: Mapping[str, Mapping[str, int]]
    """Seat → kind → requests."""


@dataclass(slots=True)
class TaskView:
    """What the ledger holds of one task."""

    parts: dict[str, dict[str, Number]] = field(default_factory=dict)
    """Protocol → part → number."""
    contrasts: list[Number] = field(default_factory=list)
    talks: list[dict[str, Any]] = field(default_factory=list)
    curve: dict[str, dict[int, dict[str, Number]]] = field(default_factory=dict)
    """Protocol → further budget → part → number."""
    bins: dict[str, list[list[float]]] = field(default_factory=dict)
    """Protocol → (mean belief, how often it was so, events) of each bin."""
    heard: dict[str, Heard] = field(default_factory=dict)
    """Protocol → what players in words answered, where they were asked."""

    @property
    def ranked(self) -> list[str]:
        """Protocols whose accuracy was measured, the most accurate first."""
        scored = [name for name, parts in self.parts.items() if "accuracy" in parts]
        return sorted(scored, key=lambda name: -(self.parts[name]["accuracy"].value or 0.0))


def last_board(events: Sequence[Any]) -> str:
    """Key of the board that was measured last; empty where there is none."""
    boards = [key for event in events if event.type == "measurement" and (key := _board(event))]
    return boards[-1] if boards else ""


def tasks_of(events: Sequence[Any], read: Any, *, board: str | None = None) -> dict[str, TaskView]:
    """Task → view of one board, the latest measurement of each thing."""
    board = board or last_board(events)
    events = [event for event in events if event.type in ("measurement", "figure") and _board(event) == board]
    tasks: dict[str, TaskView] = {}
    contrasts: dict[tuple[str, str], Number] = {}
    for event in events:
        if event.type == "measurement" and (event.body.get("tags") or {}).get("stage") == "oversight":
            number = _round(number_of(event))
            view = tasks.setdefault(number.tags.get("task", ""), TaskView())
            if "curve" in number.tags:
                budget = number.tags.get("budget", "")
                if budget.isdecimal() and len(budget) < 4:
                    at = view.curve.setdefault(number.tags["curve"], {}).setdefault(int(budget), {})
                    at[number.tags.get("part", "")] = number
            elif "part" in number.tags:
                name = number.tags.get("protocol", "")
                view.parts.setdefault(name, {})[number.tags["part"]] = number
                if heard := _heard_of(event.body["tags"]):
                    view.heard[name] = heard
            else:
                contrasts[number.tags.get("task", ""), number.name] = number
        if event.type == "figure" and event.body.get("figure") == "board":
            data = read(event.body["data"])
            if isinstance(data, Mapping) and isinstance(data.get("worst"), list):
                view = tasks.setdefault(str(data.get("task", "")), TaskView())
                view.talks = [{**t, "seq": event.seq} for t in data["worst"] if isinstance(t, Mapping)]
                view.bins = _bins_of(data.get("reliability"))
    for (task, _), number in contrasts.items():
        tasks[task].contrasts.append(number)
    return tasks


def _heard_of(tags: Mapping[str, Any]) -> Heard | None:
    """What tags say of replies, as far as it is whole numbers by seat and kind."""
    told = tags.get("replies")
    found = {
        str(seat): {str(kind): int(n) for kind, n in kinds.items() if finite(n) is not None and n >= 0}
        for seat, kinds in (told.items() if isinstance(told, Mapping) else ())
        if isinstance(kinds, Mapping)
    }
    return Heard(by=str(tags.get("by", "")), replies=found) if found else None


def _round(number: Number) -> Number:
    """What a page shows of it: the last digits of a zero are no result."""
    value, low, high = (None if x is None else round(x, DIGITS) for x in (number.value, number.low, number.high))
    return replace(number, value=value, low=low, high=high)


def _bins_of(data: Any) -> dict[str, list[list[float]]]:
    """What a figure holds of reliability, as far as it is three finite numbers a bin, shares in [0, 1]."""
    found: dict[str, list[list[float]]] = {}
    for name, rows in data.items() if isinstance(data, Mapping) else ():
        bins = [[finite(x) for x in row] for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
        fine = [row for row in bins if len(row) == 3 and all(x is not None and x >= 0 for x in row)]
        if fine and len(fine) == len(rows) <= MAX_BINS and all(max(row[:2]) <= 1 for row in fine):  # type: ignore[type-var]
            found[str(name)] = fine  # type: ignore[assignment]
    return found


def _board(event: Any) -> str:
    tags = event.body.get("tags") or {}
    return str(event.body.get("board") or (tags.get("board") if isinstance(tags, Mapping) else "") or "")
