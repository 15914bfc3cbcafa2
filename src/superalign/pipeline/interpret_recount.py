"""V2 of interpretations: what a stranger's ledger says was explained, checked, and its scores made again from sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from superalign.evidence import Event, Finding, Workspace
from superalign.pipeline.desk import Desk
from superalign.pipeline.interpret import scored
from superalign.pipeline.interpret_config import PARTS, SETTINGS, InterpretConfig, InterpretSizes
from superalign.pipeline.interpret_said import reread
from superalign.pipeline.recounted import counted, is_whole, sizes_of, unfit
from superalign.pipeline.stored import Malformed, Stored

WHAT = "interpretation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpretation:
    """One interpretation that a workspace holds, and the event that says so."""

    event: Event
    config: InterpretConfig
    sizes: InterpretSizes

    @property
    def key(self) -> str:
        """What its stages name it by."""
        return self.desk(None).key("run")

    @property
    def subject(self) -> str:
        """Identity of the model that was looked into."""
        return str(self.event.body["model"])

    def desk(self, ws: Any) -> Desk:
        """A desk of this configuration."""
        return Desk(ws=ws, config=self.config, sizes=self.sizes, say=lambda text: None)  # type: ignore[arg-type]


def interpretations_of(ws: Workspace) -> tuple[list[Interpretation], list[Finding]]:
    """The different interpretations of a workspace, and what is wrong with others."""
    return counted(ws, WHAT, WHAT, lambda event: _interpretation(event, ws))


def replay_interpretation(one: Interpretation, tally: Any, ws: Workspace) -> None:
    """Score again everything that was scored. Raises Malformed where what was read is not what the ledger states, and
    ValueError, or another of MALFORMED, where an explainer's texts are not what its raw responses say.
    """
    done = Stored(ws, one)
    told = done("corpus")
    if told is not None and told.get("digest") != one.event.body.get("corpus"):
        raise Malformed(one.event.seq, "the text that was kept is not the one that this interpretation states")
    reread(done, ws.store)
    for part, work in scored(one.desk(tally), one.config, one.subject, done).items():
        if done(f"scores, {part}") is not None:
            work()


def _interpretation(event: Event, ws: Workspace) -> Interpretation:
    """Raises Malformed, or another of MALFORMED, for what this version makes no interpretation of."""
    if not isinstance(event.body.get("model"), str):
        raise unfit(event, event.body.get("model"), "model", WHAT)
    return Interpretation(
        event=event, config=_config(event, ws), sizes=sizes_of(event, InterpretSizes(), WHAT, least=0)
    )


def _config(event: Event, ws: Workspace) -> InterpretConfig:
    told, kept = event.body[WHAT], dict[str, Any]()
    if not isinstance(told, Mapping):
        raise Malformed(event.seq, "the config of this interpretation is no object")
    usual = InterpretConfig()
    for field in fields(InterpretConfig):
        value, default = told.get(field.name), getattr(usual, field.name)
        if field.name in SETTINGS:
            continue
        if isinstance(default, tuple):
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise unfit(event, value, field.name, WHAT)
            kept[field.name] = tuple(value)
        elif isinstance(default, int):
            if not is_whole(value):
                raise unfit(event, value, field.name, WHAT)
            kept[field.name] = int(value)
        elif not isinstance(value, str):
            raise unfit(event, value, field.name, WHAT)
        elif field.name == "corpus":
            kept["corpus"] = None if value == "None" else Path(value)
        else:
            kept[field.name] = value
    if kept["preset"] not in ("default", "quick") or set(kept["parts"]) - set(PARTS):
        raise unfit(event, (kept["preset"], kept["parts"]), "preset and parts", WHAT)
    return InterpretConfig(workspace=ws.path, **kept)
