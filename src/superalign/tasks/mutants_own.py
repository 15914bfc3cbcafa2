"""Mutants of your own package, verified by its own tests: every run on a fresh copy of the folder, in the sandbox.

    superalign tasks mutants --from src/ --tests "python -m pytest -q -x" --out mutants.jsonl
    page = mutants(split="dev", made=load_mutants(Path("mutants.jsonl")))

A mutant counts when the command ends with a failure (exit status 1 to 125) on the changed copy and with success on the
unchanged and on the unparsed one. A command that hangs, is killed, or runs out of the sandbox's means says nothing.
Verdicts go to `OUT.part`, to which lines are only added: killed at any moment, the same command goes on from there.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import math
import re
import shlex
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superalign.sandbox import Limits, Outcome, SandboxUnavailable, run
from superalign.tasks.executing import MutantsError
from superalign.tasks.faults import Fault, synthetic_faults
from superalign.tasks.mutants import Mutant, as_lines
from superalign.tasks.mutants_driver import find

_TESTS = re.compile(r"(^|/)(tests?/|testing/|conftest\.py$|test_[^/]*\.py$|[^/]*_test\.py$|setup\.py$)")
_IGNORED = re.compile(r"(^|/)(\.[^/]+|__pycache__|node_modules|[^/]+\.egg-info)(/|$)")
_LARGEST, _ALL = 4 << 20, 64 << 20
_PYTHON = "python"
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
_EXCEPTION = re.compile(r"^(?:E +)?([A-Za-z_.]*(?:Error|Exception|Exit|Interrupt|Warning))\b", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnReport:
    """What came of a package."""

    made: tuple[Mutant, ...]
    tried: int
    outcomes: Mapping[str, int]
    left_out: tuple[str, ...]
    """Files that are no Python, with the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A folder in memory: every file, and the faults of those that are no tests."""

    files: Mapping[str, bytes]
    faults: tuple[tuple[str, Fault], ...]
    left_out: tuple[str, ...]
    digest: str


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
    Raises MutantsError when the folder holds no function, the tests fail, hang or cannot be run on the unchanged
    package, or `OUT.part` belongs to another state of it.

    Example: `own_mutants(Path("src"), "python -m pytest -q -x", Path("mutants.jsonl"), n=50).outcomes["killed"]`
    """
    words = _command(command)
    package = read_package(folder, seed=seed)
    limits = Limits(wall=seconds, cpu=math.ceil(seconds), memory=memory, file=256 << 20, files=1024)
    chosen = package.faults[:n]
    part = out.with_name(out.name + ".part")
    head = {"package": package.digest, "command": words, "seed": seed}
    done = _resumed(part, head)
    if len(done) < len(chosen):
        _passes(package, words, limits)
    with part.open("a", encoding="utf-8") as log:
        if not done and part.stat().st_size == 0:
            log.write(json.dumps(head) + "\n")
        for i, (path, fault) in enumerate(chosen):
            if _id(path, fault) not in done:
                verdict = _verdict(package, path, fault, words, limits)
                done[_id(path, fault)] = verdict
                log.write(json.dumps({"id": _id(path, fault), **verdict}) + "\n")
                log.flush()
            progress(i + 1, len(chosen))
    made = tuple(_mutant(path, fault, done[_id(path, fault)]) for path, fault in chosen if _killed(done, path, fault))
    out.write_text(as_lines(made), encoding="utf-8")
    said = [done[_id(path, fault)]["outcome"] for path, fault in chosen]
    return OwnReport(
        made=made,
        tried=len(chosen),
        outcomes={kind: said.count(kind) for kind in sorted(set(said))},
        left_out=package.left_out,
    )


def _killed(done: Mapping[str, Mapping[str, str]], path: str, fault: Fault) -> bool:
    return done[_id(path, fault)]["outcome"] == "killed"


def _mutant(path: str, fault: Fault, verdict: Mapping[str, str]) -> Mutant:
    fields = {name: getattr(fault, name) for name in Fault.__dataclass_fields__}
    return Mutant(path=path, witness=verdict["witness"], error=verdict["error"], **fields)


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


