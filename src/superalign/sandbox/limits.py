"""What a sandboxed program may use, what came of it, and what is said where there is no sandbox."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


class SandboxUnavailable(RuntimeError):
    """No layer of isolation stands on this machine; the message says why, and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resources of one start. Time in seconds, sizes in bytes; counts are per start (processes, files)."""

    wall: float = 10.0
    """Everything is killed after so long."""
    cpu: float = 3
    """CPU seconds a process, rounded up."""
    memory: int = 512 * MIB
    """Address space a process, and resident memory of all of them where cgroups are writable."""
    processes: int = 64
    file: int = 64 * MIB
    """One file, and all temporary files together."""
    output: int = MIB
    """Standard output and standard error, each: at more, everything is killed."""
    files: int = 256
    """Open files a process."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"the limit {name} = {getattr(self, name)} must be above zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one start came to."""

    kind: str
    """exited, signalled (24 is the CPU limit), timeout (wall clock), output or disk (too much of it), or memory (of the
    whole tree, by its control group; a single process over its address space gets a MemoryError)."""
    code: int
    """Exit status; the signal's number where it was signalled or killed."""
    stdout: bytes
    stderr: bytes
    wall: float
    """Seconds."""
    cpu: float
    """Seconds of user and system time, of all its processes that were waited for."""
    isolation: str
    """Name of the layer it ran in."""

    @property
    def ok(self) -> bool:
        """It ended by itself, with status 0."""
        return self.kind == "exited" and self.code == 0
