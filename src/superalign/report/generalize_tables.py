"""Tables of one setting: the ranking, whose errors a student makes, honest beside cheating choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from superalign.report.generalize_view import BOUNDS, CaseView, MethodView
from superalign.report.html import (
    Html,
    cell,
    cite,
    column,
    facts,
    fold,
    named,
    row,
    table,
    tag,
    together,
    value_of,
)
from superalign.report.plots import axis, scale_for, strip
from superalign.report.text import clip, count, figure
from superalign.report.views import Number

LEAST, MOST = -0.5, 1.2
"""What the ranking's axis spans; a PGR beyond it is drawn at the edge, and written beside."""
COLUMNS = {
    "accuracy": "Accuracy",
    "auc": "AUC",
    "pgr auc": "PGR of AUC",
    "worth": "Worth true labels",
    "untrained": "Untrained",
}
ERRORS = {
    "inherited": ("Wrong where the supervisor is", "inherited, ceiling", "the ceiling"),
    "new errors": ("Wrong where the supervisor is right", "new errors, ceiling", "the ceiling"),
    "phi": ("φ of errors with the supervisor", "phi, independent", "with one it never had"),
}
INTERVALS = {
    "accuracy": ("Accuracy", "auc", "AUC"),
    "pgr fixed": ("PGR, bounds fixed", "pgr, Fieller", "Fieller's"),
    "pgr auc": ("PGR of AUC", "", ""),
    "untrained": ("On an untrained model", "untrained pgr", "PGR"),
}
"""Figure → head of its column, what stands below it, and what that is."""
SIGNED = ("pgr", "pgr fixed", "pgr, Fieller", "pgr auc", "untrained pgr", "phi", "phi, independent")
MAX_REASONS = 6


def filled(content: Html, label: str) -> Html:
    """A cell that repeats its column's head on a phone, where there is something in it."""
    return cell(content, label=label if content else None, class_="num")


def shown(number: Number | None, figure_: str) -> Html:
    """A number with its interval, nothing where there is none."""
    if number is None:
        return Html("")
    return worth_of(number) if figure_ == "worth" else value_of(number, signed=figure_ in SIGNED)


def worth_of(number: Number) -> Html:
    """True labels, whole ones; a student outside the curve is worth less than its least, or more than its most."""
    if number.value is None:
        return value_of(number)
    sign = number.note[:1] if number.note[:2] in ("< ", "> ") else ""
    low, high = (None if end is None else f"{end:,.0f}" for end in (number.low, number.high))
    ends = "" if sign else f" [{low or '…'}, {high or '…'}]"
    return cite(number.seq, together(tag("b", f"{sign} {number.value:,.0f}".strip()), tag("span", ends, class_="ci")))


def method_cell(case: CaseView, method: MethodView) -> Html:
    """Its name, what it uses, and in how many seeds it was played, where others were played in more or fewer."""
    fewer = case.fewer(method.name)
    if method.name in BOUNDS:
        return together(named(method.name), tag("span", fewer, class_="facts") if fewer else Html(""))
    uses = {
        "labels": "", "unsupervised": "no labels", "bought": "buys true labels", "cheating": "cheating: sees the truth",
        "control": "control",
    }.get(method.kind, clip(method.kind, 24))  # fmt: skip
    if method.truths and method.kind == "bought":
        uses = f"buys {int(method.truths):,} true labels"
    name, said = named(clip(method.name, 80)), " · ".join(filter(None, (uses, fewer)))
    return together(name, tag("span", said, class_="facts")) if said else name


def called(case: CaseView, name: str, limit: int = 60) -> Html:
    """A method's name in a sentence, with its seeds where others of the case were played in more or fewer."""
    fewer = case.fewer(name)
    return together(named(clip(name, limit)), f" ({fewer})" if fewer else "")


def ranking(case: CaseView) -> Html:
    """Methods and bounds by accuracy, PGR drawn."""
    numbers = [m.figures["pgr"] for m in case.students if "pgr" in m.figures]
    near = [
        n for n in numbers if n.value is not None and all(LEAST <= v <= MOST for v in (n.value, *(n.interval or ())))
    ]
    scale = scale_for(near, low=0.0, high=1.0, base=0.0, marks=[(0.0, "floor"), (1.0, "ceiling")], signed=True)
    rows = []
    for method in case.ranked:
        pgr = method.figures.get("pgr")
        bound = method.name in BOUNDS
        drawn = Html("") if bound and pgr is None else strip(pgr, scale)
        cells = [
            cell(drawn, class_="plot"),
            filled(Html("") if bound else value_of(pgr, signed=True), "PGR [interval]"),
        ]
        cells += [filled(_short(method.figures.get(f), f), name) for f, name in COLUMNS.items()]
        rows.append(row(method_cell(case, method), *cells))
    head = (column("Method"), column(axis(scale), class_="plot"), "PGR [interval]", *COLUMNS.values())
    return table("By accuracy, with the performance gap recovered", head, rows, class_="cards strips")


