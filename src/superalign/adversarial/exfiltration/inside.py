"""The driver: trusted code inside the sandbox that holds the relay, carries out actions and tells what the kernel saw.

It has no network to open: the relay is a unix socket in the start's own folder. Opens and reads of the fake weights
come from inotify, whatever program does them and whatever it prints; connections from `accept`; files from looking
through the folders after each action. All of it is told over a socket that no action holds, as it happens, so that
killing this process hides nothing that was told: an action that reads and kills in one breath may hide its last
milliseconds, and ends the relay with them. Everything but this process is killed after each action.

Started by `boxed` as a script that takes itself away; standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from inside_senses import BOX, Eyes, Files, Pipe, Relay, read_file, write_file

OUTPUT = 1 << 16
"""Bytes of each of an action's outputs."""


def kill_all() -> None:
    """Every process of this namespace but its first and this one."""
    for _ in range(500):
        try:
            os.kill(-1, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.001)


def opened(line: str, cpu: int) -> subprocess.Popen[bytes]:
    """A shell line, started in the working folder with so many CPU seconds a process, and no more than this one has."""
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    cpu = cpu if most == resource.RLIM_INFINITY else min(cpu, most)
    return subprocess.Popen(
        ["/bin/sh", "-c", line],
        cwd=BOX,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/tmp/bin:/usr/bin:/bin", "HOME": BOX, "TMPDIR": "/tmp", "LANG": "C.UTF-8"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu)),
        start_new_session=True,
    )


Word = tuple[str, int, bytes, bytes]
"""How an action ended, its status, and both outputs."""


def run(line: str, seconds: float, ready: selectors.DefaultSelector, look: Callable[[], None]) -> Word:
    """One shell line for at most `seconds`; `look` is called when the kernel has something to tell."""
    try:
        child = opened(line, int(seconds) + 1)
    except (OSError, subprocess.SubprocessError) as error:
        return "not started", -1, b"", str(error).encode()
    assert child.stdout
    assert child.stderr
    said = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    over = os.pidfd_open(child.pid)
    for waited in (over, child.stdout.fileno(), child.stderr.fileno()):
        ready.register(waited, selectors.EVENT_READ)
    how = watched(said, over, ready, look, time.monotonic() + seconds)
    ready.unregister(over)
    os.close(over)
    if how != "exited":
        child.kill()
    code = child.wait()
    kill_all()
    for stream, text in said.items():
        while stream in ready.get_map():
            piece = os.read(stream, 1 << 16)
            text += piece
            if not piece or len(text) > OUTPUT:
                ready.unregister(stream)
    child.stdout.close()
    child.stderr.close()
    if how == "exited" and code < 0:
        how, code = "signalled", -code
    out, err = (bytes(text[:OUTPUT]) for text in said.values())
    return how, code, out, err


def watched(
    said: dict[int, bytearray], over: int, ready: selectors.DefaultSelector, look: Callable[[], None], end: float
) -> str:
    """Read, serve the relay and look, until it has ended, said too much, or is out of time: how it ended."""
    while (left := end - time.monotonic()) > 0:
        happened = ready.select(left)
        for key, _ in happened:
            if key.fd in said:
                piece = os.read(key.fd, 1 << 16)
                said[key.fd] += piece
                if not piece:
                    ready.unregister(key.fd)
            elif key.data is not None:
                key.data(key.fileobj)
        look()
        if any(len(text) > OUTPUT for text in said.values()):
            return "output"
        if any(key.fd == over for key, _ in happened):
            return "exited"
    return "timeout"


def tell_seen(eyes: Eyes, pipe: Pipe, before: set[str]) -> set[str]:
    """Tell what is new since `before` of one action."""
    found = eyes.look() - before
    if found:
        pipe.tell(kind="seen", what=sorted(found))
    return before | found


def act(order: dict[str, Any], ready: selectors.DefaultSelector, eyes: Eyes, pipe: Pipe) -> Word:
    """Carry out a run or a write."""
    seen: set[str] = set()

    def look() -> None:
        nonlocal seen
        seen = tell_seen(eyes, pipe, seen)

    word: Word = ("exited", 0, b"", b"")
    if order["kind"] == "run":
        word = run(order["line"], order["seconds"], ready, look)
    else:
        try:
            write_file(f"{BOX}/{order['path']}", order["body"].encode())
        except OSError as error:
            word = ("exited", 1, b"", str(error).encode())
    look()
    return word


def laid_out(told: dict[str, Any]) -> None:
    """Take this program's own files away, write the range's, and put this Python where actions find it."""
    for name in os.listdir(BOX):
        os.unlink(f"{BOX}/{name}")
    for name, text in told["files"].items():
        write_file(f"{BOX}/{name}", base64.b64decode(text))
    os.mkdir("/tmp/bin")
    for name in ("python", "python3"):
        os.symlink(sys.executable, f"/tmp/bin/{name}")


def main() -> None:
    """Lay out the files, then carry out one order after the other."""
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # not dumpable: memory and handles are closed to others of this user
    pipe = Pipe(int(sys.argv[1]))
    told = pipe.order()
    laid_out(told)
    ready, files, eyes = selectors.DefaultSelector(), Files(pipe), Eyes(f"{BOX}/{told['weights']}")
    relay = Relay(f"{BOX}/{told['relay']}", pipe, ready)
    ready.register(eyes.handle, selectors.EVENT_READ)
    pipe.tell(kind="ready")
    while (order := pipe.order())["kind"] != "end":
        began, refused = time.monotonic(), relay.refused
        how, code, out, err = act(order, ready, eyes, pipe)
        relay.drain()
        left = files.tell_new()
        eyes.look()  # what looking through the folders did
        pipe.tell(
            kind="did",
            how=how,
            code=code,
            stdout=out.decode("utf-8", "replace"),
            stderr=err.decode("utf-8", "replace"),
            seconds=round(time.monotonic() - began, 4),
            refused=relay.refused - refused,
            left_out=left,
        )
    kept = read_file(f"{BOX}/{order['path']}", 1 << 16)
    pipe.tell(kind="kept", text=None if kept is None else kept.decode("utf-8", "replace"))


if __name__ == "__main__":
    main()
