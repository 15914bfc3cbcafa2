"""`play`: many small programs in one start, each called on plain arguments; what comes back are plain values.

Fork mode (a process a program) is for anything not our own. Batch mode shares one process: programs there can see and
change each other, so it is refused unless the caller says that it trusts them.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import selectors
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from superalign.sandbox.frames import NONCE, BrokenFrame, NotPlain, Reader, decode, encode, same
from superalign.sandbox.layers import BOX, Isolation, best_isolation
from superalign.sandbox.limits import Limits, SandboxUnavailable
from superalign.sandbox.start import Started, started
from superalign.sandbox.watch import EVERY

HERE = Path(__file__).parent
BATCH = 500
"""Programs a start: what a killed start loses is run again."""
START, GRACE = 30.0, 5.0
"""Seconds that the runner may take to start, and to answer beyond a program's own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Source of a function, its name, and the arguments of each call (plain values)."""

    source: str
    call: str
    arguments: tuple[tuple[Any, ...], ...]
    events: bool = False
    """Count what it does by audit events (`Played.events`): fork mode only."""


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
    """Calls of the no-op `canary()`, counted outside the program's process (fork mode): what was called is counted
    whatever happens after, and can't be taken back; a program can add to it. Batch mode: its own word."""
    events: Mapping[str, int] = field(default_factory=dict)
    """Audit events of a watched program, counted outside its process as canary calls are: open, import, exec, socket,
    process, os (other calls of the system), inside (frames, foreign functions, attributes of code). It can add to
    them, and what was counted stays. A program that finds the runner's pipe through a frame can go unseen from there
    on; the native code of an extension module always can."""
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
    `trusted` or with programs to be watched, NotPlain for arguments that are no plain values, SandboxUnavailable where
    no layer stands.

    >>> double = Program(source="def f(x): return 2 * x", call="f", arguments=((3,),))
    >>> next(play([double])).results[0].value   # doctest: +SKIP
    6
    """
    if mode == "batch" and not trusted:
        raise ValueError("batch mode shares one process among all programs: say trusted=True only for code of your own")
    programs = list(programs)
    if mode == "batch" and any(program.events for program in programs):
        raise ValueError("audit events are counted in fork mode only: a hook stays for all programs of a process")
    layer = isolation or best_isolation()
    wanted = [_as_job(program, seconds) for program in programs]
    if expected is not None and len(expected) != len(wanted):
        raise ValueError(f"{len(expected)} lists of expected values for {len(wanted)} programs: pass one a program")
    for at in range(0, len(wanted), BATCH):
        for i, word in enumerate(_started(wanted[at : at + BATCH], mode, seconds, limits, layer), at):
            yield _heard(word, wanted[i], None if expected is None else expected[i])


def _as_job(program: Program, seconds: float) -> dict[str, Any]:
    arguments = [encode(tuple(given)) for given in program.arguments]
    job = {"source": program.source, "call": program.call, "arguments": arguments, "seconds": seconds}
    return job | ({"events": True} if program.events else {})


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
    end = math.inf if limits is None else time.monotonic() + limits.wall
    limits = limits or Limits(cpu=5 + seconds * calls)
    nonce, (mine, theirs) = secrets.token_bytes(NONCE), socket.socketpair()
    files = {name: (HERE / name).read_bytes() for name in ("runner.py", "frames.py")}
    command = [sys.executable, "-I", "-S", f"{BOX}/runner.py", str(theirs.fileno()), mode]
    with (
        mine,
        theirs,  # sockets: where /proc is the host's, a pipe could be opened by its name there
        started(
            command,
            files=files,
            readable=(),
            limits=limits,
            isolation=layer,
            pass_fds=(theirs.fileno(),),
            plain=True,
        ) as box,
    ):
        theirs.close()
        text = json.dumps({"programs": jobs}).encode()
        feed = nonce + struct.pack(">Q", len(text)) + text
        yield from _words(box, mine.fileno(), Reader(nonce), feed, jobs, end)


def _words(
    box: Started, pipe: int, reader: Reader, feed: bytes, jobs: list[dict[str, Any]], end: float
) -> Iterator[dict[str, Any]]:
    """The frames in order, each of the program it should be of; one that is late or says otherwise ends this start."""
    heard, late = -1, min(end, time.monotonic() + START)
    with selectors.DefaultSelector() as ready:
        ready.register(pipe, selectors.EVENT_READ)
        left = _fed(box, ready, memoryview(feed))
        while heard < len(jobs):
            chunk = b""
            rest = max(0.0, late - time.monotonic())
            found = ready.select(rest if box.over is None else min(rest, EVERY))
            if not found and rest > EVERY and box.over is not None and box.over() is None:
                continue
            if any(key.fd != pipe for key, _ in found):
                left = _fed(box, ready, left)
                if len(found) == 1:
                    continue
            if found:
                chunk = os.read(pipe, 1 << 16)
            words, sound = _in_order(reader, chunk, heard)
            for word in words:
                heard += 1
                if heard > 0:
                    yield word
            if heard == len(jobs):
                return
            if words:
                late = min(end, time.monotonic() + _longest(jobs[heard]))
            if not chunk or not sound:
                if heard < 0:
                    raise SandboxUnavailable(_not_started(box))
                yield {"kind": "silent" if found else "timeout"}
                return


def _in_order(reader: Reader, chunk: bytes, heard: int) -> tuple[list[dict[str, Any]], bool]:
    """The words of this chunk, and whether the runner wrote all of it, each word in its turn."""
    try:
        words = reader.feed(chunk)
    except BrokenFrame:
        return [], False
    for i, word in enumerate(words):
        if not isinstance(word, dict) or word.get("at") != heard + i:
            return words[:i], False
    return words, True


def _longest(job: dict[str, Any]) -> float:
    """Seconds after which the runner has answered, unless the program stopped it."""
    return float(job["seconds"]) * (len(job["arguments"]) + 1) + 1.0 + GRACE


def _not_started(box: Started) -> str:
    box.end()
    assert box.process.stderr
    said = box.process.stderr.read(2000).decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
    return f"the runner did not start in the sandbox ({said[0]:.200}): run `superalign doctor`"


def _fed(box: Started, ready: selectors.BaseSelector, data: memoryview) -> memoryview:
    """Write what its standard input takes; what is left of it."""
    stream = box.process.stdin
    assert stream
    if stream not in ready.get_map():
        os.set_blocking(stream.fileno(), False)
        ready.register(stream, selectors.EVENT_WRITE)
    try:
        data = data[os.write(stream.fileno(), data[: 1 << 16]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        data = data[:0]
    if not data:
        ready.unregister(stream)
        with contextlib.suppress(BrokenPipeError):
            stream.close()
        box.process.stdin = None
    return data


def _heard(word: dict[str, Any], job: dict[str, Any], expected: Sequence[Any] | None) -> Played:
    count = len(job["arguments"])
    results = [_result(one) for one in word["results"]] if _said(word, count) else [Result(kind=_kind(word))] * count
    agrees: tuple[bool, ...] = ()
    if expected is not None:
        if len(expected) != count:
            raise ValueError(f"{len(expected)} expected values for {count} calls: pass one a call")
        agrees = tuple(r.kind == "value" and same(r.value, want) for r, want in zip(results, expected, strict=True))
    return Played(
        results=tuple(results), canary=_count(word.get("canary")), events=_events(word.get("events")), agrees=agrees
    )


def _count(found: Any) -> int:
    return found if type(found) is int and found > 0 else 0


def _events(found: Any) -> dict[str, int]:
    return {str(name): _count(count) for name, count in found.items()} if isinstance(found, dict) else {}


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
