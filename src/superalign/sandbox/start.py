"""`run`: one command in the sandbox, fed, watched and ended; nothing of it outlives the call."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from superalign.sandbox import landlock
from superalign.sandbox.cgroups import Groups, groups
from superalign.sandbox.layers import (
    BOX,
    ENVIRONMENT,
    SYSTEM,
    Isolation,
    best_isolation,
    bwrap_command,
    interpreter,
    is_root,
    python_home,
)
from superalign.sandbox.limits import Limits, Outcome, SandboxUnavailable
from superalign.sandbox.seccomp import assembled
from superalign.sandbox.slots import slot

MAX_FILES = 64
_CHUNK = 1 << 16


@dataclass(slots=True)
class Started:
    """A process in the sandbox, and how to end all of it."""

    process: subprocess.Popen[bytes]
    groups: Groups
    end: Callable[[], None]
    stored: Callable[[], int] | None = None
    """Bytes in its folder, where no file system of its own caps them."""


def run(
    command: Sequence[str],
    *,
    input: bytes = b"",
    files: Mapping[str, bytes] | None = None,
    readable: Sequence[Path] = (),
    limits: Limits | None = None,
    isolation: Isolation | None = None,
) -> Outcome:
    """Run one command in a private, empty folder with no network, and return what came of it.

    `input` is its standard input, `files` lie in its folder, `readable` may be read. `command[0]` may be
    `sys.executable`. Raises SandboxUnavailable where no layer stands, ValueError for a name that leaves the folder.

    >>> run(["echo", "hello"]).stdout   # doctest: +SKIP
    b'hello\\n'
    """
    limits = limits or Limits()
    began = time.monotonic()
    with started(command, files=files or {}, readable=readable, limits=limits, isolation=isolation) as box:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        kind, out, err = _watch(box, input, limits, began)
        box.end()
        code = box.process.wait()
        counted = box.groups.cpu()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if kind == "exited" and (code < 0 or code >= 128):
        kind, code = "signalled", abs(code) if code < 0 else code - 128
    name = (isolation or best_isolation()).name
    return Outcome(
        kind=kind,
        code=abs(code),
        stdout=out,
        stderr=err,
        wall=time.monotonic() - began,
        cpu=used if counted is None else counted,
        isolation=name,
    )


@contextmanager
def started(
    command: Sequence[str],
    *,
    files: Mapping[str, bytes],
    readable: Sequence[Path],
    limits: Limits,
    isolation: Isolation | None = None,
    pass_fds: Sequence[int] = (),
    proc: bool = True,
) -> Iterator[Started]:
    """A command started in the sandbox, standard streams piped; everything of it is killed on leaving."""
    layer = isolation or best_isolation()
    for name in files:
        _checked_name(name)
    if len(files) > MAX_FILES:
        raise ValueError(f"{len(files)} files: pass at most {MAX_FILES}, or a folder as `readable`")
    python = [interpreter(layer.name, readable)] if command[0] == sys.executable else [str(command[0])]
    command = [*python, *map(str, command[1:])]
    with ExitStack() as stack:
        uid = stack.enter_context(slot()) if is_root() else 65534
        tree = stack.enter_context(groups(limits))
        start = _in_bwrap if layer.name == "bwrap" else _in_landlock
        box = start(stack, command, files, [Path(p) for p in readable], limits, uid, tree, pass_fds, proc)
        try:
            yield box
        finally:
            box.end()
            box.process.wait()
            for stream in (box.process.stdin, box.process.stdout, box.process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


def _checked_name(name: str) -> None:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or path.name == "seccomp":
        raise ValueError(f"{name!r} can't be a file in the sandbox: use a plain relative name")


def _limited(limits: Limits, tree: Groups) -> Callable[[], None]:
    wanted = (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.cpu),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_CORE, 0),
    )

    def enter() -> None:
        tree.join()
        for what, value in wanted:
            _, most = resource.getrlimit(what)
            value = value if most == resource.RLIM_INFINITY else min(value, most)
            resource.setrlimit(what, (value, value))

    return enter


def _in_bwrap(
    stack: ExitStack,
    command: Sequence[str],
    files: Mapping[str, bytes],
    readable: Sequence[Path],
    limits: Limits,
    uid: int,
    tree: Groups,
    pass_fds: Sequence[int],
    proc: bool,
) -> Started:
    fds = {name: _memory_file(stack, data) for name, data in {**files, "seccomp": assembled()}.items()}
    line = bwrap_command(command, readable=readable, limits=limits, uid=uid, fds=fds, proc=proc)
    process = subprocess.Popen(
        line,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(*fds.values(), *pass_fds),
        preexec_fn=_limited(limits, tree),
        start_new_session=True,
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
    )

    def end() -> None:
        # bwrap is the first process's parent: when it dies, so does the namespace's init, and with it everything
        if process.poll() is None:
            process.kill()

    return Started(process, tree, end)


def _in_landlock(
    stack: ExitStack,
    command: Sequence[str],
    files: Mapping[str, bytes],
    readable: Sequence[Path],
    limits: Limits,
    uid: int,
    tree: Groups,
    pass_fds: Sequence[int],
    proc: bool,
) -> Started:
    box = Path(tempfile.mkdtemp(prefix="superalign-box-"))
    stack.callback(shutil.rmtree, box, ignore_errors=True)
    for name, data in files.items():
        (box / name).parent.mkdir(parents=True, exist_ok=True)
        (box / name).write_bytes(data)
    if is_root():
        for path in (box, *box.rglob("*")):
            os.chown(path, uid, uid)
    allowed = [*map(Path, SYSTEM), python_home(), *readable]  # not /proc: it shows every process of the host
    handle = landlock.ruleset(allowed, [box, Path("/dev/null"), Path("/dev/zero"), Path("/dev/urandom")])
    stack.callback(os.close, handle)
    inner, limit = landlock.Restriction(handle, assembled()), _limited(limits, tree)

    def enter() -> None:
        limit()
        if is_root():
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        inner.enter()

    process = subprocess.Popen(
        [word.replace(BOX, str(box), 1) if word.startswith(BOX) else word for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=box,
        pass_fds=tuple(pass_fds),
        preexec_fn=enter,
        start_new_session=True,
        env=ENVIRONMENT | {"HOME": str(box), "TMPDIR": str(box), "SUPERALIGN_BOX": box.name},
    )
    return Started(process, tree, lambda: _sweep(process, uid if is_root() else None, box.name), lambda: _size(box))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def _memory_file(stack: ExitStack, data: bytes) -> int:
    fd = os.memfd_create("superalign", os.MFD_CLOEXEC)
    stack.callback(os.close, fd)
    os.write(fd, data) if len(data) < _CHUNK else _write_all(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sweep(process: subprocess.Popen[bytes], uid: int | None, box: str) -> None:
    """Kill the process's group, and whatever left it: all that runs as this start's user, or carries its mark."""
    for _ in range(20):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.poll()
        found = list(_of_start(uid, box))
        if not found and process.poll() is not None:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _of_start(uid: int | None, box: str) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if uid is not None:
                mine = folder.stat().st_uid == uid and b"State:\tZ" not in (folder / "status").read_bytes()
            else:
                mine = f"SUPERALIGN_BOX={box}".encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        if mine:
            yield int(folder.name)


def _watch(box: Started, data: bytes, limits: Limits, began: float) -> tuple[str, bytes, bytes]:
    """Feed and read until it ends, speaks too much or runs out of time; the kind, and both outputs."""
    process, wait = box.process, 0.25 if box.stored is None else 0.03
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
            if box.stored is not None and box.stored() > limits.file:
                kind = "disk"
                break
            if process.poll() is not None and not ready.select(0):
                break  # it ended, and a child of it still holds the pipes
        else:
            if not _ended(process, limits.wall - (time.monotonic() - began)):
                kind = "timeout"
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


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(max(seconds, 0.01))
    except subprocess.TimeoutExpired:
        return False
    return True


__all__ = ["SandboxUnavailable", "Started", "run", "started"]
