"""Measurement events → numbers, and numbers → the tables of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from superalign.report.text import finite, short
from superalign.report.views import Install, Number, Power, Row, Suspect

SECTIONS = {
    "train": ("pgr", "accuracy", "contrast"),
    "validate": ("accuracy", "change", "gap", "robustness", "probe", "transfer", "control"),
    "stress": ("install", "power", "suspicion", "search"),
}
LABEL = {
    "train.pgr": "arm", "train.accuracy": "arm", "validate.accuracy": "alteration",
    "validate.robustness": "rewriting", "validate.transfer": "fault",
    "validate.control": "control",
}  # fmt: skip
_VOLATILE = ("seeds", "threshold", "flagged", "installed")
"""Tags that may change when the same thing is measured again."""


class EventLike(Protocol):
    """What an event of the ledger has; `superalign.evidence.Event` is one."""

    seq: int
    type: str
    actor: str
    time: str
    digest: str
    body: Mapping[str, Any]


def number_of(event: EventLike) -> Number:
    """The number of one measurement event; what isn't a finite number becomes None."""
    body = event.body
    tags, cost = body.get("tags") or {}, body.get("cost") or {}
    value = finite(body.get("value"))
    note = str(body.get("note", ""))
    return Number(
        seq=event.seq,
        name=str(body.get("name", "")),
        title=str(body.get("title", "")),
        value=value,
        low=finite(body.get("low")),
        high=finite(body.get("high")),
        level=finite(body.get("level")) or 0.95,
        n=int(finite(body.get("n")) or 0),
        clusters=int(finite(body.get("clusters")) or 0),
        unit=str(body.get("unit", "fraction")),
        subject=str(body.get("subject", "")),
        role=str(body.get("role", "validation")),
        tried=int(finite(body.get("tried")) or 1),
        isolation=str(body.get("isolation", "L0")),
        white_box=body.get("white_box") is True,
        in_distribution=body.get("in_distribution") is True,
        note=note if value is not None else note or "no reason is on record",
        tags={str(k): str(v) for k, v in tags.items()},
        cost={str(k): finite(v) or 0.0 for k, v in cost.items()},
    )


def latest(numbers: Iterable[Number]) -> list[Number]:
    """One number for each thing measured, the latest; it says which events measured it before."""
    kept: dict[tuple[Any, ...], Number] = {}
    for number in numbers:
        steady = tuple(sorted((k, v) for k, v in number.tags.items() if k not in _VOLATILE))
        key = (number.name, number.subject, number.role, steady)
        before = kept.get(key)
        if before is not None:
            number = replace(number, earlier=(*before.earlier, before.seq))
        kept[key] = number
    return list(kept.values())


def place_of(number: Number) -> str:
    """The table a number belongs to: "train.pgr", or "other"."""
    stage, figure = number.tags.get("stage", ""), number.tags.get("figure", "")
    return f"{stage}.{figure}" if figure in SECTIONS.get(stage, ()) else "other"


def tables_of(numbers: list[Number]) -> dict[str, tuple[Row, ...]]:
    """ "stage.figure" → its rows, related arms side by side; every table is there, if only empty."""
    names = [f"{stage}.{figure}" for stage, figures in SECTIONS.items() for figure in figures]
    out: dict[str, list[Row]] = {name: [] for name in (*names, "other")}
    for number in numbers:
        place = place_of(number)
        out[place].append(Row(label=_label(place, number), group=_group(place, number), number=number))
    return {name: _told_apart(_gathered(rows)) for name, rows in out.items()}


def _label(place: str, number: Number) -> str:
    tags = number.tags
    if place == "train.contrast" and "a" in tags and "b" in tags:
        return f"minus {tags['b']}"
    return tags.get(LABEL.get(place, ""), "") or number.title or number.name


def _group(place: str, number: Number) -> str:
    tags = number.tags
    if place in ("train.pgr", "train.accuracy"):
        return tags.get("arm", "").split(" + ")[0]
    if place == "train.contrast":
        return tags.get("a", "")
    if place == "validate.transfer":
        return "by the fitted reward" if tags.get("part") == "rewards" else "by its own surprisal"
    if place == "validate.control":
        return f"{tags.get('task', '')}/{tags.get('split', '')}"
    return f"{tags['view']} view" if place == "validate.accuracy" and "view" in tags else ""


