"""Mutants of your own package, verified by its own tests: every run on a fresh copy of the folder, in the sandbox.

    superalign tasks mutants --from src/ --tests "python -m pytest -q -x" --out mutants.jsonl
    page = mutants(split="dev", made=load_mutants(Path("mutants.jsonl")))

A mutant counts when the command ends with a failure (exit status 1 to 125) on the changed copy, twice and by the same
test, and with success on the unchanged package: twice and once unparsed before any fault is tried, and again when all
are. One run in which every function raises must fail, or the tests do not run the copy at all.
Verdicts go to `OUT.part`, to which lines are only added: killed at any moment, the same command goes on from there.
What ran out of time is tried again when the limit is raised.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from superalign.sandbox import Limits
from superalign.tasks.executing import MutantsError
from superalign.tasks.faults import Fault
from superalign.tasks.mutants import Mutant, as_lines
from superalign.tasks.mutants_log import STEADY, line_of, read_log
from superalign.tasks.mutants_package import Package, read_package
from superalign.tasks.mutants_trial import Said, check_package, check_steady, verdict

_PYTHON = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnReport:
    """What came of a package."""

    made: tuple[Mutant, ...]
    tried: int
    outcomes: Mapping[str, int]
    left_out: tuple[str, ...]
    """Files that are no Python, with the line."""


def own_mutants(
    folder: Path,
    command: str,
    out: Path,
    *,
    n: int = 200,
    seconds: float = 60.0,
    memory: int = 2 << 30,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OwnReport:
    """Try up to `n` faults of the functions in `folder`, write those that `command` fails on to `out`, and report.

    `seconds` is the limit of one run. `python` at the head of the command stands for the Python that runs this.
    A mutant's `error` is the class of the exception that the command printed; `exit 1` (or another status) says that it
    failed and printed none. `out` and what is kept beside it are no part of the package, even inside of `folder`.
    Raises MutantsError when `out` cannot be written, the folder holds no function, the tests fail, hang, are flaky, or
    never run the copy, or `OUT.part` belongs to another state of it.

    Example: `own_mutants(Path("src"), "python -m pytest -q -x", Path("mutants.jsonl"), n=50).outcomes["killed"]`
    """
    words = _command(command)
    if n < 1:
        raise MutantsError(f"--n {n}: no fault would be tried: ask for 1 or more")
    part, fresh = _beside(out)
    package = read_package(folder, seed=seed, leave_out={path.resolve() for path in (out, part, fresh)})
    limits = Limits(wall=seconds, cpu=math.ceil(seconds), memory=memory, file=256 << 20, files=1024)
    chosen = package.faults[:n]
    said = _tried(package, chosen, words, limits, part, seed, progress)
    made = tuple(
        _mutant(path, fault, s) for (path, fault), s in zip(chosen, said, strict=True) if s.outcome == "killed"
    )
    fresh.write_text(as_lines(made), encoding="utf-8")
    fresh.replace(out.resolve())  # at once: whoever reads OUT never sees half of it
    outcomes = [s.outcome for s in said]
    return OwnReport(
        made=made,
        tried=len(chosen),
        outcomes={kind: outcomes.count(kind) for kind in sorted(set(outcomes))},
        left_out=package.left_out,
    )


def _beside(out: Path) -> tuple[Path, Path]:
    """Where verdicts are kept, and where the result is written before it takes `out`'s name."""
    if not out.parent.is_dir():
        raise MutantsError(f"--out {out}: there is no folder {out.parent}: make it first, or name another file")
    if not os.access(out.parent, os.W_OK):
        raise MutantsError(f"--out {out}: nothing may be written in {out.parent}: name a file elsewhere")
    part, fresh = out.with_name(out.name + ".part"), out.resolve().with_name(out.name + ".new")
    for path in (out, part, fresh):
        if path.exists() and not path.is_file():
            raise MutantsError(f"--out {out}: {path} exists and is no file: name another file")
    return part, fresh


def _tried(
    package: Package,
    chosen: Sequence[tuple[str, Fault]],
    words: Sequence[str],
    limits: Limits,
    part: Path,
    seed: int,
    progress: Callable[[int, int], None],
) -> list[Said]:
    """What is said of each fault, from `part` and from new runs that are added to it."""
    head = {"package": package.digest, "command": words, "seed": seed}
    log = read_log(part, head, seconds=limits.wall)
    said = dict(log.said)
    new = [fault for fault in chosen if _id(*fault) not in said]
    if new:
        check_package(package, words, limits)
    with part.open("a", encoding="utf-8") as file:
        if part.stat().st_size == 0:
            file.write(json.dumps(head) + "\n")
        for i, (path, fault) in enumerate(chosen):
            name = _id(path, fault)
            if name not in said:
                said[name] = verdict(package, path, fault, words, limits)
                file.write(line_of(name, said[name], limits.wall))
                file.flush()
            progress(i + 1, len(chosen))
        if new or not log.steady:
            kept = f"; the verdicts stay in {part}: delete it when tests or command have changed"
            check_steady(package, words, limits, "when all faults were tried", kept)
            file.write(json.dumps(STEADY) + "\n")
    return [said[_id(path, fault)] for path, fault in chosen]


def _mutant(path: str, fault: Fault, said: Said) -> Mutant:
    fields = {name: getattr(fault, name) for name in Fault.__dataclass_fields__}
    return Mutant(path=path, witness=said.witness, error=said.error, **fields)


def _id(path: str, fault: Fault) -> str:
    return hashlib.sha256("\0".join((path, fault.function, str(fault.start), fault.faulty)).encode()).hexdigest()[:16]


def _command(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise MutantsError(f"--tests {command!r} cannot be read as a command: {error}") from None
    if not words:
        raise MutantsError('--tests is empty: give the command that tests the package, as in "python -m pytest -q -x"')
    return [_PYTHON, *words[1:]] if words[0] in ("python", "python3", sys.executable) else words
