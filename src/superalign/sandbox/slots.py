"""One user id per concurrent start: RLIMIT_NPROC counts by user, so two starts must not share one."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from superalign.sandbox.limits import SandboxUnavailable

FIRST, COUNT = 60_800, 256
"""User ids that nobody gives out: systemd's list has 60,706 to 61,183 unused. What runs as one of them gets killed."""


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
            yield FIRST + number
        finally:
            os.close(handle)
        return
    raise SandboxUnavailable(f"all {COUNT} sandbox slots of this machine are taken: wait for the others to end")