def _gathered(rows: list[Row]) -> list[Row]:
    """Rows by group, in the order of first appearance; those alone in their group come first, without it."""
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.group] = sizes.get(row.group, 0) + 1
    alone = [Row(label=r.label, number=r.number) for r in rows if sizes[r.group] == 1 or not r.group]
    return alone + [r for group in sizes for r in rows if r.group == group and group and sizes[group] > 1]


def _told_apart(rows: list[Row]) -> tuple[Row, ...]:
    """Where a table speaks of several models, each row says of which."""
    if len({row.number.subject for row in rows}) < 2 or all(place_of(row.number) == "validate.control" for row in rows):
        return tuple(rows)
    return tuple(Row(label=f"{r.label} ({short(r.number.subject)})", group=r.group, number=r.number) for r in rows)


def suspects_of(rows: Iterable[Row]) -> tuple[Suspect, ...]:
    """The suspicion scores, one for each model and check."""
    return tuple(
        Suspect(
            alias=number.tags.get("alias", "") or short(number.subject),
            check=number.tags.get("check", ""),
            truth=number.tags.get("truth", ""),
            kind=number.tags.get("kind", ""),
            flagged={"1": True, "True": True, "0": False, "False": False}.get(number.tags.get("flagged", "")),
            threshold=_float(number.tags.get("threshold")),
            number=number,
        )
        for number in (row.number for row in rows)
    )


def _float(text: str | None) -> float | None:
    try:
        return finite(float(text)) if text is not None else None
    except ValueError:
        return None


def power_of(rows: Iterable[Row]) -> tuple[Power, ...]:
    """Detection and false alarms side by side, by check and kind left out; the pooled row last."""
    found: dict[tuple[str, str], dict[str, Number]] = {}
    for number in (row.number for row in rows):
        key = (number.tags.get("check", ""), number.tags.get("kind", ""))
        found.setdefault(key, {})[number.tags.get("part", "")] = number
    checks = list(dict.fromkeys(check for check, _ in found))
    order = sorted(found, key=lambda key: (checks.index(key[0]), key[1] == "all"))
    return tuple(
        Power(
            check=check,
            kind=kind,
            detection=found[check, kind].get("detection"),
            false_alarm=found[check, kind].get("false_alarm"),
        )
        for check, kind in order
    )


def installs_of(rows: Iterable[Row]) -> tuple[Install, ...]:
    """One line for each organism, with whether it is shown to differ from its twin."""
    found: dict[tuple[str, str, str], dict[str, Number]] = {}
    for number in (row.number for row in rows):
        tags = number.tags
        key = (tags.get("kind", ""), tags.get("seed", ""), tags.get("alias", "") or short(number.subject))
        found.setdefault(key, {})[tags.get("part", "")] = number
    return tuple(_install(key, parts) for key, parts in sorted(found.items()))


def _install(key: tuple[str, str, str], parts: dict[str, Number]) -> Install:
    carries, why = _carries(parts)
    kind, seed, alias = key
    source = next((part.tags["source"] for part in parts.values() if part.tags.get("source")), "")
    return Install(kind=kind, seed=seed, alias=alias, parts=parts, carries=carries, why=why, source=source)


def _carries(parts: Mapping[str, Number]) -> tuple[bool | None, str]:
    said = {part.tags.get("installed") for part in parts.values()} - {None}
    if said:
        yes = said <= {"1", "True"}
        return yes, "meets the sealed figure of its kind" if yes else "misses the sealed figure of its kind"
    mine, its = parts.get("on_trigger"), parts.get("twin_on")
    if mine is None or its is None or mine.interval is None or its.interval is None:
        return None, "no twin beside it on trigger"
    apart = mine.interval[0] > its.interval[1] or mine.interval[1] < its.interval[0]
    return apart, "differs from its twin on trigger" if apart else "not shown to differ from its twin on trigger"
