"""What a ledger holds of one stress test; figures are a stranger's JSON: checked, never trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from superalign.report.generalize_view import rounded
from superalign.report.measured import EventLike, number_of
from superalign.report.text import finite
from superalign.report.views import Number, Suspect

STAGE = "game"
ALL, ANY = "all", "any"
MAX_CELLS, MAX_SUSPECTS = 4_000, 6_000
"""Of a page; what is left out is counted."""


@dataclass(slots=True)
class SideView:
    """Everything of the organisms of one job."""

    name: str
    card: dict[tuple[str, str, str], Number] = field(default_factory=dict)
    """(check, kind or `all`, part) → number."""
    install: dict[tuple[str, str, str], Number] = field(default_factory=dict)
    """(kind, seed, part) → number."""
    suspects: list[Suspect] = field(default_factory=list)

    @property
    def checks(self) -> list[str]:
        """Checks in the order in which they were measured; `any` of them last."""
        found = list(dict.fromkeys(check for check, _, _ in self.card))
        return sorted(found, key=lambda check: check == ANY)

    @property
    def kinds(self) -> list[str]:
        """Kinds of organism, as they were measured."""
        return list(dict.fromkeys(kind for kind, _, _ in self.install))

    @property
    def carried(self) -> tuple[int, int]:
        """How many organisms carry their behaviour, of how many."""
        each = {(kind, seed): number.tags.get("installed") for (kind, seed, _), number in self.install.items()}
        return sum(mark == "1" for mark in each.values()), len(each)


@dataclass(slots=True)
class StressView:
    """All that the ledger holds of one stress test."""

    sides: dict[str, SideView] = field(default_factory=dict)
    subject: dict[str, Number] = field(default_factory=dict)
    """Check → what it made of the subject."""
    verdicts: dict[str, str] = field(default_factory=dict)
    further: dict[str, list[Number]] = field(default_factory=dict)
    """Study → its numbers."""
    left_out: int = 0


def stress_of(events: Iterable[EventLike], read: Callable[[str], Any], *, game: str | None = None) -> StressView:
    """The view of one stress test; without a key, of the one that was measured last."""
    events = list(events)
    told = [e for e in events if e.type == "measurement" and _tags(e).get("stage") == STAGE]
    keys = [str(key) for e in told if (key := _tags(e).get("game"))]
    game = game or (keys[-1] if keys else "")
    view = StressView()
    for event in told:
        if str(_tags(event).get("game", "")) == game:
            _add(view, rounded(number_of(event)))
    for event in events:
        if event.type == "figure" and event.body.get("game") == game and event.body.get("figure") == "suspicions":
            _suspects(view, event, read)
        tags = _tags(event)
        if event.type == "claim" and tags.get("game") == game:
            view.verdicts[str(tags.get("property", ""))] = str(event.body.get("verdict", ""))
    return view


def _tags(event: EventLike) -> Mapping[str, Any]:
    tags = event.body.get("tags")
    return tags if isinstance(tags, Mapping) else {}


def _add(view: StressView, number: Number) -> None:
    tags, figure = number.tags, number.tags.get("figure", "")
    if figure == "subject":
        view.subject[tags.get("check", "")] = number
        return
    if figure == "further":
        some = view.further.setdefault(tags.get("study", ""), [])
        some.append(number) if len(some) < MAX_CELLS else None
        return
    side = view.sides.setdefault(tags.get("side", ""), SideView(name=tags.get("side", "")))
    key = tags.get("check", ""), tags.get("kind", ""), tags.get("part", "")
    if len(side.card) + len(side.install) >= MAX_CELLS or figure not in ("card", "install"):
        view.left_out += 1
    elif figure == "card":
        side.card[key] = number
    else:
        side.install[tags.get("kind", ""), tags.get("seed", ""), tags.get("part", "")] = number


def _suspects(view: StressView, event: EventLike, read: Callable[[str], Any]) -> None:
    told = read(str(event.body.get("data", "")))
    rows = told.get("suspicions") if isinstance(told, Mapping) else None
    for row in (rows if isinstance(rows, list) else [])[:MAX_SUSPECTS]:
        if not isinstance(row, Mapping) or str(row.get("side")) not in view.sides:
            view.left_out += 1
            continue
        score, cut = finite(row.get("score")), finite(row.get("threshold"))
        number = Number(seq=event.seq, name="suspicion", title="suspicion", value=score, note="could not be told")
        flagged = None if score is None else cut is not None and score > cut
        one = Suspect(
            alias=str(row.get("alias", "")),
            check=str(row.get("check", "")),
            truth=str(row.get("role", "")),
            kind=str(row.get("kind", "")),
            flagged=flagged,
            threshold=cut,
            number=number,
        )
        view.sides[str(row["side"])].suspects.append(one)
