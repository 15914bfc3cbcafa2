"""Whether a module's own tests fail on a changed function: many changes in one sandboxed process, a fork for each.

    subject = Subject(path="textwrap.py", tests=("test.test_textwrap",))
    check_subject(subject, library)                       # its tests pass on the unparsed original, twice, or an error
    for verdict in execute(subject, jobs, library): print(verdict.id, verdict.outcome, verdict.witness)

`killed` alone makes a fault. `survived` means that the tests saw nothing, not that nothing is wrong; a `timeout`, a
`resource` error (the sandbox's own walls) or a `crash` says nothing at all.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from superalign.evidence import SuperalignError
from superalign.sandbox import Limits, SandboxUnavailable, run

OUTCOMES = ("killed", "survived", "timeout", "resource", "crash", "absent")
WALL, PROFILE, MEMORY = 10.0, 90.0, 3 << 30
FAILING = 0.25
"""Part of a file's tests that may fail in the sandbox on the unchanged file: they are never run again."""
_START = 60.0
"""Seconds that a driver may take to import the tests before its first fork."""


class MutantsError(SuperalignError):
    """A module, test command or file from which no mutants can be made; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file of the standard library and the modules that test it."""

    path: str
    tests: tuple[str, ...]
    skip: str = ""
    """Pattern of test ids left out: those of a C accelerator, and those that fail where lines move."""

    @property
    def module(self) -> str:
        """Dotted name under which the file is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One function to put in the place of `function` at line `start`; no `text`: the whole file, unparsed."""

    id: str
    function: str = ""
    start: int = 0
    text: str | None = None
    witness: str | None = None
    """Run only this test (or fixture); `import` stands for the import of module and tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one job: one of `OUTCOMES`, the first test that failed, and how."""

    id: str
    outcome: str
    witness: str = ""
    error: str = ""
    seconds: float = 0.0
    failing: int = 0
    """Tests of all that fail on the unchanged file in the sandbox (no network there, no users): no witnesses."""
    total: int = 0


def library_path() -> Path:
    """`Lib` of the running Python. Raises MutantsError when its `test` package is not installed."""
    lib = Path(os.__file__).resolve().parent
    if not (lib / "test" / "support" / "__init__.py").is_file():
        raise MutantsError(
            f"Python {sys.version.split()[0]} has no `test` package, and mutants are verified by CPython's own tests: "
            "use a Python that was installed with them (pyenv, python.org, or a distribution's libpython3-testsuite)"
        )
    return lib


def execute(subject: Subject, jobs: Sequence[Job], library: Path, *, wall: float = WALL) -> Iterator[Verdict]:
    """A verdict for each job, in order, from as few sandboxed processes as it takes.

    `wall` is the limit of one job in seconds. A job on which the whole process ends is a `crash`; the rest go on.

    Example: `list(execute(Subject(path="bisect.py", tests=("test.test_bisect",)), [Job(id="whole")], library_path()))`
    """
    left = list(jobs)
    while left:
        answers, note = _batch(subject, left, library, wall)
        for job, answer in zip(left, answers, strict=False):
            yield _checked(job, answer)
        if len(answers) < len(left):
            if not answers and len(left) == len(jobs) and left[0].text is None:
                raise MutantsError(f"{subject.path}: the tests {', '.join(subject.tests)} do not even start: {note}")
            yield Verdict(id=left[len(answers)].id, outcome="crash")
        left = left[len(answers) + 1 :]


def check_subject(subject: Subject, library: Path, *, times: int = 2) -> float:
    """Seconds that the tests take on the unparsed file. Raises MutantsError unless they pass `times` times."""
    verdicts = list(execute(subject, [Job(id=str(i)) for i in range(times)], library, wall=6 * WALL))
    if failed := [v for v in verdicts if v.outcome != "survived"]:
        how = f"{failed[0].outcome} {failed[0].witness} {failed[0].error}".strip()
        what = "its tests already fail" if len(failed) == times else "its tests are flaky"
        raise MutantsError(f"{subject.path}: {what} on the unchanged file ({how}), so they prove no fault: left out")
    if failing := [v for v in verdicts if v.failing > FAILING * v.total]:
        how = f"{failing[0].failing} of {failing[0].total} in the sandbox"
        raise MutantsError(f"{subject.path}: its tests already fail on the unchanged file ({how}): left out")
    return max(v.seconds for v in verdicts)


def _checked(job: Job, answer: dict[str, object]) -> Verdict:
    outcome = str(answer.get("outcome"))
    if answer.get("id") != job.id or outcome not in OUTCOMES:
        return Verdict(id=job.id, outcome="crash")
    taken = answer.get("seconds")
    return Verdict(
        id=job.id,
        outcome=outcome,
        witness=str(answer.get("witness", "")),
        error=str(answer.get("error", "")),
        seconds=float(taken) if isinstance(taken, float | int) else 0.0,
        failing=int(str(answer.get("failing", 0))),
        total=int(str(answer.get("total", 0))),
    )


def _frame(value: object) -> bytes:
    raw = json.dumps(value).encode()
    return struct.pack(">I", len(raw)) + raw


def _frames(raw: bytes) -> list[dict[str, object]]:
    """Whole frames at the start of `raw`; what is cut off or no JSON object ends the list."""
    found: list[dict[str, object]] = []
    at = 0
    while at + 4 <= len(raw):
        end = at + 4 + struct.unpack(">I", raw[at : at + 4])[0]
        try:
            value = json.loads(raw[at + 4 : end]) if end <= len(raw) else None
        except ValueError:
            value = None
        if not isinstance(value, dict):
            break
        found.append(value)
        at = end
    return found


def _batch(subject: Subject, jobs: Sequence[Job], library: Path, wall: float) -> tuple[list[dict[str, object]], str]:
    digest = hashlib.sha256((library / subject.path).read_bytes()).hexdigest()
    setup = {"module": subject.module, "path": subject.path, "sha256": digest, "tests": subject.tests}
    setup |= {"skip": subject.skip, "wall": wall, "profile": PROFILE, "memory": MEMORY}
    feed = _frame(setup) + b"".join(_frame(asdict(job)) for job in jobs)
    stdout, stderr = _sandboxed(feed, seconds=_START + PROFILE + wall * len(jobs))
    said = stderr.decode("utf-8", "replace").strip().splitlines()
    return _frames(stdout), said[-1] if said else "it ended without a word"


def _sandboxed(feed: bytes, *, seconds: float) -> tuple[bytes, bytes]:
    """Standard output and error of a driver that was fed `feed`, in the best layer of isolation that stands here."""
    driver = Path(__file__).with_name("mutants_driver.py").read_bytes()
    cpu = math.ceil(seconds)
    limits = Limits(wall=seconds, cpu=cpu, memory=MEMORY, processes=128, file=256 << 20, output=8 << 20, files=1024)
    command = [sys.executable, "-P", "-S", "-X", "frozen_modules=off", "driver.py"]
    try:
        outcome = run(command, input=feed, files={"driver.py": driver}, limits=limits)
    except SandboxUnavailable as error:
        raise MutantsError(f"mutants are verified in the sandbox only: {error}") from None
    return outcome.stdout, outcome.stderr
