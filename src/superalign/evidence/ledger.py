"""The ledger: an append-only, hash-chained, signed list of events in SQLite. Format: docs/ledger.md."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from .canonical import Digest, is_digest, plain, sha256
from .errors import BadEvent, NewerFormat, SuperalignError, Tampered, Unwritable, disk_errors, sqlite_errors
from .events import (
    FORMAT,
    GENESIS_PREV,
    MAX_EVENT,
    Event,
    check_author,
    check_body,
    entry_bytes,
    read_entry,
    signed_bytes,
)
from .keys import PRINCIPALS, Keyring
from .merkle import merkle_root

APPLICATION_ID = 0x53414C31  # "SAL1"
SCHEMA = (
    "CREATE TABLE event (seq INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, "
    "signature TEXT NOT NULL, entry TEXT NOT NULL)",
    "CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events are never edited'); END",
    "CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END",
)
Clock = Callable[[], float]
_WORKSPACE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_VERSIONS = slice(18, 20)
"""Bytes of the file's header: 1 1 for a rollback journal, 2 2 for a write-ahead log."""


class Ledger:
    """The events of one workspace, kept in memory and on disk; one writer at a time.

    >>> event = ledger.append("note", {"text": "hello"}, actor="notary")   # doctest: +SKIP
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, clock: Clock = time.time) -> None:
        self.path, self._db, self._clock = path, connection, clock
        self._lock, self._depth = RLock(), 0
        self._events: list[Event] = []
        self.keyring: Keyring | None = None
        """None: this ledger was opened for reading only."""
        self.guard: Callable[[Event], None] | None = None
        """Called with each event before it is stored; what it raises keeps the event out."""
        self.epoch = 0
        """Grows when a transaction is rolled back: what was folded from the events must be folded again."""
        with sqlite_errors(path):
            self._events = _read_all(connection, path)

    @property
    def format(self) -> int:
        """The format this ledger was begun in, and is continued in."""
        stated = self._events[0].body.get("format", FORMAT) if self._events else FORMAT
        return stated if isinstance(stated, int) and 1 <= stated <= FORMAT else FORMAT

    @property
    def head(self) -> Digest:
        """The digest of the last event."""
        return self._events[-1].digest if self._events else GENESIS_PREV

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, seq: int) -> Event:
        if not 0 <= seq < len(self._events):
            raise SuperalignError(f"{self.path} has no event {seq}: it ends at {len(self._events) - 1}")
        return self._events[seq]

    def events(self, type: str | None = None) -> list[Event]:
        """All events in order, or those of one type."""
        return [e for e in self._events if type is None or e.type == type]

    def since(self, seq: int) -> list[Event]:
        """The events from that sequence number on."""
        return self._events[seq:]

    def append(self, type: str, body: Mapping[str, Any], *, actor: str) -> Event:
        """Sign and store one event; durable on return, unless inside `transaction()`.

        Raises BadEvent or NotAllowed before anything is written, KeyMissing without the actor's key, and
        DiskFull, WorkspaceLocked or Unwritable when the file can't take it.
        """
        check_author(type, actor, format=self.format)
        plain_body = plain(body)
        check_body(type, plain_body, format=self.format)
        if self.keyring is None:
            raise Unwritable(f"{self.path} was opened for reading: open the workspace with write=True to append")
        key = self.keyring.private(actor)
        with self.transaction():
            members = {
                "seq": len(self._events),
                "prev": self.head,
                "time": self._now(),
                "type": type,
                "actor": actor,
            }
            entry = entry_bytes(body=plain_body, **members)  # type: ignore[arg-type]
            digest = sha256(entry)
            signature = key.sign(signed_bytes(digest)).hex()
            event = read_entry(len(self._events), digest, signature, entry)
            self._store(event, entry)
        return event

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Batch appends: all are stored with one flush to the disk, or none. An inner one joins the outer."""
        with self._lock:
            if self._depth:
                yield
                return
            before = len(self._events)
            with sqlite_errors(self.path):
                self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                with sqlite_errors(self.path):
                    self._db.execute("COMMIT")
            except BaseException:
                self._roll_back(before)
                raise
            finally:
                self._depth = 0
            if len(self._events) > before and self.keyring is not None:
                self.keyring.remember(len(self._events) - 1, self.head)

    def checkpoint(self) -> Digest:
        """Write a checkpoint event and return its Merkle root: give it away, and the past is fixed."""
        with self.transaction():
            root = merkle_root([e.digest for e in self._events])
            self.append("checkpoint", {"events": len(self._events), "root": root}, actor="notary")
        return root

    def close(self) -> None:
        """Close the database file."""
        self._db.close()

    def _store(self, event: Event, entry: bytes) -> None:
        if self.guard is not None:
            self.guard(event)
        try:
            with sqlite_errors(self.path):
                row = (event.seq, event.digest, event.signature, entry.decode())
                self._db.execute("INSERT INTO event VALUES (?, ?, ?, ?)", row)
        except BaseException:
            self.epoch += 1
            raise
        self._events.append(event)

    def _roll_back(self, before: int) -> None:
        if self._db.in_transaction:
            with sqlite_errors(self.path):
                self._db.execute("ROLLBACK")
        if len(self._events) > before:
            del self._events[before:]
            self.epoch += 1

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open the SQLite file (read-only unless `write`).

    Raises NewerFormat, and Tampered for another program's file, another schema or a write-ahead log.
    """
    with disk_errors(path, "opening the ledger"), sqlite_errors(path):
        if (log := write_ahead(path)) is not None:
            raise Tampered(f"the ledger {path} has {log}, and no ledger has one: restore the workspace from a copy")
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if write else 'ro'}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5, check_same_thread=False)
        try:
            db.text_factory = bytes
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_EVENT)
            db.execute("PRAGMA trusted_schema = OFF")
            if write:
                db.execute("PRAGMA synchronous = EXTRA")
            _check_format(db, path)
        except BaseException:
            db.close()
            raise
    return db


def write_ahead(path: Path) -> str | None:
    """What makes SQLite write beside this file merely to read it; None for a ledger as we keep it."""
    for suffix in ("-wal", "-shm"):
        if os.path.lexists(path.with_name(path.name + suffix)):
            return f"a write-ahead log ({path.name}{suffix})"
    if path.is_file():
        with path.open("rb") as file:
            header = file.read(_VERSIONS.stop)
        if 2 in header[_VERSIONS]:
            return "a header that asks for a write-ahead log"
    return None


def check_genesis(body: Mapping[str, Any]) -> None:
    """Raise BadEvent unless the first event's body is what we write: a path is made of `workspace`."""
    workspace, keys = body.get("workspace"), body.get("keys")
    if not isinstance(workspace, str) or not _WORKSPACE.fullmatch(workspace):
        raise BadEvent(f"{workspace!r:.80} is no workspace id: one is 32 hex digits")
    named = isinstance(keys, dict) and "notary" in keys and all(is_digest(key) for key in keys.values())
    if not named or not set(keys) <= set(PRINCIPALS):  # type: ignore[arg-type]
        raise BadEvent("the genesis doesn't give the principals' keys, each 64 hex digits")