def _short(number: Number | None, figure_: str) -> Html:
    """A number without its interval: tables with intervals follow."""
    if number is None or figure_ == "worth":
        return shown(number, figure_)
    if number.value is None:
        return value_of(number)
    return cite(number.seq, figure(number.value, signed=figure_ in SIGNED))


def reasons(case: CaseView, figures: Iterable[str]) -> list[Html]:
    """Why numbers are refused, each reason once, and how often."""
    found: dict[str, list[str]] = {}
    for method in case.ranked:
        for name in figures:
            if (number := method.figures.get(name)) and number.refused:
                found.setdefault(f"{name}: {clip(number.note, 200)}", []).append(method.name)
    if not found:
        return []
    said = [
        tag("li", named(why), f" ({named_few(names)})")
        if len(names) < 4
        else tag("li", named(why), f" ({count(len(names), 'method')})")
        for why, names in list(found.items())[:MAX_REASONS]
    ]
    left = (
        [tag("li", f"and {count(len(found) - MAX_REASONS, 'more reason')}, in the ledger")]
        if len(found) > MAX_REASONS
        else []
    )
    return [tag("p", "Refused, with the reason:", class_="soft"), tag("ul", *said, *left, class_="soft")]


def named_few(names: Sequence[str]) -> str:
    """A few names in a row."""
    return ", ".join(clip(name, 60) for name in names)


def intervals_table(case: CaseView) -> Html:
    """The numbers of the ranking with their intervals, other ways to take PGR, and the untrained control."""
    return _paired_table(case, case.ranked, INTERVALS, "With intervals")


def errors_table(case: CaseView) -> list[Html]:
    """Whose errors a student makes, beside the ceiling's rates and a supervisor that it never had."""
    listed = [m for m in case.students if any(name in m.figures for name in ERRORS)]
    if not listed:
        return []
    about = (
        "How often a student errs where its supervisor errs, and where its supervisor is right. Hard questions are hard "
        "for all: so each rate stands above that of the ceiling, which never met the supervisor, and φ, the correlation "
        "of both their errors, above φ with a supervisor of another seed, whose labels the student never saw."
    )
    return [
        tag("h4", "Whose errors are they?"),
        tag("p", about),
        *reasons(case, ("inherited", "new errors", "phi", "phi, independent")),
        fold("The table", _paired_table(case, listed, ERRORS, "By accuracy")),
    ]


def _paired_table(
    case: CaseView, methods: Sequence[MethodView], wanted: Mapping[str, tuple[str, str, str]], caption: str
) -> Html:
    """Numbers, each with another below."""

    def both(method: MethodView, name: str) -> Html:
        _, other, what = wanted[name]
        below = method.figures.get(other)
        line = tag("span", f"{what} ", shown(below, other), class_="facts") if below else Html("")
        return together(shown(method.figures.get(name), name), line)

    there = [name for name in wanted if any(name in m.figures for m in methods)]
    rows = [row(method_cell(case, m), *(filled(both(m, name), wanted[name][0]) for name in there)) for m in methods]
    return table(caption, ("Method", *(wanted[name][0] for name in there)), rows, class_="cards")


def choices_table(case: CaseView) -> list[Html]:
    """What is chosen by the supervisor's labels beside the same chosen by the truth: only the first could be had."""
    rows = []
    for cheat in case.students:
        if cheat.kind != "cheating":
            continue
        honest = honest_of(case, cheat.name)
        sides = (honest, cheat)
        cells = [
            filled(Html("") if one is None else shown(one.figures.get(f), f), f"{who}, {f}")
            for f in ("pgr", "accuracy")
            for who, one in zip(("honest", "cheating"), sides, strict=True)
        ]
        tried = cheat.figures.get("accuracy")
        rows.append(row(together(called(case, cheat.name, 80), facts(tried) if tried else Html("")), *cells))
    if not rows:
        return []
    about = (
        "Chosen by held-out labels of the supervisor, and by held-out truth, which nobody has who needs a supervisor."
    )
    head = ("Method", "PGR, honest", "PGR, cheating", "Accuracy, honest", "Accuracy, cheating")
    return [
        tag("h4", "Honest and cheating choices"),
        tag("p", about),
        table("Side by side", head, rows, class_="cards"),
    ]


def honest_of(case: CaseView, cheating: str) -> MethodView | None:
    """The method that chooses honestly what this one chooses by the truth."""
    for name in (cheating.replace("cheating", "honest"), cheating.partition(",")[0]):
        found = case.methods.get(name)
        if found is not None and found.kind != "cheating":
            return found
    return None
