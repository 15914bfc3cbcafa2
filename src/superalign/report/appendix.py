"""The last pages: costs, how to verify, and every event."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from superalign.report.holdouts import holdouts_part
from superalign.report.html import (
    ISOLATION,
    Html,
    cell,
    cite,
    cites,
    fold,
    named,
    nothing,
    row,
    table,
    tag,
    together,
)
from superalign.report.text import clip, count
from superalign.report.views import Cost, Dossier, EventLine

SHORTEST_RUN = 4
_CITED = re.compile(r'href="#e(\d+)"')


def costs_section(dossier: Dossier) -> Html:
    """Seconds by stage, and what measurements say they spent."""
    parts = [tag("h2", "Costs", id="costs")]
    timed = [c for c in dossier.stages if c.amount]
    if timed:
        total = sum(c.amount for c in timed)
        parts.append(tag("p", f"{total:,.1f} seconds in {count(sum(c.times for c in timed), 'timed stage')}."))
        parts.append(_cost_table("Seconds by stage", timed, "Seconds"))
    else:
        parts.append(nothing("no stage with its seconds"))
    untimed = [clip(c.label, 80) for c in dossier.stages if not c.amount]
    if untimed:
        parts.append(tag("p", f"On record without a time of their own: {'; '.join(untimed)}.", class_="soft"))
    if dossier.expenses:
        parts.append(tag("h3", "Spent by measurements"))
        parts.append(tag("p", "A check is one look at the truth: it counts as one ground-truth label."))
        parts.append(_cost_table("As the measurements say, added up by kind", dossier.expenses, "Amount"))
    return tag("section", *parts, aria_labelledby="costs")


def _cost_table(caption: str, costs: Sequence[Cost], unit: str) -> Html:
    rows = [
        row(named(clip(c.label, 100)), cell(f"{c.times:,}"), cell(f"{c.amount:,.1f}"), cell(cites(c.seqs)))
        for c in costs
    ]
    return table(caption, ("What", "Times", unit, "Events"), rows)


def verify_section(dossier: Dossier) -> Html:
    """Head, counts, isolation, what was sealed before, and the command."""
    facts = dossier.ledger
    parts = [tag("h2", "How to verify", id="verify")]
    parts.append(
        tag("p", "This page was compiled from the ledger's events and from nothing else. Check it offline, on a CPU:")
    )
    parts.append(
        tag(
            "pre",
            tag(
                "code", "superalign verify --workspace DIR\nsuperalign verify --workspace DIR --anchor ROOT --keys FILE"
            ),
        )
    )
    parts.append(tag("p", "The first proves that the ledger is self-consistent; the second, against a root and keys that you got by "
                     "another way, that it is the ledger you were promised. Its head must be the one below, or, if events were "
                     "written since, hold it at that place."))  # fmt: skip
    levels = [f"{level} ({ISOLATION.get(level, 'unknown level')})" for level in facts.isolation]
    pairs: list[tuple[str, object]] = [
        ("Head", tag("code", facts.head or "none: the ledger is empty")),
        ("Events", f"{facts.events:,}" + (f", the last at {clip(facts.last, 40)}" if facts.last else "")),
        ("By type", ", ".join(f"{name} {n:,}" for name, n in facts.types) or "none"),
        ("Isolation of the numbers", "; ".join(levels) or "no number"),
        ("Last checkpoint", together(cite(facts.checkpoint[0]), " root ", tag("code", clip(facts.checkpoint[1], 64)))
         if facts.checkpoint else "none: nothing was anchored outside"),
    ]  # fmt: skip
    parts.append(_pairs(pairs))
    parts += holdouts_part(dossier.holdouts)
    parts += _settings("The run", "no run event", dossier.runs)
    parts += _settings(
        "Sealed before the audit", "no plan: thresholds and primary checks were not sealed before", dossier.plans
    )
    if facts.genesis:
        parts.append(fold("The ledger's beginning, with its public keys", _pairs(list(facts.genesis.items()))))
    return tag("section", *parts, aria_labelledby="verify")


def _pairs(pairs: Iterable[tuple[str, object]]) -> Html:
    return tag(
        "dl", *(part for name, value in pairs for part in (tag("dt", named(name)), tag("dd", value))), class_="kv"
    )


def _settings(title: str, absent: str, events: Sequence[tuple[int, object]]) -> list[Html]:
    if not events:
        return [tag("h3", title), nothing(absent)]
    out = [tag("h3", title)]
    for seq, body in events:
        pairs = list(body.items()) if isinstance(body, dict) else []
        out += [tag("p", "On record as ", cite(seq), "."), _pairs(pairs)]
    return out


def events_section(lines: Sequence[EventLine], body: str) -> Html:
    """Every event that `body` links to as a row of its own; runs of others of one type folded into one row."""
    cited = {int(seq) for seq in _CITED.findall(body)}
    rows = [
        _run(group) if len(group) >= SHORTEST_RUN else together(*map(_line, group)) for group in _runs(lines, cited)
    ]
    about = (
        f"All {count(len(lines), 'event')}. Events of one type that stand in a row and that no number refers to share a line; "
        "the ledger holds each."
    )
    parts: list[object] = [tag("h2", "Events", id="events")]
    if lines:
        head = ("Event", "Type", "Principal", "Digest", "What")
        parts.append(fold("The events that the numbers link to", table(about, head, rows, class_="events")))
    else:
        parts.append(nothing("no event"))
    return tag("section", *parts, aria_labelledby="events")


def _runs(lines: Sequence[EventLine], cited: set[int]) -> list[list[EventLine]]:
    out: list[list[EventLine]] = []
    for line in lines:
        joins = out and line.seq not in cited and out[-1][-1].seq not in cited
        if joins and (line.type, line.actor) == (out[-1][-1].type, out[-1][-1].actor):
            out[-1].append(line)
        else:
            out.append([line])
    return out


def _line(line: EventLine) -> Html:
    return tag(
        "tr", tag("th", f"#{line.seq}", scope="row"), tag("td", line.type), tag("td", line.actor),
        tag("td", tag("code", line.digest[:12])), tag("td", named(line.what)), id=f"e{line.seq}",
    )  # fmt: skip


def _run(group: Sequence[EventLine]) -> Html:
    first, last = group[0], group[-1]
    return tag(
        "tr", tag("th", f"#{first.seq}–#{last.seq}", scope="row"), tag("td", first.type), tag("td", first.actor),
        tag("td", tag("code", f"{first.digest[:12]} … {last.digest[:12]}")), tag("td", f"{len(group):,} events"),
    )  # fmt: skip
