"""One case beside others: its heading, what leads in it, and supervisors side by side."""

from __future__ import annotations

import zlib
from collections.abc import Collection

from superalign.report.generalize_tables import called, filled
from superalign.report.generalize_truth import stacked
from superalign.report.generalize_view import BOUNDS, CEILING, FLOOR, CaseView, MethodView, SweepView
from superalign.report.html import Html, named, row, table, tag, together, value_of
from superalign.report.text import clip
from superalign.report.views import Number

WEAK = "weak"
OWN = ("", WEAK, "weak hard")
"""Supervisors that are weak models: what a setting says of its supervisor is said of these."""
SIDES = {FLOOR: "Supervisor (floor)", "naive": "Naive", CEILING: "Ceiling"}
"""Method → head of its column."""


def heading(case: CaseView) -> Html:
    """The name of a setting, with its supervisor where that is no weak model."""
    name = named(clip(case.setting.capitalize(), 60))
    if case.supervision in ("", WEAK):
        return name
    return together(name, ", supervisor: ", named(clip(case.supervision, 60)))


def heading_text(case: CaseView) -> str:
    """The same as plain text."""
    return case.setting if case.supervision in ("", WEAK) else f"{case.setting}, {case.supervision}"


def anchor(case: CaseView) -> str:
    """Where its section begins; names that aren't plain words, or are long, get a number to tell them apart.

    >>> anchor(CaseView("wide", "weak")), anchor(CaseView("natural", "critique of 3"))
    ('case-wide-weak', 'case-natural-critique-of-3-fdae6e35')
    """
    both = (case.setting, case.supervision)
    plain = ["".join(c if c.isascii() and c.isalnum() else "-" for c in text[:20]) for text in both]
    apart = "" if tuple(plain) == both else f"-{zlib.crc32(repr(both).encode()):08x}"
    return f"case-{plain[0]}-{plain[1]}{apart}"


def best_of(case: CaseView) -> list[object]:
    """The honest method that leads, or why no PGR can be quoted."""
    if best := best_method(case):
        return [
            "the best honest method is ",
            called(case, best.name),
            ", PGR ",
            value_of(best.figures["pgr"], signed=True),
        ]
    refused = [m.figures["pgr"] for m in case.students if "pgr" in m.figures]
    return ["no PGR can be quoted: ", named(clip(refused[0].note, 200))] if refused else ["no PGR was measured"]


def best_method(case: CaseView, among: Collection[str] | None = None) -> MethodView | None:
    """The honest method with the greatest PGR, None where no PGR can be quoted; `among` names the only ones to take."""
    students = [m for m in case.students if among is None or m.name in among]
    known = [m for m in students if m.honest and m.value("pgr") is not None]
    return max(known, key=lambda m: m.value("pgr") or 0.0) if known else None


def others_of(view: SweepView) -> list[CaseView]:
    """Cases whose supervisor is another than that of the leading ones, and that have a student."""
    leading = [(case.setting, case.supervision) for case in view.leading]
    return [case for case in view.ordered if case.students and (case.setting, case.supervision) not in leading]


def supervisors(view: SweepView) -> list[Html]:
    """Who supervises, side by side: how right each is, what naive imitation makes of it, and the best honest method."""
    others = others_of(view)
    if not others:
        return []
    settings = {case.setting for case in others}
    cases = [case for case in view.leading if case.setting in settings and case.students] + others
    shared = set.intersection(*(set(case.methods) for case in cases))
    rows = []
    for case in cases:
        best, name = best_method(case, shared), case.supervision or "unnamed"
        link = tag("a", named(clip(name, 60)), href=f"#{anchor(case)}")
        refused = [m.figures["pgr"] for m in case.students if m.honest and m.name in shared and "pgr" in m.figures]
        pgr = best.figures["pgr"] if best else refused[0] if refused else None
        cells = [filled(stacked(_figure(case, method)), head) for method, head in SIDES.items()]
        leads = together(called(case, best.name), " ", stacked(best.figures.get("accuracy"))) if best else Html("")
        rows.append(
            row(
                together(link, tag("span", named(clip(case.setting, 60)), class_="facts")),
                *cells,
                filled(leads, "Best honest method"),
                filled(stacked(pgr, signed=True), "Its PGR"),
            )
        )
    about = (
        "The floor is the supervisor itself on the exam, so PGR starts anew with each: a better supervisor leaves a smaller "
        "gap. Compare accuracies first. The best honest method is that of the "
        f"{len(shared - set(BOUNDS))} played with all of these; the best of several is partly luck."
    )
    head = ("Supervisor, setting", *SIDES.values(), "Best honest method", "Its PGR")
    parts = [tag("h2", "Supervisors side by side", id="supervisors"), tag("p", about)]
    parts.append(table("Accuracy by supervisor", head, rows, class_="cards"))
    return [tag("section", *parts, aria_labelledby="supervisors")]


def _figure(case: CaseView, method: str) -> Number | None:
    return case.methods[method].figures.get("accuracy") if method in case.methods else None
