"""`write_generalization`: what comes back from weak supervision, one self-contained page from a ledger alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from superalign.evidence import Workspace
from superalign.report.appendix import events_section
from superalign.report.compile import compile_dossier
from superalign.report.front import TOY
from superalign.report.generalize_beyond import consistency_section, scaling_section, sgr_section
from superalign.report.generalize_contrasts import contrasts_table
from superalign.report.generalize_figures import Mark, forest_plot, scatter_plot
from superalign.report.generalize_sides import (
    OWN,
    anchor,
    best_of,
    heading,
    heading_text,
    others_of,
    supervisors,
)
from superalign.report.generalize_tables import (
    called,
    choices_table,
    errors_table,
    filled,
    intervals_table,
    ranking,
    reasons,
)
from superalign.report.generalize_truth import truth_section
from superalign.report.generalize_view import BOUNDS, CaseView, MethodView, SweepView, sweep_of
from superalign.report.html import Html, cell, fold, named, nothing, row, shell, table, tag, together
from superalign.report.page import put, reader
from superalign.report.text import clip, count, figure

KNOWN = {
    "wide": "the supervisor sees only a part of its own features, so the gap is wide",
    "natural": "the supervisor sees all of its features, so the gap is what size alone makes",
    "distractor": "a planted feature stands out most and says nothing",
}
ENOUGH, MAX_TIMED = 5, 4
"""Seeds that tell how seeds differ, and settings with a column of seconds of their own."""
MAX_FEW = 8
TITLE = "Weak to strong: what comes back"


def write_generalization(workspace: Workspace, path: Path, *, board: str | None = None) -> Path:
    """Write the page of one sweep to `path`, whole or not at all; without a key, of the sweep that was measured last.

    Raises SuperalignError where an object can't be read.
    """
    events = workspace.ledger.events()
    sections = body_of(sweep_of(events, board=board))
    lines = compile_dossier(events, reader(workspace.store)).lines
    body = together(tag("p", TOY, class_="toy"), tag("main", sections, events_section(lines, sections)))
    return put(shell(TITLE, body), Path(path))


def body_of(view: SweepView) -> Html:
    """All of the page that shows numbers, from a view."""
    parts = [front(view)]
    if not view.cases:
        parts.append(nothing("no method of generalization in any setting"))
    parts += [*_drawn(view), *supervisors(view)]
    seeds = max((case.seeds for case in view.ordered), default=0)
    parts += [case_section(case, seeds) for case in view.ordered]
    parts += [*scaling_section(view), *sgr_section(view), *truth_section(view), *consistency_section(view)]
    parts += _sources(view)
    if view.left_out:
        what = count(view.left_out, "measurement")
        parts.append(tag("p", f"{what} found no place on this page; the ledger holds them.", class_="soft"))
    return together(*parts)


def front(view: SweepView) -> Html:
    """The question, how to read it, who leads, and where things stand."""
    lead = (
        "A weak supervisor labels what a stronger model then learns from; PGR, the performance gap recovered, says how far "
        "the student gets from its supervisor (0) to the same model taught by the truth (1). Every method is played on the "
        "same questions, seeds and labels, and no number stands without its interval, over seeds and clusters. Where the "
        "gap itself may be noise, PGR is refused."
    )
    said = [tag("li", tag("b", heading(case)), ": ", *best_of(case)) for case in view.leading if case.students]
    if both := robust(view.beside):
        method, least = both
        names = ", ".join(clip(case.setting, 30) for case in view.beside)
        text = (
            f"By its worst PGR over {names}, the honest method that leads is ",
            called(min(view.beside, key=lambda case: case.methods[method].seeds), method),
            f": {figure(least, signed=True)} at least.",
        )
        said.append(tag("li", *text))
    if others := others_of(view):
        link = tag("a", "side by side", href="#supervisors")
        many = count(len(others), "case with another supervisor", "cases with other supervisors")
        said.append(tag("li", f"{many}: ", link, "."))
    links = [tag("a", heading(case), href=f"#{anchor(case)}") for case in view.leading]
    if others_of(view):
        links.append(tag("a", "Other supervisors", href="#supervisors"))
    luck = "The best of many is partly luck: what is told apart, corrected, stands in each setting's contrasts. "
    return tag(
        "header",
        tag("h1", "What comes back from weak supervision?"),
        tag("p", lead, class_="lead"),
        tag("ul", *said) if said else Html(""),
        tag("p", luck, _seeds(view)),
        tag("nav", *links, aria_label="Settings") if len(links) > 1 else Html(""),
        class_="top",
    )


def robust(cases: list[CaseView]) -> tuple[str, float] | None:
    """The honest method whose least PGR over several settings is the greatest, and that PGR."""
    if len(cases) < 2:
        return None
    least: dict[str, float] = {}
    for name, method in cases[0].methods.items():
        found = [case.methods[name].value("pgr") if name in case.methods else None for case in cases]
        if method.honest and all(x is not None for x in found):
            least[name] = min(x for x in found if x is not None)
    return max(least.items(), key=lambda pair: pair[1]) if least else None


def _seeds(view: SweepView) -> str:
    """What the numbers say of how many seeds there were, and that some had fewer."""
    seeds = max((m.seeds for c in view.cases.values() for m in c.methods.values()), default=0)
    if not seeds:
        return ""
    if seeds == 1:
        return "One seed was played: how seeds differ is in no interval."
    said = f"{seeds:,} seeds were played."
    if any(0 < m.seeds < seeds for c in view.cases.values() for m in c.methods.values()):
        said = f"{seeds:,} seeds were played, of some methods or settings fewer: it stands beside their names."
    return said + ("" if seeds >= ENOUGH else f" Under {ENOUGH} tell little of how seeds differ.")


def marks_of(cases: list[CaseView]) -> list[Mark]:
    """Students of several cases, each with its PGR in all; the greatest least PGR first."""
    names = dict.fromkeys(m.name for case in cases for m in case.students if "pgr" in m.figures)
    found = []
    for name in names:
        views = [case.methods.get(name) for case in cases]
        found.append(
            Mark(name, _look(next(v for v in views if v)), tuple(v.figures.get("pgr") if v else None for v in views))
        )

    def least(mark: Mark) -> float:
        values = [n.value for n in mark.numbers if n is not None and n.value is not None]
        return min(values) if values else float("-inf")

    return sorted(found, key=lambda mark: -least(mark))


def _look(method: MethodView) -> str:
    return "dot" if method.honest else "other" if method.kind == "control" else "organism"


def _drawn(view: SweepView) -> list[Html]:
    """The forest, and two settings against each other."""
    cases = view.beside
    marks = marks_of(cases)
    if not marks:
        return []
    names = [clip(case.setting, 40) for case in cases]
    note = (
        "The greatest worst PGR over the settings comes first. Blue: honest; orange: buys true labels or cheats; grey: "
        "controls. Lines: 95 % intervals; a value beyond the axis is written at its edge. Settings whose PGR is refused for all stand "
        "below alone."
    )
    few = {name: said for case in reversed(cases) for name in case.methods if (said := case.fewer(name))}
    drawn = [f"{clip(mark.name, 40)}: {few[mark.name]}" for mark in marks if mark.name in few]
    if drawn:
        note += (
            f" Played in another number of seeds: {'; '.join(drawn[:MAX_FEW])}{'; …' if len(drawn) > MAX_FEW else ''}."
        )
    forest = tag("div", forest_plot(names, marks, f"PGR of every method: {', '.join(names)}"), class_="scroll wide")
    parts = [tag("h2", "Every method, every setting", id="forest"), tag("figure", forest, tag("figcaption", note))]
    if len(cases) > 1:
        scatter = scatter_plot(names[0], names[1], marks, f"PGR: {names[0]} against {names[1]}")
        note = "Good at both lies at the top right. Values beyond the axes lie at their edge; names stand where there is room."
        parts += [
            tag("h3", f"Does what works in {names[0]} work in {names[1]}?"),
            tag("figure", scatter, tag("figcaption", note), style="max-width:46rem"),
        ]
    return [tag("section", *parts, aria_labelledby="forest")]


def case_section(case: CaseView, seeds: int) -> Html:
    """One setting: the ranking and its refusals, errors, choices, contrasts; `seeds` that most cases were played in."""
    why = KNOWN.get(case.setting, "") if case.supervision in OWN else ""
    parts = [tag("h2", heading(case), id=anchor(case))]
    if why:
        parts.append(tag("p", f"{why[0].upper()}{why[1:]}."))
    if case.supervision not in OWN:
        who, setting = named(clip(case.supervision, 60)), clip(case.setting, 60)
        parts.append(tag("p", "Labels and floor are those of ", who, f"; all else is as in {setting}."))
    if 0 < case.seeds != seeds:
        parts.append(tag("p", f"{count(case.seeds, 'seed')} here.", class_="soft"))
    parts += [*reasons(case, ("accuracy", "pgr", "pgr auc", "worth")), ranking(case)]
    parts.append(fold("The same with intervals, and the untrained control", intervals_table(case)))
    parts += [*choices_table(case), *errors_table(case), *contrasts_table(case)]
    return tag("section", *parts, aria_labelledby=anchor(case))


def _sources(view: SweepView) -> list[Html]:
    """Where methods come from, and the seconds they took."""
    cases = view.ordered
    methods = {m.name: m for case in cases for m in case.ranked if m.name not in BOUNDS}
    if not methods:
        return []
    timed = [case for case in cases if any("seconds" in m.figures for m in case.methods.values())]
    columns = {f"Seconds, {clip(heading_text(case), 60)}": [case] for case in timed}
    if len(timed) > MAX_TIMED:
        columns = {"Seconds, least to most": timed}
    rows = [
        row(
            named(clip(name, 80)),
            cell(named(clip(method.kind, 24)), label="Uses"),
            cell(named(clip(method.source, 240)), label="Source"),
            *(filled(_seconds([case.methods.get(name) for case in some]), label) for label, some in columns.items()),
        )
        for name, method in methods.items()
    ]
    head = ("Method", "Uses", "Source", *map(named, columns))
    parts = [
        tag("h2", "Methods, sources, seconds", id="sources"),
        table("One line a method", head, rows, class_="cards"),
    ]
    return [tag("section", *parts, aria_labelledby="sources")]


def _seconds(methods: Sequence[MethodView | None]) -> Html:
    """Seconds of one method in a case, or the least and the most of several."""
    told = [seconds for m in methods if m is not None and (seconds := m.value("seconds")) is not None]
    ends = dict.fromkeys(figure(end) for end in (min(told), max(told))) if told else {}
    return Html(" to ".join(ends))
