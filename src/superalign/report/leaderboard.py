"""`write_leaderboard`: protocols of oversight side by side, one self-contained page from a workspace's ledger alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superalign.evidence import Workspace
from superalign.report.appendix import events_section
from superalign.report.board_data import data_section, toys
from superalign.report.board_sections import calibration_section, cost_section, curve_section, errors_section, filled
from superalign.report.board_spoken import replies_section, spoken_of, spoken_section
from superalign.report.board_view import CONTROLS, SIGNED, TaskView, last_board, tasks_of
from superalign.report.compile import compile_dossier
from superalign.report.front import TOY
from superalign.report.html import (
    Html,
    cell,
    chip,
    cite,
    column,
    named,
    row,
    shell,
    table,
    tag,
    together,
    value_of,
)
from superalign.report.page import put, reader
from superalign.report.plots import axis, scale_for, strip
from superalign.report.text import clip, count, figure
from superalign.report.views import Number

COLUMNS = ("honest", "dishonest", "brier", "bits gained")
MAX_CONVERSATIONS, MAX_LINES = 40, 60
ENOUGH, ANCHOR = 5, 80
ROOM = 0.09


def write_leaderboard(workspace: Workspace, out: Path, *, board: str | None = None) -> Path:
    """Write the page of one board to `out`, whole or not at all; without a key, of the board that was measured last.

    Raises SuperalignError where an object can't be read.
    """
    events, read = workspace.ledger.events(), reader(workspace.store)
    board = board or last_board(events)
    tasks = tasks_of(events, read, board=board)
    sections = together(data_section(events, board), *(task_section(task, view) for task, view in tasks.items()))
    spoken = spoken_of(events, board)
    if spoken:
        sections = together(spoken_section(spoken, tasks), sections)
    lines = compile_dossier(events, read).lines
    toy = tag("p", TOY, class_="toy") if toys(events, board) else Html("")
    body = together(toy, tag("main", _front(tasks), sections, events_section(lines, sections)))
    return put(shell("Scalable oversight: the board", body), Path(out))


def _front(tasks: Mapping[str, TaskView]) -> Html:
    said = []
    for task, view in tasks.items():
        ranked = [name for name in view.ranked if name.partition(",")[0] not in CONTROLS]
        if ranked:
            best = view.parts[ranked[0]]["accuracy"]
            said.append(tag("li", tag("b", named(task)), ": ", named(ranked[0]), " ", value_of(best)))
    lead = (
        "Every protocol on the same items, with the same judge, advisers, budget and seeds, beside the controls that a "
        "comparison needs. Most accurate of many, controls aside, so the first is partly luck:"
    )
    links = [tag("a", named(clip(task, 60)), href=f"#{_anchor(task)}") for task in tasks]
    return together(
        tag("h1", "Which oversight works?"),
        tag("p", lead, class_="lead"),
        tag("ul", *said),
        tag("p", "What is told apart, or told to be alike, stands in each task's contrasts. ", _seeds(tasks)),
        tag("nav", *links, aria_label="Tasks") if len(links) > 1 else Html(""),
    )


def _seeds(tasks: Mapping[str, TaskView]) -> str:
    """What the intervals say of seeds."""
    found = {
        n.tags.get("seeds", "") for view in tasks.values() for parts in view.parts.values() for n in parts.values()
    }
    seeds = max((int(s) for s in found if s.isdecimal() and len(s) < 4), default=0)
    if seeds < 2:
        return "One seed was played: how training seeds differ is in no interval. Ask for five: --seeds 5."
    few = "" if seeds >= ENOUGH else f" Under {ENOUGH} tell little of how seeds differ."
    return f"Intervals are over items and over {seeds} seeds, of draws and of what is trained; calibration's, over items.{few}"


def _anchor(task: str) -> str:
    return "task-" + "".join(c if c.isalnum() else "-" for c in task[:ANCHOR])


def task_section(task: str, view: TaskView) -> Html:
    """One task: the ranking, contrasts, errors, costs, the curve of budgets, calibration, and the worst failures."""
    parts = [tag("h2", named(clip(task, 60)), id=_anchor(task)), _ranking(view), _failures(view)]
    parts += [
        tag("h3", "What is told apart"),
        _told(view),
        *errors_section(view),
        *cost_section(task, view),
        *replies_section(view),
        *curve_section(task, view),
    ]
    parts += calibration_section(view)
    if view.talks:
        parts.append(tag("h3", "Where it went wrong"))
        parts.append(
            tag(
                "p",
                "The episodes in which the judge was surest of what is not so, one a protocol, quotes as it read them.",
            )
        )
        parts += [_talk(i, talk) for i, talk in enumerate(view.talks[:MAX_CONVERSATIONS], 1)]
    return tag("section", *parts, aria_labelledby=_anchor(task))


def _ranking(view: TaskView) -> Html:
    names = view.ranked
    numbers = [view.parts[name]["accuracy"] for name in names]
    marks = [(0.5, "chance")]
    if alone := view.parts.get("unaided", {}).get("accuracy"):
        apart = alone.value is not None and abs(alone.value - 0.5) >= ROOM
        marks += [(alone.value, "unaided")] if apart else []  # closer, one name covers the other
    scale = scale_for(numbers, low=0.0, high=1.0, base=0.5, marks=marks)
    rows = [
        row(
            named(clip(name, 80)),
            cell(strip(number, scale), class_="plot"),
            cell(value_of(number), class_="num"),
            *(filled(_short(view.parts[name].get(part), part), part) for part in COLUMNS),
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
    return cite(number.seq, figure(number.value, signed=part in SIGNED))


def _failures(view: TaskView) -> Html:
    failed = {
        name: parts["accuracy"].tags.get("failures", "{}")
        for name, parts in view.parts.items()
        if parts.get("accuracy") and parts["accuracy"].tags.get("failures", "{}") != "{}"
    }
    if not failed:
        return tag("p", "No judgement failed, and no adviser was late or misquoted.", class_="soft")
    told = {name: clip(kinds.strip("{}").replace("'", ""), 120) for name, kinds in failed.items()}
    words = "; ".join(f"{clip(name, 60)} ({kinds})" for name, kinds in told.items())
    return tag("p", "What failed, by kind; all of it stays in the denominators: ", named(words), ".")


def _told(view: TaskView) -> Html:
    primary = [n for n in view.contrasts if n.tags.get("family") == "primary"]
    others = [n for n in view.contrasts if n.tags.get("family") != "primary" and n.tags.get("verdict") != "not told"]
    rows = [
        row(
            together(named(clip(n.tags.get("protocol", ""), 60)), " − ", named(clip(n.tags.get("control", ""), 60))),
            cell(value_of(n, signed=True), label="Difference", class_="num"),
            cell(_verdict(n.tags.get("verdict", "")), label="Verdict"),
            cell(_p(n, "corrected"), label="p of no difference", class_="num"),
            cell(_p(n, "same"), label="p of not alike", class_="num"),
            cell("primary, Holm" if n.tags.get("family") == "primary" else "exploratory, BH", label="Family"),
        )
        for n in (*primary, *sorted(others, key=lambda n: -(n.value or 0.0)))
    ]
    left = sum(n.tags.get("verdict") == "not told" for n in view.contrasts if n not in primary)
    caption = (
        "Paired differences in accuracy: the primary ones, and others that are told. Alike: within 2 points, by two "
        "one-sided tests. Both p are corrected in their family (Holm, or Benjamini–Hochberg) and times the tasks. "
        f"{count(left, 'other')} {'is' if left == 1 else 'are'} not told."
    )
    head = ("Contrast", "Difference", "Verdict", "p of no difference", "p of not alike", "Family")
    return table(caption, head, rows, class_="cards")


def _verdict(verdict: str) -> Html:
    return tag("span", "= alike", class_="chip unsure") if verdict == "equivalent" else chip(verdict)


def _p(number: Number, which: str) -> str:
    try:
        p = float(number.tags.get(which, "nan"))
    except ValueError:
        return ""
    return "" if p != p else "< 0.0001" if 0 <= p < 1e-4 else f"{p:.2g}"


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
