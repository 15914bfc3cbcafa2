"""Finds all processes of a start, to end or weigh them where no namespace or group does; measures its folder."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MOST_NODES = 20_000
"""Files and folders in a start's folder: more count as too much of the disk."""
MARKED = 12  # RLIMIT_MSGQUEUE: of no use where message queues are refused, so its value can be a mark
_MARK_LINE = b"Max msgqueue size"


def new_mark() -> int:
    """A number that every process of one start carries as a limit: children inherit it, the filter pins it."""
    most = resource.getrlimit(MARKED)[1]
    return 1 + int.from_bytes(os.urandom(7), "big") % (most if 1 < most < 1 << 40 else 800_000)


def sweep(process: subprocess.Popen[bytes], *, uid: int | None, mark: int) -> None:
    """Kill the group and what left it: all that runs as this start's user, or carries its mark, until none does."""
    clean, end = 0, time.monotonic() + 5.0
    while clean < 2 and time.monotonic() < end:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        found = list(_of_start(uid, mark))
        clean = 0 if found or process.poll() is None else clean + 1
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not clean:
            time.sleep(0.002)


def _of_start(uid: int | None, mark: int) -> Iterator[int]:
    return (int(folder.name) for folder in _folders(uid, mark))


def _folders(uid: int | None, mark: int) -> Iterator[Path]:
    """Folders in /proc of a start's processes: all of its own user, and those of this process's user with its mark."""
    for owner in {os.geteuid(), uid} - {None}:
        for folder in _of_user(owner):
            try:
                if owner == uid or _mark_of((folder / "limits").read_bytes()) == mark:
                    yield folder
            except OSError:
                continue


def _of_user(uid: int, *, ended: bool = False) -> Iterator[Path]:
    """Folders of the processes whose real user that is, by their status: who owns the folder can be changed.

    `ended`: those too that ended and that nobody has waited for.
    """
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                status = Path("/proc", name, "status").read_bytes()
            except OSError:
                continue
            if b"\nUid:\t%d\t" % uid in status and (ended or b"\nState:\tZ" not in status):
                yield Path("/proc", name)


def _mark_of(limits: bytes) -> int | None:
    for line in limits.splitlines():
        if line.startswith(_MARK_LINE):
            hard = line.removeprefix(_MARK_LINE).split()[1]
            return int(hard) if hard.isdigit() else None
    return None


def resident(uid: int | None, mark: int, limit: int) -> int:
    """Bytes that all processes of a start hold in memory; above `limit`, pages that they share count once."""
    folders = list(_folders(uid, mark))
    total = sum(_pages(folder) for folder in folders)
    return total if total <= limit else sum(_proportional(folder) for folder in folders)


def _pages(folder: Path) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int((folder / "statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def _proportional(folder: Path) -> int:
    with contextlib.suppress(OSError):
        for line in (folder / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _pages(folder)


def tasks_of(uid: int) -> int:
    """Processes and threads that a user has: RLIMIT_NPROC counts them all, so a start's own come on top."""
    total = 0
    for folder in _of_user(uid, ended=True):
        with contextlib.suppress(OSError):
            total += len(os.listdir(folder / "task"))
    return total


def stored(folder: Path) -> int:
    """Bytes on the disk under a folder; a number above any limit where there are too many files, or paths too long."""
    total, nodes, left = 0, 0, [str(folder)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    nodes += 1
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    if nodes > MOST_NODES:
                        return 1 << 62
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EACCES):
                return 1 << 62  # it is too deep, or closed to us; otherwise it was removed while we looked
    return total


def remove(folder: Path) -> None:
    """Remove a folder that its program may have made deep, or closed to its owner."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(folder)], capture_output=True, timeout=60, check=False)
