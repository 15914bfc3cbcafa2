"""What runs stored, as a stranger's ledger states it: configurations and stages, checked before scoring meets them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

from superalign.evidence import Event, Finding, SuperalignError, Tampered, Workspace, is_digest
from superalign.pipeline.config import RunConfig, Sizes
from superalign.pipeline.signals import CHECKED, playable

LARGER = 20
"""A size may be so many times that of the default preset: replaying a run stays a matter of minutes."""
MAX_RUNS = 32
MALFORMED = (SuperalignError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What scoring raises on a stranger's objects that are not what a run stores."""
_CHOICES = {
    "preset": ("default", "quick"),
    "organisms": ("reuse", "train"),
    "signal": (CHECKED, *playable()),
}
_SHIPPED = re.compile(r"family:[a-z]{1,8}(\?device=[a-z0-9:]{1,8})?", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_WHOLE = "ask for the whole workspace, and who made it"


def shipped(address: str) -> bool:
    """Does it name a model that ships with this package? No other address is taken from a ledger, to be loaded.

    >>> shipped("family:xs"), shipped("family:/tmp/models"), shipped("hf:models/llama")
    (True, False, False)
    """
    return _SHIPPED.fullmatch(address) is not None


class Malformed(Tampered):
    """One event states what no run of this program states."""

    def __init__(self, seq: int, text: str) -> None:
        self.seq = seq
        super().__init__(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One configuration that a workspace was run with, and the event that says so."""

    event: Event
    config: RunConfig
    sizes: Sizes

    @property
    def key(self) -> str:
        """What its stages name it by: `Desk.key("run")` of the version that ran it, which may know other sizes."""
        config = {k: v for k, v in self.event.body["config"].items() if k not in ("workers", "json")}
        text = json.dumps(["run", config, self.event.body["sizes"], []], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def unfit(self, what: str, error: Exception) -> Finding:
        """What to say when replaying this run raises."""
        seq = error.seq if isinstance(error, Malformed) else self.event.seq
        said = f"{type(error).__name__}: {error}"
        return Finding(seq=seq, what=f"{what}: {said:.300}", where=f"event {seq}", do=_WHOLE)


class Keyed(Protocol):
    """A run, or a leaderboard."""

    @property
    def key(self) -> str:
        """What its stages name it by."""


class OfKey(NamedTuple):
    """One of them as far as its stages are named by it."""

    key: str


class Stored:
    """What one run stored, stage by stage."""

    def __init__(self, ws: Workspace, run: Keyed) -> None:
        self._ws, key = ws, run.key
        self._stages: dict[str, list[Event]] = {}
        for event in ws.ledger.events("stage"):
            if event.body.get("run") == key and isinstance(event.body.get("stage"), str):
                self._stages.setdefault(event.body["stage"], []).append(event)

    def all(self, name: str) -> list[Any]:
        """Every result of stages of that name, oldest first."""
        return [self._result(event) for event in self._stages.get(name, ())]

    def __call__(self, name: str) -> Any:
        """The last result of that stage; None when it wasn't reached."""
        found = self._stages.get(name)
        return self._result(found[-1]) if found else None

    def _result(self, event: Event) -> Any:
        name, digest = event.body["stage"], event.body.get("result")
        if not is_digest(digest):
            raise Malformed(event.seq, f"the stage {name!r:.80} names no result")
        try:
            return self._ws.store.get_json(str(digest))
        except SuperalignError as error:
            raise Malformed(event.seq, f"the result of {name!r:.80} can't be read: {error}") from error


def runs_of(ws: Workspace) -> tuple[list[Run], list[Finding]]:
    """The different configurations that a workspace was run with, and what is wrong with others.

    A `run` event without config or sizes is another program's: its measurements stay unexplained.
    """
    runs: dict[str, Run] = {}
    findings = []
    for event in ws.ledger.events("run"):
        if "config" not in event.body or "sizes" not in event.body:
            continue
        try:
            run = Run(event=event, config=_config(event, ws), sizes=_sizes(event))
        except Malformed as error:
            do = "don't rely on this run; ask who wrote it, and with which version of superalign"
            findings.append(Finding(seq=event.seq, what=str(error), where=f"event {event.seq}", do=do))
            continue
        runs.setdefault(run.key, run)
    kept = list(runs.values())
    if len(kept) > MAX_RUNS:
        what = f"{len(kept)} different runs, and scores of {MAX_RUNS} at most are recomputed"
        findings.append(Finding(seq=kept[MAX_RUNS].event.seq, what=what, where="ledger.sqlite", do=_WHOLE))
    return kept[:MAX_RUNS], findings


def _config(event: Event, ws: Workspace) -> RunConfig:
    stated = event.body["config"]
    if not isinstance(stated, Mapping):
        raise Malformed(event.seq, "the config of this run is no object")
    names = ("preset", "organisms", "model", "weak", "seed", "train_seeds")
    chosen = {name: stated.get(name) for name in names} | {"signal": stated.get("signal", CHECKED)}
    chosen["method"] = stated.get("method", "em")
    for name, value in chosen.items():
        known = value in _CHOICES.get(name, (value,)) if isinstance(value, str) else False
        number = name not in ("seed", "train_seeds") or _NUMBER.fullmatch(str(value))
        if not known or not number:
            raise Malformed(event.seq, f"{value!r:.80} can't be the {name} of a run")
    numbers = {name: int(chosen.pop(name)) for name in ("seed", "train_seeds")}  # type: ignore[arg-type]
    return RunConfig(workspace=ws.path, **chosen, **numbers)  # type: ignore[arg-type]


def _sizes(event: Event) -> Sizes:
    stated, usual = event.body["sizes"], Sizes()
    if not isinstance(stated, Mapping):
        raise Malformed(event.seq, "the sizes of this run are no object")
    kept: dict[str, Any] = {}
    for name in (field.name for field in fields(Sizes) if field.name in stated):
        value, most = stated[name], getattr(usual, name)
        if isinstance(most, int):
            fits = type(value) is int and 0 <= value <= LARGER * most
        else:
            fits = isinstance(value, list) and all(value.count(kind) == 1 and kind in most for kind in value)
            value = tuple(value) if fits else value
        if not fits:
            raise Malformed(event.seq, f"{value!r:.80} can't be the size {name} of a run")
        kept[name] = value
    return Sizes(**kept)