def begin(db: sqlite3.Connection, path: Path, genesis: Mapping[str, Any], keyring: Keyring, clock: Clock) -> None:
    """Create the table, its triggers and the genesis event in one transaction."""
    with sqlite_errors(path):
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
            for statement in SCHEMA:
                db.execute(statement)
            ledger = Ledger(path, db, clock=clock)
            ledger.keyring, ledger._depth = keyring, 1  # joins the transaction begun above
            ledger.append("genesis", genesis, actor="notary")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def is_begun(db: sqlite3.Connection, path: Path) -> bool:
    """True once the file holds an event table (a process killed while creating it leaves none)."""
    with sqlite_errors(path):
        return bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = 'event'").fetchone())


def _check_format(db: sqlite3.Connection, path: Path) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    schema = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_master") if sql is not None}
    if schema and application != APPLICATION_ID:
        raise Tampered(f"{path} is another program's database: choose another --workspace")
    if version > FORMAT:
        raise NewerFormat(
            f"{path.parent} was written by a newer version of superalign (format {version}, this one "
            "reads up to "
            f"{FORMAT}): upgrade superalign, or choose another --workspace"
        )
    if schema and schema != {statement.encode() for statement in SCHEMA}:
        raise _tampered(path, "its tables and triggers are not those of a ledger")


def _read_all(db: sqlite3.Connection, path: Path) -> list[Event]:
    events: list[Event] = []
    prev = GENESIS_PREV
    for seq, digest, signature, entry in db.execute("SELECT seq, digest, signature, entry FROM event ORDER BY seq"):
        if not all(isinstance(value, bytes) for value in (digest, signature, entry)):
            raise _tampered(path, f"event {seq} isn't text")
        try:
            event = read_entry(seq, digest.decode(), signature.decode(), entry)
        except (Tampered, UnicodeDecodeError) as error:
            raise _tampered(path, f"event {seq} was changed") from error
        if seq != len(events) or event.prev != prev:
            raise _tampered(path, f"the chain breaks at event {len(events)}")
        events.append(event)
        prev = digest.decode()
    return events


def _tampered(path: Path, what: str) -> Tampered:
    return Tampered(
        f"the ledger {path} was tampered with ({what}): run `superalign verify` for every finding, and "
        "restore "
        "the workspace from a copy"
    )
