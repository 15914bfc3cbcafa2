"""Hold-outs: what each could show before it was used, and how often it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from superalign.report.html import Html, cell, cites, named, nothing, row, table, tag
from superalign.report.measured import EventLike
from superalign.report.text import clip, count, figure, finite
from superalign.report.views import Holdout


def holdouts_of(events: Iterable[EventLike]) -> tuple[Holdout, ...]:
    """Every family that a signal was admitted for, or that has a budget, in the order of first appearance."""
    families: dict[str, str] = {}
    found: dict[str, dict[str, list[EventLike]]] = {}
    for event in events:
        body = event.body
        if event.type == "signal":
            families[str(body.get("digest"))] = str(body.get("family"))
        elif event.type in ("admission", "budget", "query"):
            family = str(body["family"]) if "family" in body else families.get(str(body.get("signal")), "")
            found.setdefault(family, {}).setdefault(event.type, []).append(event)
    return tuple(_holdout(family, kinds) for family, kinds in found.items() if family)


def _holdout(family: str, kinds: dict[str, list[EventLike]]) -> Holdout:
    admitted, budgets, asked = (kinds.get(kind, []) for kind in ("admission", "budget", "query"))
    shown = ""
    if admitted:
        body = admitted[-1].body
        rates = [finite(body.get(name)) for name in ("optimum", "baseline", "mde")]
        if None not in rates:
            optimum, baseline, mde = (rate or 0.0 for rate in rates)
            shown = f"{figure(mde)} of {figure(optimum - baseline)} (n {body.get('n', '?')})"
    budget = "no budget"
    if budgets:
        body = budgets[-1].body
        budget = f"{body.get('mechanism', '?')}, {body.get('allowed', '?')} charged at most"
    charged = sum(event.body.get("fresh") is True for event in asked)
    return Holdout(
        family=family,
        shown=shown,
        budget=budget,
        asked=f"{len(asked)}, {charged} charged" if asked else "never",
        seqs=tuple(event.seq for event in (*admitted, *budgets, *asked)),
    )


def holdouts_part(holdouts: Sequence[Holdout]) -> list[Html]:
    """One line a family: the smallest effect it can show beside its headroom, its budget, what was asked."""
    title = tag("h3", "Hold-outs")
    if not holdouts:
        return [title, nothing("no hold-out was admitted or has a budget")]
    about = (
        "A signal validates after it was admitted: three models that know nothing score nothing by it, and its headroom is at "
        f"least twice the smallest effect that it can show. {count(len(holdouts), 'family', 'families')} on record."
    )
    head = ("Family", "Smallest effect shown, of headroom", "Budget", "Asked", "Events")
    lines = [
        row(
            named(clip(h.family, 100)),
            cell(clip(h.shown, 100) or "not admitted"),
            cell(named(clip(h.budget, 100))),
            cell(h.asked),
            cell(cites(h.seqs)),
        )
        for h in holdouts
    ]
    return [title, tag("p", about), table("Hold-outs", head, lines, class_="cards")]
