"""V2 of sweeps: what a stranger's ledger says was taught, checked, and its scores made again from stored answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from superalign.evidence import Event, Finding, Tampered, Workspace
from superalign.pipeline.desk import Desk
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes
from superalign.pipeline.generalize_pages import drawn
from superalign.pipeline.generalize_scores import scored
from superalign.pipeline.stored import MALFORMED, MAX_RUNS, Malformed, Stored

LARGER = 20
"""A size may be so many times that of the default preset."""
MOST_NAMES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One sweep that a workspace holds, and the event that says so."""

    event: Event
    config: GeneralizeConfig
    sizes: GeneralizeSizes

    @property
    def key(self) -> str:
        """What its stages name it by."""
        return self.desk(None).key("run")

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that were played."""
        return tuple(self.event.body["methods"])

    def desk(self, ws: Any) -> Desk:
        """A desk of this configuration."""
        return Desk(ws=ws, config=self.config, sizes=self.sizes, say=lambda text: None)  # type: ignore[arg-type]


def sweeps_of(ws: Workspace) -> tuple[list[Sweep], list[Finding]]:
    """The different sweeps of a workspace, and what is wrong with others."""
    sweeps: dict[str, Sweep] = {}
    findings = []
    for event in ws.ledger.events("run"):
        if "generalization" not in event.body:
            continue
        try:
            sweep = Sweep(event=event, config=_config(event, ws), sizes=_sizes(event))
            if event.body.get("items") != drawn(sweep.config, sweep.sizes):
                raise Malformed(event.seq, "this version of superalign draws other items than the one that made this")
            _names(event, event.body.get("methods"), "methods")
            _sealed_before(ws, sweep)
        except MALFORMED as error:
            do = "verify it with the version that made it, or don't rely on it"
            findings.append(Finding(seq=event.seq, what=f"{error!s:.300}", where=f"event {event.seq}", do=do))
            continue
        sweeps.setdefault(sweep.key, sweep)
    if len(sweeps) > MAX_RUNS:
        raise Tampered(f"{len(sweeps)} different sweeps, and scores of {MAX_RUNS} at most are recomputed")
    return list(sweeps.values()), findings


def _sealed_before(ws: Workspace, sweep: Sweep) -> None:
    """Raises Malformed unless the sweep's plan was sealed before its first stage."""
    plans = [event.seq for event in ws.ledger.events("plan") if event.body.get("generalization") == sweep.key]
    played = [event.seq for event in ws.ledger.events("stage") if event.body.get("run") == sweep.key]
    if played and (not plans or min(plans) > min(played)):
        raise Malformed(sweep.event.seq, "this sweep was played before its plan was sealed")


def replay_sweep(sweep: Sweep, tally: Any, ws: Workspace) -> None:
    """Score again everything that was scored."""
    done = Stored(ws, sweep)
    for part, work in scored(sweep.desk(tally), sweep.config, sweep.methods, done).items():
        if done(f"scores, {part}") is not None:
            work()


def _config(event: Event, ws: Workspace) -> GeneralizeConfig:
    told = event.body["generalization"]
    if not isinstance(told, Mapping):
        raise Malformed(event.seq, "the config of this sweep is no object")
    kept: dict[str, Any] = {}
    usual = GeneralizeConfig()
    for field in fields(GeneralizeConfig):
        if field.name in ("workspace", "json", "workers"):
            continue
        value, default = told.get(field.name), getattr(usual, field.name)
        if isinstance(default, tuple):
            kept[field.name] = _names(event, value, field.name)
        elif isinstance(default, int):
            if not (isinstance(value, str) and value.isdecimal() and len(value) < 10):
                raise Malformed(event.seq, f"{value!r:.80} can't be the {field.name} of a sweep")
            kept[field.name] = int(value)
        elif field.name == "data":
            kept["data"] = None if value == "None" else Path(str(value))
        elif isinstance(value, str):
            kept[field.name] = value
        else:
            raise Malformed(event.seq, f"{value!r:.80} can't be the {field.name} of a sweep")
    _choices(event, kept)
    return GeneralizeConfig(workspace=ws.path, **kept)


def _choices(event: Event, kept: Mapping[str, Any]) -> None:
    """Raises Malformed where an option is none that the program offers."""
    hints = get_type_hints(GeneralizeConfig)
    for name in ("preset", "task"):
        if kept[name] not in get_args(hints[name]):
            raise Malformed(event.seq, f"{kept[name]!r:.80} can't be the {name} of a sweep")
    for name in ("settings", "parts"):
        if set(kept[name]) - set(get_args(get_args(hints[name])[0])):
            raise Malformed(event.seq, f"{kept[name]!r:.80} can't be the {name} of a sweep")


def _names(event: Event, value: Any, what: str) -> tuple[str, ...]:
    fits = isinstance(value, list) and len(value) <= MOST_NAMES and all(isinstance(v, str) for v in value)
    if not fits or len(set(value)) < len(value):
        raise Malformed(event.seq, f"{value!r:.80} can't be the {what} of a sweep")
    return tuple(value)


def _sizes(event: Event) -> GeneralizeSizes:
    told, usual = event.body.get("sizes"), GeneralizeSizes()
    names = [field.name for field in fields(GeneralizeSizes)]
    if not isinstance(told, Mapping) or set(told) != set(names):
        raise Malformed(event.seq, "the sizes of this sweep are no such object")
    for name in names:
        if type(told[name]) is not int or not 0 <= told[name] <= LARGER * getattr(usual, name):
            raise Malformed(event.seq, f"{told[name]!r:.80} can't be the size {name} of a sweep")
    return GeneralizeSizes(**told)
