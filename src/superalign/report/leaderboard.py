"""`write_leaderboard`: protocols of oversight side by side, one self-contained page from a workspace's ledger alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from superalign.evidence import Workspace
from superalign.report.appendix import events_section
from superalign.report.compile import compile_dossier
from superalign.report.front import TOY
from superalign.report.html import Html, cell, chip, cite, column, named, row, shell, table, tag, together, value_of
from superalign.report.measured import number_of
from superalign.report.page import put, reader
from superalign.report.plots import axis, scale_for, strip
from superalign.report.text import clip, figure
from superalign.report.views import Number

COLUMNS = (
    "honest", "dishonest", "brier", "bits gained", "score difference", "judge tokens per correct",
    "judge checks per correct",
)  # fmt: skip
CONTROLS = ("oracle", "deference", "unaided", "ensemble")
SIGNED = ("brier", "bits gained", "score difference")
MAX_CONVERSATIONS, MAX_LINES = 40, 60


@dataclass(slots=True)
class TaskView:
    """What the ledger holds of one task."""

    parts: dict[str, dict[str, Number]] = field(default_factory=dict)
    """Protocol → part → number."""
    contrasts: list[Number] = field(default_factory=list)
    talks: list[dict[str, Any]] = field(default_factory=list)


def write_leaderboard(workspace: Workspace, out: Path, *, board: str | None = None) -> Path:
    """Write the page of one board to `out`, whole or not at all; without a key, of the board that was measured last.

    Raises SuperalignError where an object can't be read.
    """
    events, read = workspace.ledger.events(), reader(workspace.store)
    tasks = tasks_of(events, read, board=board)
    sections = together(*(task_section(task, view) for task, view in tasks.items()))
    lines = compile_dossier(events, read).lines
    body = together(tag("p", TOY, class_="toy"), tag("main", _front(tasks), sections, events_section(lines, sections)))
    return put(shell("Scalable oversight: the board", body), Path(out))


def tasks_of(events: Sequence[Any], read: Any, *, board: str | None = None) -> dict[str, TaskView]:
    """Task → view of one board, the latest measurement of each thing."""
    boards = [key for event in events if event.type == "measurement" and (key := _board(event))]
    board = board or (boards[-1] if boards else "")
    events = [event for event in events if event.type in ("measurement", "figure") and _board(event) == board]
    tasks: dict[str, TaskView] = {}
    contrasts: dict[tuple[str, str], Number] = {}
    for event in events:
        if event.type == "measurement" and (event.body.get("tags") or {}).get("stage") == "oversight":
            number = number_of(event)
            view = tasks.setdefault(number.tags.get("task", ""), TaskView())
            if "part" in number.tags:
                view.parts.setdefault(number.tags.get("protocol", ""), {})[number.tags["part"]] = number
            else:
                contrasts[number.tags.get("task", ""), number.name] = number
        if event.type == "figure" and event.body.get("figure") == "board":
            data = read(event.body["data"])
            if isinstance(data, Mapping) and isinstance(data.get("worst"), list):
                view = tasks.setdefault(str(data.get("task", "")), TaskView())
                view.talks = [{**t, "seq": event.seq} for t in data["worst"] if isinstance(t, Mapping)]
    for (task, _), number in contrasts.items():
        tasks[task].contrasts.append(number)
    return tasks


def _board(event: Any) -> str:
    tags = event.body.get("tags") or {}
    return str(event.body.get("board") or (tags.get("board") if isinstance(tags, Mapping) else "") or "")


def _front(tasks: Mapping[str, TaskView]) -> Html:
    said = []
    for task, view in tasks.items():
        ranked = [name for name in _ranked(view) if name.partition(",")[0] not in CONTROLS]
        if ranked:
            best = view.parts[ranked[0]]["accuracy"]
            said += [tag("b", named(task)), ": ", named(ranked[0]), " ", value_of(best), ". "]
    lead = together(
        "Every protocol on the same items, with the same judge, advisers, budget and seeds, beside the controls that a "
        "comparison needs. Most accurate of many, controls aside: ", *said, "What is told apart stands in each table.",
    )  # fmt: skip
    return together(tag("h1", "Which oversight works?"), tag("p", lead, class_="lead"))


def _ranked(view: TaskView) -> list[str]:
    scored = [name for name, parts in view.parts.items() if "accuracy" in parts]
    return sorted(scored, key=lambda name: -(view.parts[name]["accuracy"].value or 0.0))


def task_section(task: str, view: TaskView) -> Html:
    """One task: the ranking, the contrasts that were told, and the worst failures to read."""
    anchor = f"task-{clip(task, 20)}"
    parts = [tag("h2", named(clip(task, 60)), id=anchor), _ranking(view), _failures(view), _told(view)]
    if view.talks:
        parts.append(tag("h3", "Where it went wrong"))
        parts.append(
            tag("p", "The episodes in which the judge was surest of what is not so. Quotes as the judge read them.")
        )
        parts += [_talk(i, talk) for i, talk in enumerate(view.talks[:MAX_CONVERSATIONS], 1)]
    return tag("section", *parts, aria_labelledby=anchor)


def _ranking(view: TaskView) -> Html:
    names = _ranked(view)
    numbers = [view.parts[name]["accuracy"] for name in names]
    marks = [(0.5, "chance")]
    if alone := view.parts.get("unaided", {}).get("accuracy"):
        marks += [(alone.value, "unaided")] if alone.value is not None else []
    scale = scale_for(numbers, low=0.0, high=1.0, base=0.5, marks=marks)
    rows = [
        row(
            named(clip(name, 80)),
            cell(strip(number, scale), class_="plot"),
            cell(value_of(number), class_="num"),
            *(cell(_short(view.parts[name].get(part), part), label=part, class_="num") for part in COLUMNS),
        )
        for name, number in zip(names, numbers, strict=True)
    ]
    head = (
        column("Protocol"),
        column(axis(scale), class_="plot"),
        column("Accuracy [interval]"),
        *map(column, COLUMNS),
    )
    return table("By accuracy; either side of an assigned argument counts half", head, rows, class_="cards strips")


def _short(number: Number | None, part: str) -> Html:
    if number is None or number.value is None:
        return Html("")
    text = f"{number.value:,.0f}" if "per correct" in part else figure(number.value, signed=part in SIGNED)
    return cite(number.seq, text)


def _failures(view: TaskView) -> Html:
    failed = {
        name: parts["accuracy"].tags.get("failures", "{}")
        for name, parts in view.parts.items()
        if parts.get("accuracy") and parts["accuracy"].tags.get("failures", "{}") != "{}"
    }
    if not failed:
        return tag("p", "No judgement failed, and no adviser was late or misquoted.", class_="soft")
    words = "; ".join(f"{clip(name, 60)}: {clip(kinds, 120)}" for name, kinds in failed.items())
    return tag("p", "What failed, by kind; all of it stays in the denominators: ", named(words), ".")


def _told(view: TaskView) -> Html:
    primary = [n for n in view.contrasts if n.tags.get("family") == "primary"]
    others = [n for n in view.contrasts if n.tags.get("family") != "primary" and n.tags.get("verdict") != "not told"]
    rows = [
        row(
            together(named(clip(n.tags.get("protocol", ""), 60)), " − ", named(clip(n.tags.get("control", ""), 60))),
            cell(value_of(n, signed=True), class_="num"),
            cell(chip(n.tags.get("verdict", ""))),
            cell(_p(n), class_="num"),
            cell("primary, Holm" if n.tags.get("family") == "primary" else "exploratory, Benjamini–Hochberg"),
        )
        for n in (*primary, *sorted(others, key=lambda n: -(n.value or 0.0)))
    ]
    left = sum(n.tags.get("verdict") == "not told" for n in view.contrasts if n not in primary)
    caption = f"Paired differences in accuracy that are told, and the primary ones; {left} others are not told"
    return table(caption, ("Contrast", "Difference", "Verdict", "p, corrected", "Family"), rows)


def _p(number: Number) -> str:
    try:
        return f"{float(number.tags.get('corrected', 'nan')):.2g}"
    except ValueError:
        return ""


def _talk(index: int, talk: Mapping[str, Any]) -> Html:
    lines = talk.get("lines") if isinstance(talk.get("lines"), list) else []
    said = [
        part
        for line in lines[:MAX_LINES]
        if isinstance(line, Mapping)
        for part in (tag("dt", named(clip(line.get("who", ""), 60))), tag("dd", named(clip(line.get("what", ""), 400))))
    ]
    title = together(f"{index}. ", named(clip(talk.get("protocol", ""), 80)), " ", cite(int(talk["seq"])))
    return tag("article", tag("h4", title), tag("dl", *said, class_="kv"), class_="specimen")
