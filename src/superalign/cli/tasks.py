"""`superalign tasks`: list the tasks, audit one for blind tells, or export it as preference data."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksConfig:
    """Which task, which split, and what to do with it."""

    action: tyro.conf.Positional[Literal["list", "audit", "export"]] = "list"
    """List what there is, audit for blind tells, or write preference data."""
    task: Literal["slips", "traces"] = "slips"
    """The task."""
    split: Literal["train", "dev", "validation", "test"] = "dev"
    """The split."""
    view: Literal["pair", "single"] = "pair"
    """Which of two, or one alone."""
    n: int = 1000
    """Items."""
    out: Path = Path("preferences.jsonl")
    """File to export to."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(config: Annotated[TasksConfig, tyro.conf.arg(name="")]) -> None:
    """List the tasks, audit one for blind tells, or export it as preference data in TRL's format."""
    from superalign.evidence import SuperalignError
    from superalign.tasks import audit, slips, traces, write_preferences

    if config.action == "list":
        from superalign.tasks.slips import draw

        counts = {split: len(draw(split)) for split in ("train", "dev", "validation", "test")}
        print(
            json.dumps({"slips": counts, "traces": "any number"})
            if config.json
            else f"slips   {counts}\ntraces  any number"
        )
        return
    try:
        page = {"slips": slips, "traces": traces}[config.task](split=config.split, view=config.view, n=config.n)
        if config.action == "export":
            write_preferences(page, config.out)
            print(config.out)
            return
    except ValueError as error:
        raise SuperalignError(str(error)) from error
    results = audit(page)
    for r in results:
        row = {"attacker": r.attacker, "accuracy": round(r.accuracy, 4), "limit": r.limit, "passed": r.passed}
        print(json.dumps(row) if config.json else f"{r.attacker:16} {r.accuracy:.3f} of at most {r.limit:.3f}")
    sys.exit(0 if all(r.passed for r in results) else 1)
