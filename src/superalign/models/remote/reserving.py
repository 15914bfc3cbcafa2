"""Money set aside in the index of replies before a request goes out: a limit holds over kills and between processes.

    till = Till(); till.add("http://127.0.0.1:8000/v1#m")     # whose spending counts
    kept.reserve(Reservation(usd=.01, read=40, ask=ask, identity="http://127.0.0.1:8000/v1#m"), till, limit=5.0)

A reservation has an owner: a file, which its process keeps locked as long as it lives (or a child that it forked),
whatever ends it. What an owner that is gone had set aside is booked as spent, for good: nobody knows if it was billed.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from superalign.models.speaker import Ask

BROKEN_OFF = "broken off"
"""Kind of a row for a request that was under way when its process, or its asking, came to an end."""
TABLE = """
CREATE TABLE IF NOT EXISTS reservation (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, key TEXT NOT NULL, identity TEXT NOT NULL, read INTEGER NOT NULL,
    written INTEGER NOT NULL, usd REAL NOT NULL, at TEXT NOT NULL)
"""
ENTER = "INSERT INTO reservation (owner, key, identity, read, written, usd, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
BOOK = (
    "INSERT INTO call (key, identity, asked, form, raw, kind, read, written, usd, sent, seconds, at) "
    f"SELECT key, identity, '', '', '', '{BROKEN_OFF}', read, written, usd, 1, 0.0, at FROM reservation"
)
FREE = "DELETE FROM reservation"


@dataclass(slots=True, kw_only=True)
class Reservation:
    """The most that one request can cost, set aside until it is known what it did cost."""

    usd: float
    read: int
    """Tokens of its prompt, at most."""
    ask: Ask
    identity: str
    row: int | None = None
    """Its id in the index as long as it is there."""


class Till:
    """What some speakers have spent, and what is set aside for them. Of an index: as of the last look."""

    def __init__(self) -> None:
        self.identities: list[str] = []
        self.paid = self.open = 0.0
        self._seen = 0
        """Id of the last row that is in `paid`: rows are only ever added."""

    def add(self, identity: str) -> None:
        """This one's money counts, too, from the first row on."""
        if identity not in self.identities:
            self.identities.append(identity)
            self.paid, self._seen = 0.0, 0

    def look(self, index: sqlite3.Connection) -> None:
        """Read what is new."""
        mine = f"identity IN ({','.join('?' * len(self.identities))})"
        query = f"SELECT COALESCE(SUM(usd), 0.0), COALESCE(MAX(id), 0) FROM call WHERE {mine} AND id > ?"
        usd, last = index.execute(query, [*self.identities, self._seen]).fetchone()
        self.paid, self._seen = self.paid + usd, max(self._seen, last)
        query = f"SELECT COALESCE(SUM(usd), 0.0) FROM reservation WHERE {mine}"
        (self.open,) = index.execute(query, self.identities).fetchone()


class Owner:
    """Whoever sets aside: a file in `folder` that is locked until this object, or its process, is gone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if not path.suffix and gone(path):
                path.unlink(missing_ok=True)
        self.name = uuid4().hex
        path, fresh = folder / self.name, folder / f"{self.name}.new"
        handle = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        fresh.rename(path)  # so that nobody finds it before it is locked
        self.close = weakref.finalize(self, _released, handle, path, os.getpid())


def gone(path: Path) -> bool:
    """Whether nobody holds the lock on an owner's file, or it is not there."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def enter(index: sqlite3.Connection, wanted: Reservation, owner: Owner) -> None:
    """Set it aside."""
    key, at = wanted.ask.key(wanted.identity), datetime.now(UTC).isoformat(timespec="milliseconds")
    values = (owner.name, key, wanted.identity, wanted.read, wanted.ask.tokens, wanted.usd, at)
    wanted.row = index.execute(ENTER, values).lastrowid


def book_gone(index: sqlite3.Connection, folder: Path) -> None:
    """What owners that are gone had set aside is spent."""
    for (owner,) in index.execute("SELECT DISTINCT owner FROM reservation").fetchall():
        if gone(folder / owner):
            index.execute(f"{BOOK} WHERE owner = ?", [owner])
            index.execute(f"{FREE} WHERE owner = ?", [owner])


def _released(handle: int, path: Path, process: int) -> None:
    if os.getpid() == process:  # a fork's copy is not the owner
        path.unlink(missing_ok=True)
    os.close(handle)
