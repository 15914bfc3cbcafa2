"""What the dossier shows, read from the ledger's events and the object store and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superalign.evidence import Event, Workspace
from superalign.report.escape import esc


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All events, and the JSON objects that figures point to."""

    events: Sequence[Event]
    figures: Mapping[str, Any]
    head: str

    def bodies(self, type: str) -> list[tuple[int, Mapping[str, Any]]]:
        """(seq, body) of every event of a type."""
        return [(event.seq, event.body) for event in self.events if event.type == type]

    def measured(self, **tags: Any) -> list[tuple[int, Mapping[str, Any]]]:
        """Measurements whose tags hold all of `tags`."""
        return [(s, b) for s, b in self.bodies("measurement") if all(b["tags"].get(k) == v for k, v in tags.items())]


def read_view(workspace: Workspace) -> View:
    """Read a workspace."""
    figures = {e.body["figure"]: workspace.store.get_json(e.body["data"]) for e in workspace.ledger.events("figure")}
    return View(events=workspace.ledger.events(), figures=figures, head=workspace.ledger.head)


def number(value: object, *, signed: bool = False) -> str:
    """Three digits after the point; "refused" for None; never NaN."""
    if value is None:
        return "refused"
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "not a number"
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def linked(seq: int, body: Mapping[str, Any], *, signed: bool = False) -> str:
    """A measurement as HTML: value and interval, linked to its event; a refusal with its reason."""
    if body["value"] is None:
        return f'<a href="#e{seq}"><b>refused</b></a> <small>{esc(body["note"])}</small>'
    text = f'<a href="#e{seq}">{number(body["value"], signed=signed)}</a>'
    if body["low"] is not None:
        text += (
            f' <span class="iv">[{number(body["low"], signed=signed)}, {number(body["high"], signed=signed)}]</span>'
        )
    return text


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A captioned table in a box that scrolls by itself; cells are HTML already."""
    if not rows:
        return f'<p class="none">{esc(caption)}: nothing was measured.</p>'
    head = "".join(f"<th scope=col>{esc(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{esc(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
