"""V2 of sweeps: what a stranger's ledger says was taught, checked, and its scores made again from stored answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from superalign.evidence import Event, Finding, Workspace
from superalign.pipeline.desk import Desk
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes
from superalign.pipeline.generalize_pages import drawn
from superalign.pipeline.generalize_scores import scored
from superalign.pipeline.recounted import counted, is_whole, sealed_before, sizes_of, unfit
from superalign.pipeline.stored import Malformed, Stored

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
    return counted(ws, "generalization", "sweep", lambda event: _sweep(event, ws))


def _sweep(event: Event, ws: Workspace) -> Sweep:
    """Raises Malformed, or another of MALFORMED, for what this version makes no sweep of."""
    sweep = Sweep(event=event, config=_config(event, ws), sizes=sizes_of(event, GeneralizeSizes(), "sweep", least=0))
    if event.body.get("items") != drawn(sweep.config, sweep.sizes):
        raise Malformed(event.seq, "this version of superalign draws other items than the one that made this")
    _names(event, event.body.get("methods"), "methods")
    sealed_before(ws, sweep, "generalization", "sweep")
    return sweep


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
            if not is_whole(value):
                raise unfit(event, value, field.name, "sweep")
            kept[field.name] = int(value)
        elif field.name == "data":
            kept["data"] = None if value == "None" else Path(str(value))
        elif isinstance(value, str):
            kept[field.name] = value
        else:
            raise unfit(event, value, field.name, "sweep")
    _choices(event, kept)
    return GeneralizeConfig(workspace=ws.path, **kept)


def _choices(event: Event, kept: Mapping[str, Any]) -> None:
    """Raises Malformed where an option is none that the program offers."""
    hints = get_type_hints(GeneralizeConfig)
    for name in ("preset", "task"):
        if kept[name] not in get_args(hints[name]):
            raise unfit(event, kept[name], name, "sweep")
    for name in ("settings", "parts"):
        if set(kept[name]) - set(get_args(get_args(hints[name])[0])):
            raise unfit(event, kept[name], name, "sweep")


def _names(event: Event, value: Any, what: str) -> tuple[str, ...]:
    fits = isinstance(value, list) and len(value) <= MOST_NAMES and all(isinstance(v, str) for v in value)
    if not fits or len(set(value)) < len(value):
        raise unfit(event, value, what, "sweep")
    return tuple(value)
