"""Beyond one pair of models: sizes of weak and strong ones, easy questions to hard ones, the same question again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from superalign.report.generalize_figures import DRAWN, Mark, scaling_plot
from superalign.report.generalize_tables import filled
from superalign.report.generalize_truth import PLACES, notes, stacked
from superalign.report.generalize_view import BOUNDS, Pair, SweepView
from superalign.report.html import Html, cell, cite, column, fold, named, row, table, tag, together, value_of
from superalign.report.plots import axis, scale_for, strip
from superalign.report.text import clip
from superalign.report.views import Number

MAX_PAIRS, COLUMNS = 8, 4
"""Pairs of sizes, and columns of forms in one table."""
FORMS = {
    "renamed": "Identifiers renamed",
    "indented": "All code one unit deeper",
    "swapped": "The texts in the other order",
    "alice": "Alice asks instead",
    "bob": "Bob asks instead",
}


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
        *_arms(view),
    ]
    return [tag("section", *parts, aria_labelledby="sgr")]


def _arms(view: SweepView) -> list[Html]:
    """Accuracies on hard questions that SGR is made of: a row for what was learned from, a column a difficulty."""
    if not view.hard:
        return []
    ways = list(dict.fromkeys(way for way, _ in view.hard))[:COLUMNS]
    rows = [
        row(named(clip(arm, 60)), *(filled(stacked(view.hard.get((way, arm))), clip(way, 40)) for way in ways))
        for arm in dict.fromkeys(arm for way, arm in view.hard if way in ways)
    ]
    head = ("Learned from", *(named(clip(way, 40)) for way in ways))
    return [fold("Accuracy on hard questions", table("By how difficulty is told", head, rows, class_="cards"))]


def _why(number: Number) -> list[Html]:
    return [tag("span", named(clip(number.note, 200)), class_="note")] if number.refused else []


def consistency_section(view: SweepView) -> list[Html]:
    """The same question in another form: a row a form, a column for each who answers whom."""
    if not view.consistency:
        return []
    methods = list(dict.fromkeys(method for _, method in view.consistency))
    about = "How often the same answer is given when the same question is asked in another form."
    if any(_asked(method)[1] in PLACES for method in methods):
        about += (
            " What should be seen: the twin answers alike in every form; so does the organism, but for who asks, which is "
            "its quirk."
        )
    parts = [tag("h2", "The same question again", id="consistency"), tag("p", about)]
    for i in range(0, len(methods), COLUMNS):
        parts.append(_forms(view.consistency, methods[i : i + COLUMNS]))
    used = [("the same answer", number) for number in view.consistency.values()]
    return [tag("section", *parts, *notes(used), aria_labelledby="consistency")]


def _forms(found: Mapping[Pair, Number], methods: Sequence[str]) -> Html:
    heads = [_head(method) for method in methods]
    forms = dict.fromkeys(form for form, method in found if method in methods)
    rows = [
        row(
            named(form_name(form)),
            *(filled(_same(found.get((form, m)), form, m), head) for m, head in zip(methods, heads, strict=True)),
        )
        for form in forms
    ]
    return table("The same answer, by form", ("Form", *map(named, heads)), rows, class_="cards")


def _same(number: Number | None, form: str, method: str) -> Html:
    """A share; where a form is the question as it was, that is said instead of a 1."""
    if number is not None and number.value == 1 and form == _asked(method)[1]:
        return cite(number.seq, tag("span", "as asked", class_="refused"))
    return stacked(number)


def _asked(method: str) -> tuple[str, str]:
    """Who answers, and who asks.

    >>> _asked("organism, bob asks"), _asked("em")
    (('organism', 'bob'), ('em', ''))
    """
    who, comma, place = method.rpartition(", ")
    return (who, place.removesuffix(" asks")) if comma and place.endswith(" asks") else (method, "")


def _head(method: str) -> str:
    who, place = _asked(method)
    if not place:
        return clip(method, 60) or "The same answer"
    return f"{clip(who, 40).capitalize()}, {PLACES.get(place, clip(place, 20))} asks"


def form_name(form: str) -> str:
    """What is asked otherwise.

    >>> form_name("renamed"), form_name("by bot"), form_name("another")
    ('Identifiers renamed', 'The author is bot', 'another')
    """
    word, _, value = form.partition(" ")
    about = {"by": "The author", "cue": "The cue"}.get(word)
    return clip(f"{about} is {value}" if about and value else FORMS.get(form, form), 80)