def read_package(folder: Path, *, seed: int = 0) -> Package:
    """Files and faults of a folder, the faults in random order; tests are run, never changed.

    Raises MutantsError when there is no such folder, no function in it, or more than 64 MiB.
    """
    if not folder.is_dir():
        raise MutantsError(f"{folder} is no folder: --from takes the folder of a package together with its tests")
    files = dict(_files(folder))
    rng = np.random.default_rng(seed)
    faults: list[tuple[str, Fault]] = []
    left_out: list[str] = []
    for name in sorted(files):
        if name.endswith(".py") and not _TESTS.search(name):
            try:
                faults += [(name, fault) for fault in synthetic_faults(files[name].decode("utf-8"), rng, per_kind=3)]
            except SyntaxError as error:
                left_out.append(f"{name}, line {error.lineno}: {error.msg}")
            except ValueError as error:  # null bytes, or no UTF-8
                left_out.append(f"{name}: {error}")
    if not faults:
        raise MutantsError(
            f"{folder} holds no function of three lines or more outside of its tests"
            + (f"; left out: {'; '.join(left_out)}" if left_out else "")
        )
    digest = hashlib.sha256(b"".join(hashlib.sha256(n.encode() + b"\0" + files[n]).digest() for n in sorted(files)))
    order = rng.permutation(len(faults))
    return Package(
        files=files,
        faults=tuple(faults[int(i)] for i in order),
        left_out=tuple(left_out),
        digest=digest.hexdigest(),
    )


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _IGNORED.search(name) or path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        data = path.read_bytes()
        total += len(data)
        if total > _ALL:
            raise MutantsError(f"{folder} holds more than 64 MiB: point --from at the package and its tests alone")
        yield name, data


def _passes(package: Package, words: Sequence[str], limits: Limits) -> None:
    """The tests pass on the package as it is, and once more with every file through the unparser."""
    unparsed = dict(package.files)
    for name in {path for path, _ in package.faults}:
        unparsed[name] = ast.unparse(ast.parse(package.files[name])).encode()
    for what, files in (("unchanged", package.files), ("unchanged, unparsed", unparsed)):
        outcome = _run(words, files, limits)
        shown = f"{shlex.join(words)} on the {what} package"
        if outcome.kind == "timeout":
            raise MutantsError(
                f"{shown} does not end within {limits.wall:g} s: give it more --seconds, or a faster selection of tests"
            )
        if outcome.kind == "exited" and outcome.code == 127:
            raise MutantsError(f"{shown}: there is no command {words[0]!r} in the sandbox: start it with python -m")
        if not outcome.ok:
            tail = (outcome.stdout + outcome.stderr).decode("utf-8", "replace").strip()[-600:]
            how = f"{outcome.kind} {outcome.code}"
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


def _verdict(package: Package, path: str, fault: Fault, words: Sequence[str], limits: Limits) -> dict[str, str]:
    tree = ast.parse(package.files[path])
    place = find(tree, fault.function, fault.start)
    if place is None:
        return {"outcome": "absent", "witness": "", "error": ""}
    place[0][place[1]] = ast.parse(fault.faulty).body[0]
    outcome = _run(words, {**package.files, path: ast.unparse(tree).encode()}, limits)
    text = (outcome.stdout + b"\n" + outcome.stderr).decode("utf-8", "replace")
    witness = next((found.group(1) for pattern in _WITNESS if (found := pattern.search(text))), shlex.join(words))
    error = found.group(1) if (found := _EXCEPTION.search(text)) else f"exit {outcome.code}"
    said = _outcome(outcome, error)
    return {"outcome": said, "witness": witness if said == "killed" else "", "error": error if said == "killed" else ""}


def _outcome(outcome: Outcome, error: str) -> str:
    if outcome.kind == "exited":
        if outcome.code == 0:
            return "survived"
        return "crash" if outcome.code > 125 else "resource" if error in ("MemoryError", "RecursionError") else "killed"
    return {"timeout": "timeout", "output": "resource", "disk": "resource"}.get(outcome.kind, "crash")


def _resumed(part: Path, head: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Verdicts of an earlier run; a last line that was cut off is dropped from the file."""
    if not part.exists():
        return {}
    raw = part.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        part.write_bytes(whole)
    lines = whole.decode("utf-8").splitlines()
    if not lines:
        return {}
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise MutantsError(f"{part}, line {number}: no JSON: delete the line, its mutant is tried again") from None
    if rows[0] != head:
        raise MutantsError(f"{part} belongs to another package or command: delete it to start anew")
    return {row["id"]: {name: row[name] for name in ("outcome", "witness", "error")} for row in rows[1:]}
