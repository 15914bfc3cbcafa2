"""`OUT.part`: the verdicts of a run that makes mutants of your own package, so that it goes on where it was stopped.

JSON Lines to which lines are only added. The first says which package, command and seed the rest is about; then a line
for each verdict with the limit in seconds it was reached under; and after the verdicts of a run a line `steady`, which
says that the tests passed on the unchanged package once more when they were done.

    log = read_log(part, head, seconds=60.0);  log.said["5f0c…"].outcome, log.steady
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superalign.tasks.executing import MutantsError
from superalign.tasks.mutants import utf8
from superalign.tasks.mutants_trial import OUTCOMES, Said

_FIELDS = {"id": str, "outcome": str, "witness": str, "error": str, "seconds": int | float}
STEADY = {"steady": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What an earlier run left."""

    said: Mapping[str, Said]
    """Verdicts that stand, by the fault's id."""
    steady: bool
    """Whether the tests passed on the unchanged package after the last of them."""


def read_log(part: Path, head: Mapping[str, object], *, seconds: float) -> Log:
    """Verdicts in `part`; what ran out of time or means under a lower limit than `seconds` is not among them.

    A last line that was cut off is dropped from the file. Raises MutantsError that names the file and the line for
    whatever else is wrong with it, and when its first line is not `head`.
    """
    if not part.exists():
        return Log(said={}, steady=True)
    raw = part.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        part.write_bytes(whole)
    said: dict[str, Said] = {}
    steady = True
    for number, line in enumerate(utf8(whole, str(part)).split("\n")[:-1], start=1):
        row = _row(line, f"{part}, line {number}")
        if number == 1:
            if row != head:
                raise MutantsError(f"{part} belongs to another package or command: delete it to start anew")
        elif row == STEADY:
            steady = True
        else:
            steady = False
            _check(row, f"{part}, line {number}")
            said[row["id"]] = Said(row["outcome"], row["witness"], row["error"])
            if row["outcome"] in ("timeout", "resource") and row["seconds"] < seconds:
                del said[row["id"]]
    return Log(said=said, steady=steady)


def line_of(name: str, said: Said, seconds: float) -> str:
    """The line that `read_log` reads again."""
    return json.dumps({"id": name, **said._asdict(), "seconds": seconds}) + "\n"


def _row(line: str, where: str) -> Any:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise MutantsError(f"{where}: no JSON: delete the line, its mutant is tried again") from None
    if not isinstance(row, dict):
        raise MutantsError(f"{where}: no JSON object: delete the line, its mutant is tried again")
    return row


def _check(row: Mapping[str, Any], where: str) -> None:
    for name, kind in _FIELDS.items():
        if not isinstance(row.get(name), kind) or isinstance(row.get(name), bool):
            raise MutantsError(f"{where}: no verdict, for want of a proper `{name}`: delete the line")
    if row["outcome"] not in OUTCOMES:
        raise MutantsError(f"{where}: no outcome is called {row['outcome']!a}: delete the line")
