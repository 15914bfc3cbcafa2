"""One writer per workspace: a lock file held by flock, which the kernel lets go when the process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from .errors import WorkspaceLocked, disk_errors


class WorkspaceLock:
    """Holds `path` until released; WorkspaceLocked (naming the other process) if someone else does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path, "locking the workspace"):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._handle, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._handle)
            who = "this same process" if holder == str(os.getpid()) else f"process {holder}"
            raise WorkspaceLocked(
                f"the workspace {path.parent} is in use by {who}: wait until it has finished, or end it, and run again"
            ) from error
        with disk_errors(path, "locking the workspace"):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let the next process in."""
        os.close(self._handle)
