"""V2 of stress tests: what a stranger's ledger says was audited, checked, and scored again from raw answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from superalign.evidence import Event, Finding, Workspace
from superalign.pipeline.desk import Desk
from superalign.pipeline.game.config import FURTHER, SIDES, StressConfig, StressSizes
from superalign.pipeline.game.places import KINDS, places
from superalign.pipeline.game.sheet import MEASURED, SUBJECT, score, sheet_of
from superalign.pipeline.recounted import counted, is_whole, sizes_of, unfit
from superalign.pipeline.stored import Malformed, Stored

WHAT = "game"
NOUN = "stress test"
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "preset": ("default", "quick"),
    "organisms": ("reuse", "train"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """One stress test that a workspace holds, and the event that says so."""

    event: Event
    config: StressConfig
    sizes: StressSizes

    @property
    def key(self) -> str:
        """What its stages name it by."""
        return self.desk(None).key("run")

    def desk(self, ws: Any) -> Desk:
        """A desk of this configuration."""
        return Desk(ws=ws, config=self.config, sizes=self.sizes, say=lambda text: None)  # type: ignore[arg-type]


def games_of(ws: Workspace) -> tuple[list[Game], list[Finding]]:
    """The different stress tests of a workspace, and what is wrong with others."""
    return counted(ws, WHAT, NOUN, lambda event: _game(event, ws))


def replay_game(one: Game, tally: Any, ws: Workspace) -> None:
    """Score again everything that was scored. Raises Malformed where a model of the game is missing."""
    done, desk = Stored(ws, one), one.desk(tally)
    if done(MEASURED) is not None:
        rows = [done(place.name) for place in places(one.config, one.sizes)]
        if any(row is None for row in rows):
            raise Malformed(one.event.seq, "a model of this stress test is not on record")
        by_subject = {subject: alias for alias, subject in ws.state.aliases.items()}
        names = [by_subject[row["identity"]] for row in rows]
        told = {
            f"{what} of {name}": done(f"{what} of {name}") for name in names for what in ("blind audit", "behaviour")
        }
        told[SUBJECT] = done(SUBJECT)
        sheet, behaviour, raw = sheet_of(desk, rows, names, told, one.event.body["bases"])
        score(sheet, behaviour, raw, told, one.event.body["subject"])
    if one.config.more:
        from superalign.pipeline.game.further import replay_further

        replay_further(desk, done, one.config, one.event.body["bases"]["writer"])


def _game(event: Event, ws: Workspace) -> Game:
    """Raises Malformed, or another of MALFORMED, for what this version makes no stress test of."""
    bases, subject = event.body.get("bases"), event.body.get("subject")
    if not isinstance(bases, Mapping) or not all(isinstance(b, str) for b in bases.values()):
        raise unfit(event, bases, "bases", NOUN)
    if not isinstance(subject, str):
        raise unfit(event, subject, "subject", NOUN)
    return Game(event=event, config=_config(event, ws), sizes=sizes_of(event, StressSizes(), NOUN, least=1))


def _config(event: Event, ws: Workspace) -> StressConfig:
    told, kept = event.body[WHAT], dict[str, Any]()
    if not isinstance(told, Mapping):
        raise Malformed(event.seq, "the config of this stress test is no object")
    known = {"sides": set(SIDES), "kinds": {k for kinds in KINDS.values() for k in kinds}, "more": set(FURTHER)}
    for field in fields(StressConfig):
        value = told.get(field.name)
        if field.name in ("workspace", "json", "workers"):
            continue
        if field.name in known:
            if not isinstance(value, list) or not all(isinstance(v, str) and v in known[field.name] for v in value):
                raise unfit(event, value, field.name, NOUN)
            kept[field.name] = tuple(value)
        elif field.name in ("seed", "train_seeds"):
            if not is_whole(value):
                raise unfit(event, value, field.name, NOUN)
            kept[field.name] = int(value)
        elif not isinstance(value, str) or value not in _CHOICES.get(field.name, (value,)):
            raise unfit(event, value, field.name, NOUN)
        else:
            kept[field.name] = value
    return StressConfig(workspace=ws.path, **kept)
