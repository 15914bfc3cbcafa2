"""V2 of fine-tunings: every figure made again from what the model said, row by row.

Taken as stored: log-probabilities, rewards and right options of single rows, which only asking the model, the judge or
the sealed truths again would show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from superalign.evidence import Event, Finding, Workspace, is_digest
from superalign.pipeline.desk import Desk
from superalign.pipeline.finetune_config import FinetuneConfig
from superalign.pipeline.finetune_scores import measure
from superalign.pipeline.recounted import counted, unfit
from superalign.pipeline.stored import Malformed, Stored

NOUN = "fine-tuning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetuning:
    """One fine-tuning that a workspace holds, and the event that says so."""

    event: Event
    key: str
    """What its stages name it by."""
    method: str
    signal: str
    measured_by: str


def finetunings_of(ws: Workspace) -> tuple[list[Finetuning], list[Finding]]:
    """The different fine-tunings of a workspace, and what is wrong with others."""
    return counted(ws, "finetune", NOUN, _finetuning)


def _finetuning(event: Event) -> Finetuning:
    told = event.body["finetune"]
    if not isinstance(told, Mapping):
        raise Malformed(event.seq, f"the config of this {NOUN} is no object")
    for name in ("key", "measured_by"):
        if not is_digest(event.body.get(name)):
            raise unfit(event, event.body.get(name), name, NOUN)
    if told.get("method") not in get_args(get_type_hints(FinetuneConfig)["method"]):
        raise unfit(event, told.get("method"), "method", NOUN)
    if not isinstance(told.get("signal"), str):
        raise unfit(event, told.get("signal"), "signal", NOUN)
    return Finetuning(
        event=event,
        key=str(event.body["key"]),
        method=str(told["method"]),
        signal=str(told["signal"]),
        measured_by=str(event.body["measured_by"]),
    )


def replay_finetuning(one: Finetuning, tally: Any, ws: Workspace) -> None:
    """Measure again everything that was measured."""
    done = Stored(ws, one)
    desk = Desk(ws=tally, config=None, sizes=None, say=lambda text: None)  # type: ignore[arg-type]
    for when in ("before", "after"):
        if done(f"figures {when} training") is None:
            continue
        by = {"method": one.method, "signal": one.signal, "measured_by": one.measured_by}
        measure(desk, done(f"{when} training"), when=when, **by)
