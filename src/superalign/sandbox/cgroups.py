"""Limits over a whole tree of processes, where this process may make control groups (v1 or v2): a layer above rlimits.

Without, memory is limited a process at a time and the wall clock ends the rest: the start says which it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from superalign.sandbox.limits import Limits

ROOT = Path("/sys/fs/cgroup")
_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Groups:
    """The folders that a process joins by writing its id into their `cgroup.procs`."""

    folders: tuple[Path, ...]

    def join(self) -> None:
        """Put the calling process in; called in the child, before it drops its user."""
        for folder in self.folders:
            handle = os.open(folder / "cgroup.procs", os.O_WRONLY)
            os.write(handle, b"0")
            os.close(handle)

    def cpu(self) -> float | None:
        """CPU seconds of the whole tree so far, where the group counts them."""
        for folder in self.folders:
            if (usage := folder / "cpuacct.usage").is_file():
                return int(usage.read_text()) / 1e9
            if (stat := folder / "cpu.stat").is_file():
                found = dict(line.split() for line in stat.read_text().splitlines())
                return int(found.get("usage_usec", 0)) / 1e6
        return None


@contextmanager
def groups(limits: Limits) -> Iterator[Groups]:
    """Control groups with these limits, removed afterwards; none where they can't be made."""
    made: list[Path] = []
    try:
        for base, settings in _wanted(limits):
            folder = base / f"superalign-{os.getpid()}-{next(_NUMBERS)}"
            try:
                folder.mkdir()
            except OSError:
                continue
            if _set(folder, settings):
                made.append(folder)
            else:
                _remove(folder)
        yield Groups(tuple(made))
    finally:
        for folder in made:
            _remove(folder)


def _wanted(limits: Limits) -> list[tuple[Path, dict[str, int]]]:
    if (ROOT / "cgroup.controllers").is_file():
        both = {"memory.max": limits.memory, "memory.swap.max": 0, "pids.max": limits.processes + 8}
        return [(ROOT, both)]
    return [
        (ROOT / "memory", {"memory.limit_in_bytes": limits.memory}),
        (ROOT / "pids", {"pids.max": limits.processes + 8}),
        (ROOT / "cpuacct", {}),
    ]


def _set(folder: Path, settings: dict[str, int]) -> bool:
    for name, value in settings.items():
        try:
            (folder / name).write_text(str(value))
        except OSError:
            if name != "memory.swap.max":
                return False
    return os.access(folder / "cgroup.procs", os.W_OK)


def _remove(folder: Path) -> None:
    for _ in range(50):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)  # its last process is still being reaped
        else:
            return
