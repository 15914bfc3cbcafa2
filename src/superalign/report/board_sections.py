"""Sections of a leaderboard's page: liars and errors, costs, equal budgets, calibration. A drawing, and its numbers."""

from __future__ import annotations

from superalign.report.board_figures import Spot, budget_plot, cost_plot, reliability_plot
from superalign.report.board_view import CONTROLS, READ, SIGNED, TaskView
from superalign.report.html import Html, cell, cite, fold, named, row, table, tag, together, value_of
from superalign.report.text import clip, figure
from superalign.report.views import Number

ERRORS = ("wrong conviction", "score difference", "calibration error", "error similarity")
COSTS = (READ, "judge tokens per correct", "judge checks per correct", "adviser tokens per correct")
DRAWN = ("unaided", "debate, adapted judge", "debate", "consultancy, adapted judge", "consultancy", "critique")
"""Whose reliability is drawn, the first few that there are, beside the most accurate."""
MAX_DRAWN = 3


def filled(content: Html, label: str) -> Html:
    """A cell that repeats its column's head on a phone, where there is something in it."""
    return cell(content, label=label if content else None, class_="num")


def errors_section(view: TaskView) -> list[Html]:
    """What a lying adviser gets, whether honesty pays, and how errors go."""
    names = [name for name in view.ranked if any(part in view.parts[name] for part in ERRORS)]
    if not names:
        return []
    rows = [
        row(named(clip(name, 80)), *(filled(_valued(view.parts[name].get(part), part), part) for part in ERRORS))
        for name in names
    ]
    about = (
        "Wrong conviction: how often a lying adviser gets its way. Score difference: what arguing for the truth earns an "
        "adviser over arguing against it; above 0 honesty pays. Calibration error: debiased, root mean square. Error "
        "similarity: agreement of the verdicts with the adviser's own beliefs beyond chance (κ of CAPA); above 0 the judge "
        "errs where its adviser does."
    )
    return [
        tag("h3", "Liars, incentives, errors"),
        tag("p", about),
        table("By accuracy", ("Protocol", *ERRORS), rows, class_="cards"),
        *_refusals(view),
    ]


def _refusals(view: TaskView) -> list[Html]:
    """Why numbers of that table are refused, each reason once."""
    found = {
        f"{part}: {clip(number.note, 160)}"
        for parts in view.parts.values()
        for part in ERRORS
        if (number := parts.get(part)) and number.refused
    }
    return (
        [tag("p", "Refused, with the reason: ", named("; ".join(sorted(found)[:6])), ".", class_="soft")]
        if found
        else []
    )


def _valued(number: Number | None, part: str) -> Html:
    return Html("") if number is None else value_of(number, signed=part in SIGNED)


def _spots(view: TaskView) -> list[Spot]:
    """Protocols of which both accuracy and reading are known, by accuracy."""
    return [
        Spot(name, found.value, view.parts[name]["accuracy"])
        for name in view.ranked
        if (found := view.parts[name].get(READ))
        and found.value is not None
        and not view.parts[name]["accuracy"].refused
    ]


def cost_section(task: str, view: TaskView) -> list[Html]:
    spots = _spots(view)
    if not spots:
        return []
    drawn = cost_plot(spots, CONTROLS, f"{clip(task, 40)}: accuracy by what the judge reads")
    note = (
        "The line joins protocols that nobody beats for less reading; black: controls; grey: the others, named in the "
        "table. Checks, and what advisers read and say, are no part of this axis: see the table."
    )
    rows = [
        row(named(clip(s.name, 80)), *(filled(_amount(view.parts[s.name].get(p)), p) for p in COSTS))
        for s in sorted(spots, key=lambda s: s.tokens)
    ]
    return [
        tag("h3", "What it costs"),
        tag("figure", drawn, tag("figcaption", note), style="max-width:46rem"),
        fold("The numbers", table("By what the judge reads", ("Protocol", *COSTS), rows, class_="cards")),
    ]


def _amount(number: Number | None) -> Html:
    """A cost, with its interval, without decimals that nobody needs."""
    if number is None or number.value is None:
        return Html("")
    low, high = number.interval or (None, None)
    ends = "" if low is None or high is None else f" [{_rounded(low)}, {_rounded(high)}]"
    return cite(number.seq, together(tag("b", _rounded(number.value)), tag("span", ends, class_="ci")))


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:,.2f}"


def curve_section(task: str, view: TaskView) -> list[Html]:
    """Accuracy at further budgets, the board's own beside them."""
    lines: dict[str, dict[int, Spot]] = {}
    for name, budgets in view.curve.items():
        own = view.parts.get(name, {})
        usual = own["accuracy"].tags.get("budget", "") if "accuracy" in own else ""
        known = budgets | ({int(usual): own} if usual.isdecimal() and len(usual) < 4 else {})
        for budget, parts in sorted(known.items()):
            right, read = parts.get("accuracy"), parts.get(READ)
            if right and read and right.value is not None and read.value is not None:
                lines.setdefault(name, {})[budget] = Spot(name, read.value, right)
    if not lines:
        return []
    budgets = sorted({budget for spots in lines.values() for budget in spots})
    drawn = budget_plot(
        {name: list(spots.values()) for name, spots in lines.items()}, f"{clip(task, 40)}: accuracy by budget"
    )
    rows = [
        row(named(clip(name, 80)), *(filled(_at(spots.get(b)), f"{b} pieces") for b in budgets))
        for name, spots in lines.items()
    ]
    note = (
        "Each line is one protocol at several budgets, with players seated and judges adapted for each; whiskers: 95 %."
    )
    return [
        tag("h3", "At equal budgets"),
        tag("figure", drawn, tag("figcaption", note), style="max-width:46rem"),
        table(
            "Accuracy, and tokens read in one play, by budget",
            ("Protocol", *(f"{b} pieces" for b in budgets)),
            rows,
            class_="cards",
        ),
    ]


def _at(spot: Spot | None) -> Html:
    if spot is None:
        return Html("")
    return together(value_of(spot.accuracy), tag("span", f"{spot.tokens:,.0f} tokens", class_="facts"))


def calibration_section(view: TaskView) -> list[Html]:
    """Reliability of a few protocols, and the error of each of these beside."""
    ranked = [name for name in view.ranked if name.partition(",")[0] not in CONTROLS]
    names = [name for name in dict.fromkeys((*ranked[:1], *DRAWN)) if name in view.bins][:MAX_DRAWN]
    if not names:
        return []
    figures = [
        tag(
            "figure",
            reliability_plot(name, view.bins[name]),
            tag("figcaption", named(clip(name, 80)), *_error_of(view, name)),
        )
        for name in names
    ]
    rows = [
        row(
            named(clip(name, 80)),
            cell(_valued(view.parts.get(name, {}).get("calibration error"), "")),
            cell(", ".join(f"{figure(said)} → {figure(came)}" for said, came, _ in view.bins[name])),
        )
        for name in names
    ]
    return [
        tag("h3", "Are its beliefs worth their number?"),
        tag("div", *figures, class_="pair"),
        fold(
            "The numbers",
            table(
                "Reliability, bins of equal mass",
                ("Protocol", "Calibration error", "Belief → how often it was so"),
                rows,
            ),
        ),
    ]


def _error_of(view: TaskView, name: str) -> list[Html]:
    """The calibration error in a caption."""
    found = view.parts.get(name, {}).get("calibration error")
    return [together(": error ", value_of(found))] if found else []
