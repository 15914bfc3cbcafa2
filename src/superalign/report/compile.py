"""Events → the view of a dossier. Nothing else is read but the objects that figure events name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from superalign.report.figures import GetJson, figures_of
from superalign.report.findings import missing, undetected
from superalign.report.holdouts import holdouts_of
from superalign.report.lineage import lineage_of
from superalign.report.measured import (
    EventLike,
    installs_of,
    latest,
    number_of,
    power_of,
    suspects_of,
    tables_of,
)
from superalign.report.text import clip, figure, finite, short
from superalign.report.verdicts import verdicts_of
from superalign.report.views import Cost, Dossier, EventLine, LedgerFacts, Number, Verdict


def compile_dossier(events: Iterable[EventLike], get_json: GetJson) -> Dossier:
    """Everything the page will show, from events in order and from `get_json(digest)` for figures.

    Same events, same view. What can't be read is listed under `problems`; what isn't there, under `missing`.
    """
    kept = list(events)
    numbers = {e.seq: number_of(e) for e in kept if e.type == "measurement"}
    tables = tables_of(latest(numbers.values()))
    installs = installs_of(tables["stress.install"])
    power = power_of(tables["stress.power"])
    suspects = suspects_of(tables["stress.suspicion"])
    curves, gallery, problems = figures_of(kept, get_json)
    verdicts = verdicts_of((e for e in kept if e.type == "claim"), numbers, power, suspects)
    lineage = lineage_of(kept)
    stages = stages_of(kept)
    return Dossier(
        subject=_subject(verdicts, tables["validate.accuracy"]),
        verdicts=verdicts,
        undetected=undetected(tables, installs, power, suspects),
        missing=missing(
            tables, gate__verdicts=verdicts, stress__ROC_curves=curves, gallery_of_failures=gallery,
            lineage=lineage.nodes, timed_stages=stages,
        ),
        tables=tables, installs=installs, power=power, suspects=suspects, curves=curves, lineage=lineage,
        gallery=gallery, stages=stages, expenses=expenses_of(numbers.values()),
        runs=_free(kept, "run"), plans=_free(kept, "plan"), holdouts=holdouts_of(kept),
        problems=problems,
        ledger=facts_of(kept), lines=tuple(_line(e) for e in kept),
    )  # fmt: skip


def _subject(verdicts: tuple[Verdict, ...], rows: Iterable[Any]) -> str:
    """Whom the dossier is about: the subject of the gate's claims, else of the last validation."""
    named = [v.subject for v in verdicts if v.gate] or [row.number.subject for row in rows]
    return named[-1] if named else ""


def stages_of(events: Iterable[EventLike]) -> tuple[Cost, ...]:
    """Seconds by stage, repeated stages (one for each seed or model) added up under one name."""
    found: dict[str, list[tuple[float, int]]] = {}
    for event in events:
        if event.type == "stage":
            name = re.sub(r"\d+$", "…", str(event.body.get("stage", "")))
            found.setdefault(name, []).append((finite(event.body.get("seconds")) or 0.0, event.seq))
    return tuple(
        Cost(name, len(rows), sum(s for s, _ in rows), tuple(seq for _, seq in rows)) for name, rows in found.items()
    )


def expenses_of(numbers: Iterable[Number]) -> tuple[Cost, ...]:
    """What measurements say they cost, added up by kind (checks, tokens, seconds)."""
    found: dict[str, list[tuple[float, int]]] = {}
    for number in numbers:
        for name, amount in number.cost.items():
            if amount:
                found.setdefault(name, []).append((amount, number.seq))
    return tuple(
        Cost(name, len(rows), sum(a for a, _ in rows), tuple(seq for _, seq in rows)) for name, rows in found.items()
    )


def _free(events: Iterable[EventLike], type: str) -> tuple[tuple[int, Mapping[str, str]], ...]:
    return tuple((e.seq, _flat(e.body)) for e in events if e.type == type)


def _flat(body: Mapping[str, Any], depth: int = 0) -> dict[str, str]:
    """{"machine": {"cpus": 2}} → {"machine: cpus": "2"}, two levels deep, lists in a line."""
    out: dict[str, str] = {}
    for key, value in body.items():
        if isinstance(value, Mapping) and depth < 2:
            out |= {f"{clip(key, 60)}: {k}": v for k, v in _flat(value, depth + 1).items()}
        elif isinstance(value, list):
            out[clip(key, 60)] = clip(", ".join(str(v) for v in value), 300) or "none"
        else:
            out[clip(key, 60)] = clip("none" if value is None else value, 300)
    return out


def facts_of(events: list[EventLike]) -> LedgerFacts:
    """Head, counts and isolation, as an auditor will find them."""
    types = Counter(e.type for e in events)
    levels = {str(e.body.get("isolation", "")) for e in events if e.type == "measurement"}
    genesis = next((e.body for e in events if e.type == "genesis"), {})
    checkpoints = [e for e in events if e.type == "checkpoint"]
    last = checkpoints[-1] if checkpoints else None
    return LedgerFacts(
        head=events[-1].digest if events else "",
        events=len(events),
        types=tuple(sorted(types.items(), key=lambda item: (-item[1], item[0]))),
        isolation=tuple(sorted(levels)),
        genesis=_flat(genesis),
        checkpoint=(last.seq, str(last.body.get("root", ""))) if last else None,
        last=events[-1].time if events else "",
    )


def _line(event: EventLike) -> EventLine:
    return EventLine(event.seq, event.type, event.actor, event.digest, event.time, clip(_what(event), 160))


def _what(event: EventLike) -> str:
    """One event in a few words."""
    body = event.body

    def text(field: str) -> str:
        return str(body.get(field, ""))

    match event.type:
        case "measurement":
            span = (finite(body.get("low")), finite(body.get("high")))
            interval = f" [{figure(span[0])}, {figure(span[1])}]" if None not in span else ""
            return f"{text('name')} = {figure(finite(body.get('value')))}{interval}, of {short(text('subject'))}"
        case "claim":
            return f"{text('verdict')}: {text('text')}"
        case "node" | "signal":
            return f"{text('kind')} {text('name')}@{text('digest')[:8]}"
        case "edge":
            return f"{text('source')[:8]} → {text('target')[:8]} ({text('mode')})"
        case "alias" | "unseal":
            subject = f" is {short(text('subject'))}" if "subject" in body else " committed to"
            return f"{text('alias')}{subject}"
        case "stage" | "figure":
            return f"{text(event.type)}{', ' + text('state') if 'state' in body else ''}"
        case "seal" | "read":
            return f"{text('split')}, {text('n')} truths"
        case "contains":
            return f"{text('digest')[:8]} holds {', '.join(str(f) for f in body.get('families') or ()) or 'no family'}"
        case "demote" | "promote":
            return f"{text('signal')[:8]} to {text('role')}: {text('reason')}"
        case "base":
            return f"{text('digest')[:8]}: {text('reason')}"
        case "genesis":
            return f"format {text('format')}, {text('made_by')}"
        case "checkpoint":
            return f"root {text('root')[:12]} over {text('events')} events"
    return text("text") or text("note") or text("name")
