"""`play`: many small programs in one start, each called on plain arguments; what comes back are plain values.

Fork mode (a process a program) is for anything not our own. Batch mode shares one process: programs there can see and
change each other, so it is refused unless the caller says that it trusts them.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from superalign.sandbox.frames import BrokenFrame, NotPlain, Reader, decode, encode, same
from superalign.sandbox.layers import BOX, Isolation, best_isolation
from superalign.sandbox.limits import Limits
from superalign.sandbox.start import Started, started

HERE = Path(__file__).parent
BATCH = 500
"""Programs a start: what a killed start loses is run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Source of a function, its name, and the arguments of each call (plain values)."""

    source: str
    call: str
    arguments: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one call came to."""

    kind: str
    """value, error, timeout, not plain, silent (its process ended without a word), too large."""
    value: Any = None
    error: str = ""
    """Name of the exception, or what was not plain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What one program said: a result for each call."""

    results: tuple[Result, ...]
    canary: int = 0
    """Calls of the no-op `canary()`, counted in the program's own process: a program that hides can count less."""
    agrees: tuple[bool, ...] = field(default=())
    """With what was expected, where that was given: decided here, from plain values, type by type."""


def play(
    programs: Iterable[Program],
    *,
    mode: Literal["fork", "batch"] = "fork",
    trusted: bool = False,
    seconds: float = 0.2,
    limits: Limits | None = None,
    isolation: Isolation | None = None,
    expected: Sequence[Sequence[Any]] | None = None,
) -> Iterator[Played]:
    """Run programs in order, each call for at most `seconds`, and yield what each said.

    `expected`, one value a call, stays here: it never enters the sandbox. Raises ValueError for batch mode without
    `trusted`, NotPlain for arguments that are no plain values, SandboxUnavailable where no layer stands.

    >>> double = Program(source="def f(x): return 2 * x", call="f", arguments=((3,),))
    >>> next(play([double])).results[0].value   # doctest: +SKIP
    6
    """
    if mode == "batch" and not trusted:
        raise ValueError("batch mode shares one process among all programs: say trusted=True only for code of your own")
    layer = isolation or best_isolation()
    wanted = [_as_job(program, seconds) for program in programs]
    if expected is not None and len(expected) != len(wanted):
        raise ValueError(f"{len(expected)} lists of expected values for {len(wanted)} programs: pass one a program")
    for at in range(0, len(wanted), BATCH):
        for i, word in enumerate(_started(wanted[at : at + BATCH], mode, seconds, limits, layer), at):
            yield _heard(word, wanted[i], None if expected is None else expected[i])


def _as_job(program: Program, seconds: float) -> dict[str, Any]:
    arguments = [encode(tuple(given)) for given in program.arguments]
    return {"source": program.source, "call": program.call, "arguments": arguments, "seconds": seconds}


def _started(
    jobs: list[dict[str, Any]], mode: str, seconds: float, limits: Limits | None, layer: Isolation
) -> Iterator[dict[str, Any]]:
    """The runner's word on each job; a runner that was killed is started again behind the program that did it."""
    done = 0
    while done < len(jobs):
        for word in _one_start(jobs[done:], mode, seconds, limits, layer):
            done += 1
            yield word


def _one_start(
    jobs: list[dict[str, Any]], mode: str, seconds: float, limits: Limits | None, layer: Isolation
) -> Iterator[dict[str, Any]]:
    calls = sum(len(job["arguments"]) + 1 for job in jobs)
    limits = limits or Limits(wall=10 + (seconds + 0.1) * calls + 2.0 * len(jobs), cpu=int(5 + seconds * calls) + 1)
    nonce, (read, write) = secrets.token_bytes(16), os.pipe()
    files = {name: (HERE / name).read_bytes() for name in ("runner.py", "frames.py")}
    lone = "lone" if layer.name == "bwrap" else "shared"
    command = [sys.executable, "-I", "-S", f"{BOX}/runner.py", str(write), mode, lone]
    try:
        with started(
            command, files=files, readable=(), limits=limits, isolation=layer, pass_fds=(write,), proc=False
        ) as box:
            os.close(write)
            write = -1
            _feed(box, nonce + json.dumps({"programs": jobs}).encode())
            yield from _words(box, read, Reader(nonce), len(jobs), seconds, time.monotonic() + limits.wall)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def _feed(box: Started, data: bytes) -> None:
    assert box.process.stdin
    try:
        box.process.stdin.write(data)
        box.process.stdin.close()
    except BrokenPipeError:
        pass
    box.process.stdin = None


def _words(box: Started, pipe: int, reader: Reader, count: int, seconds: float, end: float) -> Iterator[dict[str, Any]]:
    """The frames in order, each of the program it should be of; one that says otherwise ends this start."""
    heard = 0
    with selectors.DefaultSelector() as ready:
        ready.register(pipe, selectors.EVENT_READ)
        while heard < count:
            left = end - time.monotonic()
            chunk = os.read(pipe, 1 << 16) if left > 0 and ready.select(left) else b""
            try:
                words = reader.feed(chunk)
            except BrokenFrame:
                words, chunk = [], b""
            for word in words:
                if not isinstance(word, dict) or word.get("at") != heard:
                    chunk = b""
                    break
                heard += 1
                yield word
            if not chunk:
                if heard < count:
                    yield {"kind": "timeout" if left <= 0 else "silent"}
                return


def _heard(word: dict[str, Any], job: dict[str, Any], expected: Sequence[Any] | None) -> Played:
    count = len(job["arguments"])
    results = [_result(one) for one in word["results"]] if _said(word, count) else [Result(kind=_kind(word))] * count
    agrees: tuple[bool, ...] = ()
    if expected is not None:
        if len(expected) != count:
            raise ValueError(f"{len(expected)} expected values for {count} calls: pass one a call")
        agrees = tuple(r.kind == "value" and same(r.value, want) for r, want in zip(results, expected, strict=True))
    canary = word.get("canary")
    return Played(results=tuple(results), canary=canary if type(canary) is int and canary > 0 else 0, agrees=agrees)


def _said(word: dict[str, Any], count: int) -> bool:
    found = word.get("results")
    return word.get("kind") == "said" and isinstance(found, list) and len(found) == count


def _kind(word: dict[str, Any]) -> str:
    kind = word.get("kind")
    return kind if kind in ("timeout", "too large") else "silent"


def _result(one: Any) -> Result:
    if not isinstance(one, dict):
        return Result(kind="silent")
    if one.get("kind") == "value":
        try:
            return Result(kind="value", value=decode(one.get("value")))
        except NotPlain as error:
            return Result(kind="not plain", error=str(error))
    kind, error = one.get("kind"), one.get("error", "")
    return Result(kind=kind if kind in ("error", "timeout", "not plain") else "silent", error=str(error)[:100])
