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
MEMORY = ("memory.max", "memory.limit_in_bytes")
MINE = Path("/proc/self/cgroup")
_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Groups:
    """The folders that a process joins by writing its id into their `cgroup.procs`."""

    folders: tuple[Path, ...]

    @property
    def limit_memory(self) -> bool:
        """Is one of them about memory?"""
        return any((folder / name).exists() for folder in self.folders for name in MEMORY)

    def join(self) -> None:
        """Put the calling process in; called in the child, before it drops its user."""
        for folder in self.folders:
            handle = os.open(folder / "cgroup.procs", os.O_WRONLY)
            os.write(handle, b"0")
            os.close(handle)

    def starved(self) -> bool:
        """Has the kernel killed one of them because the tree was over its memory?"""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                if (events := folder / name).is_file():
                    found = dict(line.split()[:2] for line in events.read_text().splitlines() if line)
                    return int(found.get("oom_kill", 0)) > 0
        return False

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
        for bases, settings in _wanted(limits):
            for base in bases:
                if (folder := _made(base, settings)) is not None:
                    made.append(folder)
                    break
        yield Groups(tuple(made))
    finally:
        for folder in made:
            _remove(folder)


def _made(base: Path, settings: dict[str, int]) -> Path | None:
    folder = base / f"superalign-{os.getpid()}-{next(_NUMBERS)}"
    try:
        folder.mkdir()
    except OSError:
        return None
    if _set(folder, settings):
        return folder
    _remove(folder)
    return None


def _wanted(limits: Limits) -> list[tuple[list[Path], dict[str, int]]]:
    """Where to make a group, and its settings: within this process's own group, whose limits hold on.

    v2 gives a group that holds processes no controllers for groups below it: then beside it.
    """
    own = _own()
    settings = {"memory.max": limits.memory, "memory.swap.max": 0, "pids.max": limits.processes + 8}
    if (ROOT / "cgroup.controllers").is_file():
        mine = _below(ROOT, own.get("", "/"))
        return [([mine, *([mine.parent] if mine != ROOT else [])], settings)]
    return [
        ([_below(ROOT / "memory", own.get("memory", "/"))], {"memory.limit_in_bytes": limits.memory}),
        ([_below(ROOT / "pids", own.get("pids", "/"))], {"pids.max": limits.processes + 8}),
        ([_below(ROOT / "cpuacct", own.get("cpuacct", "/"))], {}),
    ]


def _own() -> dict[str, str]:
    """Controller → path of this process's group; the empty controller is v2's."""
    try:
        lines = MINE.read_text().splitlines()
    except OSError:
        return {}
    found = (line.split(":", 2) for line in lines if line.count(":") >= 2)
    return {controller: path for _, controllers, path in found for controller in controllers.split(",")}


def _below(root: Path, path: str) -> Path:
    """The group's folder, or the root where it isn't mounted (a container that sees its own group as the root)."""
    folder = root / path.strip("/")
    return folder if ".." not in folder.parts and folder.is_dir() else root


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
