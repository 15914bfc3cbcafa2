"""Beyond one supervisor: sizes of models, easy to hard, a model's best guess at the truth, the same question again."""

from __future__ import annotations

from superalign.report.generalize_figures import DRAWN, Mark, scaling_plot
from superalign.report.generalize_tables import filled
from superalign.report.generalize_view import BOUNDS, Pair, SweepView
from superalign.report.html import Html, cell, column, fold, named, row, table, tag, together, value_of
from superalign.report.plots import axis, scale_for, strip
from superalign.report.text import clip
from superalign.report.views import Number

MAX_PAIRS = 8
PARTS = ("auroc truth", "auroc quirk", "gap recovered")


def scaling_section(view: SweepView) -> list[Html]:
    """PGR and accuracy by pair of sizes: drawn, then in a table."""
    pairs = list(dict.fromkeys(pair for table in (view.scaling, view.scaled) for by in table.values() for pair in by))[
        :MAX_PAIRS
    ]
    if not pairs:
        return []
    labels, names = (
        [f"{_size(weak)} → {_size(strong)}" for weak, strong in pairs],
        list(view.scaling or view.scaled),
    )

    def marks(by: dict[str, dict[Pair, Number]], *, bounds: bool) -> list[Mark]:
        kept = [name for name in dict.fromkeys((*names, *by)) if name in by and (name in BOUNDS) == bounds]
        return [Mark(name, "dot", tuple(by[name].get(pair) for pair in pairs)) for name in kept]

    figures = []
    recovered, right = marks(view.scaling, bounds=False), marks(view.scaled, bounds=False)
    if recovered:
        figures.append(tag("figure", scaling_plot(labels, recovered, (), "PGR by pair of sizes", "PGR")))
    if right:
        floors = marks(view.scaled, bounds=True)
        figures.append(tag("figure", scaling_plot(labels, right, floors, "Accuracy by pair of sizes", "accuracy")))
    tables = [
        table(
            what,
            ("Method", *map(named, labels)),
            [
                row(
                    named(clip(m.name, 80)),
                    *(
                        filled(value_of(n, signed=signed) if n else Html(""), at)
                        for n, at in zip(m.numbers, labels, strict=True)
                    ),
                )
                for m in rows
            ],
            class_="cards",
        )
        for what, rows, signed in (
            ("PGR", recovered, True),
            ("Accuracy", [*right, *marks(view.scaled, bounds=True)], False),
        )
        if rows
    ]
    about = "Who supervises → who learns. The floor moves with the supervisor and the ceiling with the student."
    if max(len(recovered), len(right)) > DRAWN:
        about += f" The first {DRAWN} methods are drawn."
    parts = [tag("h2", "Larger students, larger supervisors", id="scaling"), tag("p", about)]
    parts += [tag("div", *figures, class_="pair broad"), fold("The numbers", *tables)]
    return [tag("section", *parts, aria_labelledby="scaling")]


def _size(model: str) -> str:
    """A model's name, short enough to stand below a column.

    >>> _size("family:xs"), _size("hf:somewhere/far/away/model")
    ('xs', '…ar/away/model')
    """
    short = model.removeprefix("family:")
    return short if len(short) <= 14 else f"…{short[-13:]}"


def sgr_section(view: SweepView) -> list[Html]:
    """Supervision gap recovered, easy questions to hard ones; refusals with their reason."""
    if not view.sgr:
        return []
    numbers = list(view.sgr.values())
    near = [n for n in numbers if n.value is not None and all(-0.5 <= v <= 1.5 for v in (n.value, *(n.interval or ())))]
    scale = scale_for(
        near, low=0.0, high=1.0, base=0.0, marks=[(0.0, "unsupervised"), (1.0, "hard labels")], signed=True
    )
    several = len({setting for setting, _, _ in view.sgr}) > 1
    rows = [
        row(
            together(
                named(clip(f"{setting}, {difficulty}" if several else difficulty, 80)),
                tag("span", named(clip(method, 60)), class_="facts"),
            ),
            cell(strip(number, scale), class_="plot"),
            cell(value_of(number, signed=True), *_why(number), label="SGR [interval]", class_="num"),
        )
        for (setting, difficulty, method), number in view.sgr.items()
    ]
    about = (
        "The student learns from true labels of easy questions alone and is asked hard ones. SGR says how much of what hard "
        "labels add over none comes back (Hase et al. 2024); where they add nothing that can be told from noise, it is refused."
    )
    head = (column("Difficulty, method"), column(axis(scale), class_="plot"), "SGR [interval]")
    parts = [
        tag("h2", "From easy to hard", id="sgr"),
        tag("p", about),
        table("Supervision gap recovered", head, rows, class_="cards strips"),
    ]
    return [tag("section", *parts, aria_labelledby="sgr")]


def _why(number: Number) -> list[Html]:
    return [tag("span", named(clip(number.note, 200)), class_="note")] if number.refused else []


def truth_section(view: SweepView) -> list[Html]:
    """Whether probes find what a quirky model knows, where it answers wrongly on purpose."""
    if not view.truth:
        return []
    parts = [p for p in PARTS if any(p in found for found in view.truth.values())]
    parts += [p for p in dict.fromkeys(p for found in view.truth.values() for p in found) if p not in PARTS][:3]
    rows = [
        row(
            together(named(clip(probe, 60)), tag("span", named(clip(condition, 80)), class_="facts")),
            *(filled(_told(found.get(part)), part) for part in parts),
        )
        for (condition, probe), found in view.truth.items()
    ]
    about = (
        "A quirky model answers wrongly in a known context. A probe is fitted where it answers well, and read where it does "
        "not: AUROC for the truth, and for the quirky answer. Gap recovered: from the model's own answers (0) to a probe that "
        "was fitted on the truth there (1)."
    )
    head = ("Probe, condition", *(named(clip(part, 40)) for part in parts))
    body = [
        tag("h2", "A model's best guess at the truth", id="truth"),
        tag("p", about),
        table("Quirky models", head, rows, class_="cards"),
    ]
    return [tag("section", *body, aria_labelledby="truth")]


def _told(number: Number | None) -> Html:
    return Html("") if number is None else together(value_of(number), *_why(number))


def consistency_section(view: SweepView) -> list[Html]:
    """The same question in another form."""
    if not view.consistency:
        return []
    rows = [
        row(
            together(
                named(clip(form, 80)), tag("span", named(clip(method, 60)), class_="facts") if method else Html("")
            ),
            filled(_told(number), "The same answer"),
        )
        for (form, method), number in view.consistency.items()
    ]
    about = "How often the same answer is given when the same question is asked in another form."
    parts = [tag("h2", "The same question again", id="consistency"), tag("p", about)]
    parts.append(table("By form", ("Form", "The same answer"), rows, class_="cards"))
    return [tag("section", *parts, aria_labelledby="consistency")]
