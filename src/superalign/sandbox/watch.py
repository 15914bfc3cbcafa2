"""Feeds a started process and reads what it says, up to the limits; it decides how that came to an end."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable

from superalign.sandbox.limits import Limits

_CHUNK = 1 << 16
EVERY = 0.05
"""Seconds between two looks at what only looking can limit."""


def watch(
    process: subprocess.Popen[bytes], data: bytes, limits: Limits, began: float, over: Callable[[], str | None] | None
) -> tuple[str, bytes, bytes]:
    """Feed and read until it ends, says too much, is out of time or `over` a limit; the kind, and both outputs."""
    wait, looked = 0.25 if over is None else EVERY, began
    assert process.stdin
    assert process.stdout
    assert process.stderr
    out: dict[int, bytearray] = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    feed, kind = memoryview(data), "exited"
    with selectors.DefaultSelector() as ready:
        for fd in out:
            os.set_blocking(fd, False)
            ready.register(fd, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        ready.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        reading = set(out)
        while reading:
            left = limits.wall - (time.monotonic() - began)
            if left <= 0:
                kind = "timeout"
                break
            for key, _ in ready.select(min(left, wait)):
                fd = key.fd
                if fd in out:
                    chunk = os.read(fd, _CHUNK)
                    out[fd] += chunk
                    if not chunk:
                        ready.unregister(fd)
                        reading.discard(fd)
                else:
                    feed = _fed(ready, process, feed)
            if any(len(said) > limits.output for said in out.values()):
                kind = "output"
                break
            if over is not None and time.monotonic() - looked > wait:
                if (found := over()) is not None:
                    kind = found
                    break
                looked = time.monotonic()
            if process.poll() is not None and not ready.select(0):
                break  # it ended, and a child of it still holds the pipes
        else:
            kind = _silent_end(process, limits, began, over)
    said = [bytes(text[: limits.output]) for text in out.values()]
    return kind, said[0], said[1]


def _fed(ready: selectors.BaseSelector, process: subprocess.Popen[bytes], feed: memoryview) -> memoryview:
    assert process.stdin
    try:
        feed = feed[os.write(process.stdin.fileno(), feed[:_CHUNK]) :] if feed else feed
    except BrokenPipeError:
        feed = memoryview(b"")
    except BlockingIOError:
        return feed
    if not feed:
        ready.unregister(process.stdin.fileno())
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdin = None
    return feed


def _silent_end(
    process: subprocess.Popen[bytes], limits: Limits, began: float, over: Callable[[], str | None] | None
) -> str:
    """How a process ends that closed its outputs: it is watched as before."""
    while (left := limits.wall - (time.monotonic() - began)) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(left if over is None else min(left, EVERY))
            return "exited"
        if over is not None and (found := over()) is not None:
            return found
    return "timeout" if process.poll() is None else "exited"
