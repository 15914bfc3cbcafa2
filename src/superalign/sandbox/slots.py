"""One user id per concurrent start: RLIMIT_NPROC counts by user, so two starts must not share one."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from superalign.sandbox.limits import SandboxUnavailable

FIRST, COUNT = 64_100, 256
"""User ids that no distribution gives out (below systemd's container range's end, above dynamic users)."""


@contextmanager
def slot() -> Iterator[int]:
    """A user id that nobody else has for as long as this lasts; needs root. SandboxUnavailable if all are taken."""
    folder = Path(tempfile.gettempdir()) / "superalign-slots"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(COUNT):
        handle = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        try:
            _drained(FIRST + number)
            yield FIRST + number
        finally:
            os.close(handle)
        return
    raise SandboxUnavailable(f"all {COUNT} sandbox slots of this machine are taken: wait for the others to end")


def _drained(uid: int, *, seconds: float = 3.0) -> None:
    """Wait until nothing of that user is left: what the start before it had is reaped a moment after it was killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(_lives(folder, uid) for folder in Path("/proc").iterdir()):
        time.sleep(0.005)


def _lives(folder: Path, uid: int) -> bool:
    try:
        return folder.name.isdigit() and folder.stat().st_uid == uid
    except FileNotFoundError:
        return False
