"""`run`: one command in the sandbox, fed, watched and ended; nothing of it outlives the call."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from superalign.sandbox import landlock, stage
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
from superalign.sandbox.limits import Limits, Outcome
from superalign.sandbox.seccomp import assembled
from superalign.sandbox.slots import slot
from superalign.sandbox.sweep import MARKED, new_mark, remove, resident, stored, sweep, tasks_of
from superalign.sandbox.watch import watch

MAX_FILES = 64
"""Files of a start where bubblewrap must hold each open; without this limit elsewhere."""


@dataclass(slots=True)
class Started:
    """A process in the sandbox, and how to end all of it."""

    process: subprocess.Popen[bytes]
    groups: Groups
    end: Callable[[], None]
    over: Callable[[], str | None] | None = None
    """Looks whether it is over a limit that nothing else holds: disk or memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to start, checked."""

    command: Sequence[str]
    files: Mapping[str, bytes]
    readable: Sequence[Path]
    limits: Limits
    uid: int
    staged: bool
    pass_fds: Sequence[int]
    plain: bool
    """Nothing to write to, no /proc: for programs that follow one another in one start."""
    tree: Groups = field(default_factory=lambda: Groups(()))


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
        kind, out, err = watch(box.process, input, limits, began, box.over)
        box.end()
        code = box.process.wait()
        counted, starved = box.groups.cpu(), box.groups.starved()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    name = (isolation or best_isolation()).name
    kind, code = _how(kind, code, name, starved)
    return Outcome(
        kind=kind,
        code=code,
        stdout=out,
        stderr=err,
        wall=time.monotonic() - began,
        cpu=used if counted is None else counted,
        isolation=name,
    )


def _how(kind: str, code: int, layer: str, starved: bool) -> tuple[str, int]:
    """Kind and code: bubblewrap reports a signal as 128 and its number, as shells do."""
    died = -code if code < 0 else code - 128 if layer == "bwrap" and 128 < code <= 128 + 64 else 0
    if kind != "exited":
        return kind, died or code
    if starved and code != 0:
        return "memory", died or code
    return ("signalled", died) if died else ("exited", code)


@contextmanager
def started(
    command: Sequence[str],
    *,
    files: Mapping[str, bytes],
    readable: Sequence[Path],
    limits: Limits,
    isolation: Isolation | None = None,
    pass_fds: Sequence[int] = (),
    plain: bool = False,
) -> Iterator[Started]:
    """A command started in the sandbox, standard streams piped; everything of it is killed on leaving."""
    layer = isolation or best_isolation()
    for name in files:
        _checked_name(name)
    python = [interpreter(layer.name, readable)] if command[0] == sys.executable else [str(command[0])]
    with ExitStack() as stack:
        wanted = Wanted(
            command=[*python, *map(str, command[1:])],
            files=files,
            readable=[Path(p) for p in readable],
            limits=limits,
            uid=stack.enter_context(slot()) if is_root() else 65534,
            tree=stack.enter_context(groups(limits)),
            staged=layer.staged,
            pass_fds=pass_fds,
            plain=plain,
        )
        box = (_in_bwrap if layer.name == "bwrap" else _in_landlock)(stack, wanted)
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
    if not name or not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or name == "seccomp":
        raise ValueError(f"{name!r} can't be a file in the sandbox: use a plain relative name")


def _limited(limits: Limits) -> Callable[..., None]:
    """Sets the limits, or only those named; address space last, since what asks for memory after it may be refused."""
    cpu = math.ceil(limits.cpu)
    processes = limits.processes if is_root() else tasks_of(os.getuid()) + limits.processes
    wanted = {
        resource.RLIMIT_NPROC: (processes, processes),
        resource.RLIMIT_FSIZE: (limits.file, limits.file),
        resource.RLIMIT_NOFILE: (limits.files, limits.files),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_AS: (limits.memory, limits.memory),
    }

    def enter(*only: int) -> None:
        for what in only or wanted:
            (soft, hard), most = wanted[what], resource.getrlimit(what)[1]
            if most != resource.RLIM_INFINITY:
                soft, hard = min(soft, most), min(hard, most)
            resource.setrlimit(what, (soft, hard))

    return enter


def _in_bwrap(stack: ExitStack, wanted: Wanted) -> Started:
    where = stage.place(wanted.readable) if wanted.staged else None
    staged = where and stage.Stage(where, size=wanted.limits.file, uid=wanted.uid, files=wanted.files)
    if where is None and len(wanted.files) > MAX_FILES:
        raise ValueError(f"{len(wanted.files)} files: pass at most {MAX_FILES} here, or a folder as `readable`")
    mark = new_mark()
    held = {**({} if staged else wanted.files), "seccomp": assembled(pinned=(MARKED,))}
    fds = {name: _memory_file(stack, data) for name, data in held.items()}
    line = bwrap_command(
        wanted.command,
        readable=wanted.readable,
        limits=wanted.limits,
        uid=wanted.uid,
        fds=fds,
        where=where,
        writable=not wanted.plain,
        proc=not wanted.plain,
    )
    limit = _limited(wanted.limits)

    def enter() -> None:
        wanted.tree.join()
        limit(resource.RLIMIT_NPROC)  # a user namespace takes the limit along that holds when it is made
        if staged:
            staged.make()
        resource.setrlimit(MARKED, (mark, mark))
        limit()

    process = _opened(line, enter, {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}, (*fds.values(), *wanted.pass_fds))

    uid = wanted.uid if is_root() else None

    def end() -> None:
        # When bubblewrap dies, so does the namespace's init, and with it everything; but an init that was made a moment
        # ago may not have asked for that yet.
        if process.poll() is None:
            process.kill()
            sweep(process, uid=uid, mark=mark)

    return Started(process, wanted.tree, end, None if wanted.tree.limit_memory else lambda: _heavy(wanted, uid, mark))


def _heavy(wanted: Wanted, uid: int | None, mark: int) -> str | None:
    limit = wanted.limits.memory
    return "memory" if resident(uid, mark, limit) > limit else None


def _in_landlock(stack: ExitStack, wanted: Wanted) -> Started:
    box, uid = Path(tempfile.mkdtemp(prefix="superalign-box-")), wanted.uid if is_root() else None
    stack.callback(remove, box)
    for name, data in wanted.files.items():
        stage.write_file(box, name, data, uid=uid)
    if uid is not None:
        os.chown(box, uid, uid)
    mark = new_mark()
    allowed = [*map(Path, SYSTEM), python_home(), *wanted.readable]  # not /proc: it shows every process of the host
    allowed += [box] if wanted.plain else []
    handle = landlock.ruleset(allowed, [*([] if wanted.plain else [box]), Path("/dev/null"), *_DEVICES])
    stack.callback(os.close, handle)
    inner = landlock.Restriction(handle, assembled(shared=True, pinned=(MARKED,)))
    limit = _limited(wanted.limits)

    def enter() -> None:
        wanted.tree.join()
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        resource.setrlimit(MARKED, (mark, mark))
        inner.enter()
        limit()

    command = [word.replace(BOX, str(box), 1) if word.startswith(BOX) else word for word in wanted.command]
    process = _opened(command, enter, ENVIRONMENT | {"HOME": str(box), "TMPDIR": str(box)}, wanted.pass_fds, box)

    def over() -> str | None:
        if stored(box) > wanted.limits.file:
            return "disk"
        return None if wanted.tree.limit_memory else _heavy(wanted, uid, mark)

    return Started(process, wanted.tree, lambda: sweep(process, uid=uid, mark=mark), over)


_DEVICES = (Path("/dev/zero"), Path("/dev/urandom"), Path("/dev/random"))


def _opened(
    command: Sequence[str],
    enter: Callable[[], None],
    env: Mapping[str, str],
    fds: Sequence[int],
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        pass_fds=tuple(fds),
        preexec_fn=enter,
        start_new_session=True,
        env=dict(env),
    )


def _memory_file(stack: ExitStack, data: bytes) -> int:
    fd = os.memfd_create("superalign", os.MFD_CLOEXEC)
    stack.callback(os.close, fd)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
