"""Replies that were paid for, kept: raw responses in an object store, and beside it an index from request to response.

    kept = Kept(Path("replies"))                   # replies.sqlite, objects/
    kept.find([ask.key(identity)])                 # {key: Reply with sent=0}
    rows = kept.rows(keys); only = KeptOnly(identity=identity, rows=rows, store=kept.store)     # for verify: no network

A reply is on the disk, response first, then its row, before anyone sees it: neither kill -9 nor a power cut loses what
came back. The index is an SQLite file in WAL mode; several processes may write it at once. Its table of calls is only
ever added to: where two asked the same, the first row is the reply for both, and both rows count as spent. What came
and was no reply (broken JSON) is stored and named there as well, and asked again. Beside it lies what is set aside for
requests under way (`reserving`). No key and no header is stored.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from superalign.evidence.store import ObjectStore
from superalign.models.remote import reserving
from superalign.models.remote.replies import Malformed, heard, raw_of
from superalign.models.remote.reserving import BROKEN_OFF, Owner, Reservation, Till
from superalign.models.remote.terms import KeptError
from superalign.models.speaker import Ask, Reply, Speaker

VERSION = 1
PAID = ("answer", "cut", "refused")
LOST = "lost"
"""Kind of a row for a request that brought no reply, but was perhaps billed. `raw`: what came instead, if anything."""
NO_REPLY = f"('{LOST}', '{BROKEN_OFF}')"
CHUNK = 500
TABLE = """
CREATE TABLE IF NOT EXISTS call (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, identity TEXT NOT NULL, asked TEXT NOT NULL, form TEXT NOT NULL,
    raw TEXT NOT NULL, kind TEXT NOT NULL, read INTEGER NOT NULL, written INTEGER NOT NULL, usd REAL NOT NULL,
    sent INTEGER NOT NULL, seconds REAL NOT NULL, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS call_key ON call (key);
CREATE INDEX IF NOT EXISTS call_identity ON call (identity);
"""
COLUMNS = "key, identity, asked, form, raw, kind, read, written, usd, sent, seconds, at"
INSERT = f"INSERT INTO call ({COLUMNS}) VALUES ({', '.join('?' * 12)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRow:
    """Where one reply lies: what a run writes into its ledger, and what `KeptOnly` answers from."""

    key: str
    """Of the request, and of whom it went to: `Ask.key(identity)`."""
    form: str
    """Of the raw response: "openai", "inspect" or "reply"."""
    raw: str
    """Its digest in the object store."""
    read: int
    written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """What an index holds for one speaker."""

    replies: int
    lost: int
    """Requests that may have been billed, and brought nothing."""
    read: int
    written: int
    usd: float


class _Ticket:
    """Rows that wait for their commit."""

    __slots__ = ("done", "over", "rows")

    def __init__(self, rows: tuple[tuple[object, ...], ...], over: int | None) -> None:
        self.rows, self.over, self.done = rows, over, False


class Kept:
    """The index in `folder`, and the store that it points into (`folder/objects` unless given). Thread-safe.

    `write=False`: only to be read, and nothing is written, or made, on the way.
    """

    def __init__(self, folder: Path, store: ObjectStore | None = None, *, write: bool = True) -> None:
        if write:
            folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "replies.sqlite"
        self.store = store or ObjectStore(folder / "objects", folder / "tmp")
        self._waiting: list[_Ticket] = []
        self._queue, self._writer = Lock(), Lock()
        self._owners, self._flushes = self.path.with_suffix(".owners"), False
        self._owner: Owner | None = None
        with self._errors():
            if not write:
                self._db, version = _read_only(self.path)
                self._known(version)
                return
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            with self._transaction():  # two processes may open a new index at once
                (version,) = self._db.execute("PRAGMA user_version").fetchone()
                for statement in TABLE.split(";") if version == 0 else ():
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={version or VERSION}")
                if version in (0, VERSION):  # indexes of before had no reservations
                    self._db.execute(reserving.TABLE)
                    reserving.book_gone(self._db, self._owners)
        self._known(version)

    def _known(self, version: int) -> None:
        if version not in (0, VERSION):
            raise KeptError(
                f"{self.path} has format {version}, this superalign reads {VERSION}: update it, or start anew"
            )

    def find(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The replies that are there for these keys, `sent` 0. Raises ObjectMissing or Tampered for a damaged store."""
        return {row.key: _read(row, self.store) for row in self.rows(keys)}

    def rows(self, keys: Iterable[str]) -> list[KeptRow]:
        """One row a key that is there, sorted by key: the index of a run, to be kept in its ledger."""
        listed, rows = sorted(set(keys)), []
        for start in range(0, len(listed), CHUNK):
            some = listed[start : start + CHUNK]
            query = (
                "SELECT key, form, raw, read, written FROM call WHERE id IN (SELECT MIN(id) FROM call "
                f"WHERE key IN ({','.join('?' * len(some))}) AND kind NOT IN {NO_REPLY} GROUP BY key) ORDER BY key"
            )
            rows += [KeptRow(key=k, form=f, raw=d, read=r, written=w) for k, f, d, r, w in self._all(query, some)]
        return rows

    def keep(
        self,
        ask: Ask,
        *,
        identity: str,
        form: str,
        raw: bytes,
        reply: Reply,
        usd: float = 0.0,
        reserved: Reservation | None = None,
    ) -> Reply:
        """Make it durable; the reply with its digest, or the earlier one that another process kept for the same key.

        What was set aside for it is free again, in the same moment.
        """
        digest = self.store.put(raw)
        key = ask.key(identity)
        self._write(_row(key, identity, ask, form, digest, reply.kind, reply, usd), over=reserved)
        (first,) = self.rows([key])
        if first.raw != digest:
            return replace(_read(first, self.store), sent=reply.sent, seconds=reply.seconds)
        return replace(reply, raw=digest)

    def keep_own(self, asks: Sequence[Ask], replies: Sequence[Reply], *, identity: str) -> list[Reply]:
        """A local model's replies, in one transaction: they cost nothing, and each is its own raw response."""
        digests = [self.store.put(raw_of(reply)) for reply in replies]
        self._write(
            *(
                _row(ask.key(identity), identity, ask, "reply", digest, reply.kind, reply, 0.0)
                for ask, reply, digest in zip(asks, replies, digests, strict=True)
            )
        )
        return [replace(reply, raw=digest) for reply, digest in zip(replies, digests, strict=True)]

    def lost(
        self,
        reserved: Reservation,
        *,
        form: str,
        raw: bytes = b"",
        read: int | None = None,
        written: int | None = None,
        usd: float | None = None,
    ) -> None:
        """Book a request that brought no reply, and will be asked again: at what was set aside unless it is known.

        raw: what came that was no reply.
        """
        ask, identity = reserved.ask, reserved.identity
        tokens = reserved.read if read is None else read, ask.tokens if written is None else written
        reply = Reply(kind="none", read=tokens[0], written=tokens[1])
        cost, digest = reserved.usd if usd is None else usd, self.store.put(raw) if raw else ""
        form = form if raw else ""
        self._write(_row(ask.key(identity), identity, ask, form, digest, LOST, reply, cost), over=reserved)

    def paid(self, identity: str) -> Paid:
        """Sums over all that this index holds for a speaker, whichever run it was."""
        query = (
            f"SELECT COALESCE(SUM(kind NOT IN {NO_REPLY}), 0), COALESCE(SUM(kind IN {NO_REPLY}), 0), "
            "COALESCE(SUM(read), 0), COALESCE(SUM(written), 0), COALESCE(SUM(usd), 0.0) FROM call WHERE identity = ?"
        )
        ((replies, lost, read, written, usd),) = self._all(query, [identity])
        return Paid(replies=replies, lost=lost, read=read, written=written, usd=usd)

    def reserve(self, wanted: Reservation, till: Till, limit: float) -> bool:
        """Whether it fits under the limit beside what the till's speakers have spent and set aside: then it is entered.

        It is there for every process, and stays after a kill; it is not flushed, so a power cut may undo it.
        """
        with self._writer, self._errors():
            self._owner = self._owner or Owner(self._owners)
            with self._transaction(flush=False):
                till.look(self._db)
                fits = till.paid + till.open + wanted.usd <= limit
                if fits:
                    reserving.enter(self._db, wanted, self._owner)
                elif till.open:
                    reserving.book_gone(self._db, self._owners)
                    till.look(self._db)
            return fits

    def free(self, reserved: Reservation, *, billed: bool) -> None:
        """A request is over, and no row says how; `billed`: perhaps it was, so what was set aside is spent."""
        with self._writer, self._errors(), self._transaction(flush=False):
            for statement in [reserving.BOOK, reserving.FREE] if billed else [reserving.FREE]:
                self._db.execute(f"{statement} WHERE id = ?", [reserved.row])
            reserved.row = None

    def close(self) -> None:
        """Close the index; what was kept stays."""
        with self._writer:
            self._db.close()
            if self._owner:
                self._owner.close()

    def _all(self, query: str, values: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]
        with self._writer, self._errors():
            return self._db.execute(query, values).fetchall()

    def _write(self, *rows: tuple[object, ...], over: Reservation | None = None) -> None:
        """In one transaction with the rows of whoever waits meanwhile: one flush to the disk for all of them."""
        mine = _Ticket(rows, over.row if over else None)
        self._commit(mine)
        if over:
            over.row = None

    def _commit(self, mine: _Ticket) -> None:
        with self._queue:
            self._waiting.append(mine)
        with self._writer, self._errors():
            if mine.done:  # by whoever had the writer before
                return
            with self._queue:
                batch, self._waiting = self._waiting, []
            tickets = batch if mine in batch else [mine, *batch]  # not in it: that other one's commit failed
            with self._transaction():
                self._db.executemany(INSERT, [row for ticket in tickets for row in ticket.rows])
                over = [(ticket.over,) for ticket in tickets if ticket.over is not None]
                self._db.executemany(f"{reserving.FREE} WHERE id = ?", over)
            for ticket in tickets:
                ticket.done = True

    @contextmanager
    def _transaction(self, *, flush: bool = True) -> Iterator[None]:
        """`flush`: to the disk, before it counts as done."""
        if flush != self._flushes:
            self._db.execute(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")
            self._flushes = flush
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:  # something went wrong on the way
                self._db.execute("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise KeptError(
                f"the index of replies {self.path}: {error}: is the disk full, or the file damaged?"
            ) from error


def _read_only(path: Path) -> tuple[sqlite3.Connection, int]:
    """The index, and its format; as a file that nobody changes where nothing at all can be written beside it."""
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        index = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=60, check_same_thread=False)
        try:
            (version,) = index.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError:
            index.close()
            if mode != "mode=ro":
                raise
        else:
            return index, int(version)
    raise AssertionError("one of both returns or raises")


class KeptSpeaker:
    """A local speaker whose replies are kept: what was asked before is not computed again."""

    def __init__(self, speaker: Speaker, kept: Kept, *, chunk: int = 64) -> None:
        self.speaker, self.kept, self.chunk = speaker, kept, chunk

    @property
    def identity(self) -> str:
        return self.speaker.identity

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, in their order; equal asks are answered once. Kept after every `chunk` of them."""
        keys = [ask.key(self.identity) for ask in asks]
        replies = self.kept.find(keys)
        missing = {key: ask for key, ask in zip(keys, asks, strict=True) if key not in replies}
        todo = list(missing.items())
        for start in range(0, len(todo), self.chunk):
            some = todo[start : start + self.chunk]
            said = self.speaker.ask([ask for _, ask in some])
            replies |= {key: reply for (key, _), reply in zip(some, said, strict=True)}
            good = [(key, ask) for key, ask in some if replies[key].kind in PAID]
            kept = self.kept.keep_own([a for _, a in good], [replies[k] for k, _ in good], identity=self.identity)
            replies |= {key: reply for (key, _), reply in zip(good, kept, strict=True)}
        return once(keys, replies)


class KeptOnly:
    """Answers from kept replies alone: for recounting without a network. Raises KeptError where one is missing."""

    def __init__(self, *, identity: str, rows: Iterable[KeptRow], store: ObjectStore) -> None:
        self.identity, self.store = identity, store
        self._rows: Mapping[str, KeptRow] = {row.key: row for row in rows}

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One reply an ask, each read from its raw response, whose hash is checked."""
        keys = [ask.key(self.identity) for ask in asks]
        missing = [key for key in keys if key not in self._rows]
        if missing:
            raise KeptError(
                f"{len(missing)} of {len(keys)} requests to {self.identity} have no kept reply, as {missing[0][:12]}…: "
                "run the stage that asks them again"
            )
        return [_read(self._rows[key], self.store) for key in keys]


def once(keys: Sequence[str], replies: Mapping[str, Reply]) -> list[Reply]:
    """The replies in the order of keys; of equal keys the first counts the requests, the others were there already."""
    seen: set[str] = set()
    listed = []
    for key in keys:
        listed.append(replace(replies[key], sent=0, seconds=0.0) if key in seen else replies[key])
        seen.add(key)
    return listed


def _row(
    key: str, identity: str, ask: Ask, form: str, raw: str, kind: str, reply: Reply, usd: float
) -> tuple[object, ...]:
    asked = json.dumps(asdict(ask), ensure_ascii=False, sort_keys=True)
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return (key, identity, asked, form, raw, kind, reply.read, reply.written, usd, reply.sent, reply.seconds, at)


def _read(row: KeptRow, store: ObjectStore) -> Reply:
    try:
        return replace(heard(row.form, store.get(row.raw)), raw=row.raw, sent=0)
    except Malformed as error:
        raise KeptError(f"the kept response {row.raw}: {error}: don't trust the index that names it") from error
