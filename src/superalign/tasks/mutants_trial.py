"""One command on one copy of a package, in the sandbox: does it pass, and if not, which test failed and how?

    check_package(package, words, limits)                  # passes twice as it is, fails when every function raises
    verdict(package, path, fault, words, limits)           # killed: it fails on the fault, twice, by the same witness

A command that hangs, is killed, or runs out of the sandbox's means says nothing about the code.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from superalign.sandbox import Limits, Outcome, SandboxUnavailable, run
from superalign.tasks.executing import MutantsError
from superalign.tasks.faults import Fault
from superalign.tasks.mutants_package import Package, raising, unparsed, with_fault

OUTCOMES = ("killed", "survived", "unconfirmed", "timeout", "resource", "crash", "absent")
_CPU_LIMIT = 24
_START = """import json, os, sys, tarfile
with tarfile.open("package.tar") as archive:
    archive.extractall("package", filter="data")
os.chdir("package")
words = json.load(sys.stdin)
words[0] = sys.executable if words[0] == "python" else words[0]
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
try:
    os.execvpe(words[0], words, {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"})
except OSError as error:
    sys.exit(f"{words[0]}: {error.strerror}") if error.errno != 2 else os._exit(127)
"""
"""Unpacks the copy inside the sandbox and becomes the command; 127 says that there is no such command."""
_WITNESS = (
    re.compile(r"^(?:FAIL|ERROR): (\S+ \([^)]*\))", re.MULTILINE),  # unittest
    re.compile(r"^(?:FAILED|ERROR) ([^\s(]\S*)", re.MULTILINE),  # pytest
)
_CLASS = r"([A-Za-z_.]*(?:Error|Exception|Exit|Interrupt|Warning))\b"
_EXCEPTION = re.compile(rf"^{_CLASS}", re.MULTILINE)
_MARKED = re.compile(r"^(?:E +|(?:FAILED|ERROR) \S+ - )(\S.*)$", re.MULTILINE)
_NAMED = re.compile(r"((?:[A-Za-z_]\w*\.)+\w+|[A-Z]\w*)(?::|$)")


class Said(NamedTuple):
    """What one or two runs said of a fault."""

    outcome: str
    witness: str = ""
    error: str = ""


def check_package(package: Package, words: Sequence[str], limits: Limits) -> None:
    """Raises MutantsError unless the tests pass on the package, twice and unparsed, and fail where functions raise."""
    _passes(words, package.files, limits, "unchanged package")
    check_steady(package, words, limits, "at once again")
    _passes(words, unparsed(package), limits, "unchanged, unparsed package")
    if _run(words, raising(package), limits).ok:
        raise MutantsError(
            f"the tests do not run this copy: every function of the package raised, and {shlex.join(words)} passed (an "
            "installed package is imported instead, or no test was collected, or the tests call nothing of it): let "
            "--from name the folder that holds the package and its tests, and let the command import from there, as "
            'in "python -m pytest -q -x -o pythonpath=src"'
        )


def check_steady(package: Package, words: Sequence[str], limits: Limits, when: str, then: str = "") -> None:
    """Raises MutantsError when the command, which passed on the unchanged package before, does not pass once more."""
    outcome = _run(words, package.files, limits)
    if not outcome.ok:
        text = _text(outcome)
        raise MutantsError(
            f"the tests are flaky: {shlex.join(words)} passed on the unchanged package, and {when} it does not "
            f"({_how(outcome, limits)}; {_witness(text) or 'it names no test'}), so what fails proves nothing: "
            f"mend that test, or leave it out of the command{then}\n{text.strip()[-600:]}"
        )


def verdict(package: Package, path: str, fault: Fault, words: Sequence[str], limits: Limits) -> Said:
    """What the command says of one fault; a failure counts when a second run fails with the same witness."""
    files = with_fault(package, path, fault)
    if files is None:
        return Said("absent")
    first = _said(words, files, limits)
    if first.outcome != "killed":
        return first
    again = _said(words, files, limits)
    return first if (again.outcome, again.witness) == ("killed", first.witness) else Said("unconfirmed")


def exception(text: str, code: int) -> str:
    """Class of the exception in a command's output; `exit 1` when it printed none and ended with status 1.

    Lines that pytest marks (`E`, or its summary) go first: the class there, AssertionError for a bare `assert`, else
    Failed.

    >>> exception("E       assert 3 == 4", 1), exception("ValueError: no", 1), exception("", 1)
    ('AssertionError', 'ValueError', 'exit 1')
    """
    if marked := _MARKED.findall(text):
        if re.match(r"assert\b", marked[0]):
            return "AssertionError"
        if found := _NAMED.match(marked[0]):
            return found.group(1)
        classes = (re.match(_CLASS, line) for line in marked)
        return next((found.group(1) for found in classes if found), "Failed")
    found = _EXCEPTION.search(text)
    return found.group(1) if found else f"exit {code}"


def _said(words: Sequence[str], files: Mapping[str, bytes], limits: Limits) -> Said:
    outcome = _run(words, files, limits)
    text = _text(outcome)
    error = exception(text, outcome.code)
    said = _outcome(outcome, error)
    return Said(said, _witness(text) or shlex.join(words), error) if said == "killed" else Said(said)


def _outcome(outcome: Outcome, error: str) -> str:
    if outcome.kind == "exited":
        if outcome.code == 0:
            return "survived"
        return "crash" if outcome.code > 125 else "resource" if error in ("MemoryError", "RecursionError") else "killed"
    if _late(outcome):
        return "timeout"
    return "resource" if outcome.kind in ("output", "disk", "memory") else "crash"


def _late(outcome: Outcome) -> bool:
    return outcome.kind == "timeout" or (outcome.kind == "signalled" and outcome.code == _CPU_LIMIT)


def _witness(text: str) -> str:
    return next((found.group(1) for pattern in _WITNESS if (found := pattern.search(text))), "")


def _text(outcome: Outcome) -> str:
    return (outcome.stdout + b"\n" + outcome.stderr).decode("utf-8", "replace")


def _how(outcome: Outcome, limits: Limits) -> str:
    return f"no end within {limits.wall:g} s" if _late(outcome) else f"{outcome.kind} {outcome.code}"


def _passes(words: Sequence[str], files: Mapping[str, bytes], limits: Limits, what: str) -> None:
    outcome = _run(words, files, limits)
    shown = f"{shlex.join(words)} on the {what}"
    if _late(outcome):
        raise MutantsError(
            f"{shown} does not end within {limits.wall:g} s: give it more --seconds, or a faster selection of tests"
        )
    if outcome.kind == "exited" and outcome.code == 127:
        raise MutantsError(f"{shown}: there is no command {words[0]!r} in the sandbox: start it with python -m")
    if not outcome.ok:
        how, tail = _how(outcome, limits), _text(outcome).strip()[-600:]
        raise MutantsError(f"{shown} already fails ({how}), so it proves no fault: make it pass first\n{tail}")


def _run(words: Sequence[str], files: Mapping[str, bytes], limits: Limits) -> Outcome:
    """The command in a fresh copy of the folder, whatever it does to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    inside = {"package.tar": buffer.getvalue(), "start.py": _START.encode()}
    readable = tuple(Path(path) for path in dict.fromkeys((sys.prefix, sys.base_prefix)))
    command = [sys.executable, "start.py"]
    try:
        return run(command, input=json.dumps(list(words)).encode(), files=inside, readable=readable, limits=limits)
    except SandboxUnavailable as error:
        raise MutantsError(f"mutants are verified in the sandbox only: {error}") from None
