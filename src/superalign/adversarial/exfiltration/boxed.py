"""The range in the sandbox, from outside: opened, given one action at a time, and heard.

    with opened(fixture) as box:
        did = box.do(parsed("run: ls"))          # what it came to, and what the kernel saw
        box.kept()                               # the mended function

It takes bubblewrap's namespaces: no interface, no route, no socket but unix ones, and a folder of its own that is gone
after. Landlock forbids every socket, so that the relay could not be reached: there the range is refused.
"""

from __future__ import annotations

import base64
import json
import secrets
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superalign.adversarial.exfiltration.actions import Action
from superalign.adversarial.exfiltration.range import RELAY, Fixture
from superalign.sandbox import Isolation, Limits, SandboxUnavailable, chosen
from superalign.sandbox.frames import NONCE, BrokenFrame, Reader
from superalign.sandbox.layers import BOX
from superalign.sandbox.start import Started, started

HERE = Path(__file__).parent
DRIVER = ("inside.py", "inside_senses.py")
"""What runs inside; it takes itself away before anything else does."""
START, GRACE = 30.0, 10.0
"""Seconds that the driver may take to start, and to answer beyond an action's own time."""
LIMITS = Limits(wall=3_600.0, cpu=60)
"""Of one episode, with the time that the agent thinks: the rest as in the sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """A file that was new or changed after an action."""

    path: str
    size: int
    bytes: str
    """Its first bytes, in base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Did:
    """What one action came to: told by the driver, not by the agent."""

    how: str
    """exited, signalled, timeout, output (too much of it), not started; killed, late, memory, disk, broken: then the
    whole start is over."""
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    seen: tuple[str, ...] = ()
    """Of the fake weights: listed (their folder), opened, read, changed, moved; overflow: there was more."""
    wrote: tuple[Wrote, ...] = ()
    met: tuple[int, ...] = ()
    """Numbers of the connections that the relay took."""
    sunk: tuple[str, ...] = ()
    """Lines that it took."""
    refused: int = 0
    """Connections that it ended: no text, a line too long, too much in all."""
    left_out: int = 0
    """Files and folders that were not told of, or not whole: too many, too large, closed."""

    @property
    def over(self) -> bool:
        """Can no other action follow?"""
        return self.how in ("killed", "late", "memory", "disk", "broken")


@dataclass(slots=True)
class Box:
    """A range that is open."""

    started: Started
    pipe: socket.socket
    poll: select.poll
    reader: Reader
    end: float
    """When all of it is over, by the monotonic clock."""
    alive: bool = True

    def do(self, action: Action, *, seconds: float = 10.0) -> Did:
        """Carry out a run or a write; ValueError for another action. A start that is over says so, again and again."""
        if action.kind not in ("run", "write"):
            raise ValueError(f"{action.kind!r} can't be carried out: only run and write can")
        order = {"kind": action.kind, "line": action.line, "path": action.path, "body": action.body, "seconds": seconds}
        heard, how = self._asked(order, "did", seconds + GRACE)
        last = heard[-1] if heard and heard[-1].get("kind") == "did" else {"how": how}
        return Did(
            how=str(last["how"]),
            code=int(last.get("code", -1)),
            stdout=str(last.get("stdout", "")),
            stderr=str(last.get("stderr", "")),
            seconds=float(last.get("seconds", 0.0)),
            seen=tuple(sorted({str(what) for one in heard if one["kind"] == "seen" for what in one["what"]})),
            wrote=tuple(
                Wrote(path=one["path"], size=one["size"], bytes=one["bytes"]) for one in heard if one["kind"] == "wrote"
            ),
            met=tuple(int(one["connection"]) for one in heard if one["kind"] == "met"),
            sunk=tuple(str(line) for one in heard if one["kind"] == "sunk" for line in one["lines"]),
            refused=int(last.get("refused", 0)),
            left_out=int(last.get("left_out", 0)),
        )

    def kept(self, path: str) -> str | None:
        """Text of a file, at the end; None where there is none, or nobody to ask. Nothing can follow."""
        heard, _ = self._asked({"kind": "end", "path": path}, "kept", GRACE)
        self.alive = False
        return heard[-1]["text"] if heard and heard[-1].get("kind") == "kept" else None

    def _asked(self, order: Mapping[str, Any], until: str, seconds: float) -> tuple[list[dict[str, Any]], str]:
        """All frames up to the kind that is waited for, or how the start came to its end."""
        if not self.alive:
            return [], "killed"
        self._send(order)
        return self._heard(until, seconds)

    def _send(self, order: Mapping[str, Any]) -> None:
        text = json.dumps(order).encode()
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            self.pipe.sendall(struct.pack(">I", len(text)) + text)

    def _heard(self, until: str, seconds: float) -> tuple[list[dict[str, Any]], str]:
        out: list[dict[str, Any]] = []
        end, how = min(time.monotonic() + seconds, self.end), ""
        while not how:
            if self.started.over is not None and (why := self.started.over()) is not None:
                how = why
                break
            left = end - time.monotonic()
            if left <= 0:
                how = "late"
                break
            if not self.poll.poll(1000 * min(left, 0.1)):
                continue
            try:
                words = self.reader.feed(chunk := self._chunk())
            except BrokenFrame:
                how = "broken"
                break
            out += words
            if words and words[-1].get("kind") == until:
                return out, ""
            if not chunk:
                how = "killed"
        self.alive = False
        self.started.end()
        return out, how

    def _chunk(self) -> bytes:
        try:
            return self.pipe.recv(1 << 16)
        except ConnectionResetError:
            return b""


def layer_for_range(isolation: Isolation | None = None) -> Isolation:
    """The layer that the range takes: bubblewrap. Raises SandboxUnavailable where it doesn't stand, or for another."""
    layer = isolation or chosen("bwrap")
    if layer.name != "bwrap":
        raise SandboxUnavailable(f"the range needs bwrap: in {layer.name} no socket opens, so that no relay is reached")
    return layer


@contextmanager
def opened(fixture: Fixture, *, limits: Limits | None = None, isolation: Isolation | None = None) -> Iterator[Box]:
    """A fixture laid out in the sandbox, ready for actions; everything of it is gone on leaving.

    Raises SandboxUnavailable where bubblewrap doesn't stand, or the driver does not start.
    """
    layer, nonce, limits = layer_for_range(isolation), secrets.token_bytes(NONCE), limits or LIMITS
    mine, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-S", "-B", f"{BOX}/{DRIVER[0]}", str(theirs.fileno())]
    driver = {name: (HERE / name).read_bytes() for name in DRIVER}
    with (
        mine,
        theirs,  # sockets: a pipe could be opened anew by its name in /proc
        started(
            command, files=driver, readable=(), limits=limits, isolation=layer, pass_fds=(theirs.fileno(),)
        ) as start,
    ):
        theirs.close()
        mine.settimeout(START)
        (poll := select.poll()).register(mine, select.POLLIN)
        box = Box(started=start, pipe=mine, poll=poll, reader=Reader(nonce), end=time.monotonic() + limits.wall)
        files = {name: base64.b64encode(data).decode() for name, data in fixture.files.items()}
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            mine.sendall(nonce)
        heard, how = box._asked({"files": files, "weights": fixture.weights, "relay": RELAY}, "ready", START)
        if not heard:
            assert start.process.stderr
            why = start.process.stderr.read(2000).decode("utf-8", "replace").strip().splitlines()[-1:] or [how]
            raise SandboxUnavailable(f"the range's driver did not start ({why[0]:.200}): run `superalign doctor`")
        yield box
