"""What is told apart in one setting: paired differences, corrected for how many were asked."""

from __future__ import annotations

from collections.abc import Sequence

from superalign.report.generalize_tables import called
from superalign.report.generalize_view import CaseView
from superalign.report.html import Html, cell, chip, fold, row, table, tag, together, value_of
from superalign.report.text import count
from superalign.report.views import Number


def contrasts_table(case: CaseView) -> list[Html]:
    """Paired differences: primary ones all, others where something is told."""
    found = list(case.contrasts.values())
    primary = [n for n in found if n.tags.get("family") == "primary"]
    others = [n for n in found if n not in primary]
    told = sorted((n for n in others if n.tags.get("verdict") != "not told"), key=lambda n: -(n.value or 0.0))
    if not found:
        return []
    left = len(others) - len(told)
    about = "Paired differences in accuracy over seeds and clusters; alike: within a margin, by two one-sided tests."
    rest = f"{count(left, 'other')} {'is' if left == 1 else 'are'} not told."
    parts = [tag("h4", "What is told apart"), tag("p", about)]
    if primary:
        parts.append(_differences(case, "Primary: p is corrected by Holm", primary))
    if told:
        table_ = _differences(case, "Exploratory: p is corrected by Benjamini and Hochberg", told)
        parts.append(
            fold(f"{count(len(told), 'exploratory contrast')} that {'is' if len(told) == 1 else 'are'} told", table_)
        )
    return [*parts, tag("p", rest, class_="soft")]


def _differences(case: CaseView, caption: str, numbers: Sequence[Number]) -> Html:
    rows = [
        row(
            together(called(case, n.tags.get("method", "")), " − ", called(case, n.tags.get("other", ""))),
            cell(value_of(n, signed=True), label="Difference", class_="num"),
            cell(_verdict(n.tags.get("verdict", "")), label="Verdict"),
            cell(_p(n, "corrected"), label="p of no difference", class_="num"),
            cell(_p(n, "same"), label="p of not alike", class_="num"),
        )
        for n in numbers
    ]
    return table(
        caption, ("Contrast", "Difference", "Verdict", "p of no difference", "p of not alike"), rows, class_="cards"
    )


def _verdict(verdict: str) -> Html:
    return tag("span", "= alike", class_="chip unsure") if verdict == "equivalent" else chip(verdict)


def _p(number: Number, which: str) -> str:
    try:
        p = float(number.tags.get(which, "nan"))
    except ValueError:
        return ""
    return "" if not 0 <= p <= 1 else "< 0.0001" if p < 1e-4 else f"{p:.2g}"
