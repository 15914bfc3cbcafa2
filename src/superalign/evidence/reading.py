"""Reading a stranger's SQLite file: read-only, capped, its schema checked before anything is selected."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from .errors import NewerFormat, WorkspaceMissing
from .events import FORMAT, MAX_EVENT
from .findings import Finding
from .ledger import APPLICATION_ID, SCHEMA, write_ahead

MAX_LEDGER = 1 << 30
MAX_EVENTS = 1_000_000
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_RESTORE = "ask for an untouched copy of the workspace"


class Row(NamedTuple):
    """One stored event, nothing checked yet; a value that isn't text is None."""

    seq: int
    digest: bytes | None
    signature: bytes | None
    entry: bytes | None


def read_rows(path: Path) -> Iterator[Row | Finding]:
    """The rows in order, with a Finding for whatever else is wrong with the file.

    Raises WorkspaceMissing or NewerFormat where there is nothing that this version could check.
    """
    if not path.is_file() or path.is_symlink():
        raise WorkspaceMissing(f"there is no ledger at {path}: pass the folder that holds ledger.sqlite")
    if path.stat().st_size > MAX_LEDGER:
        yield Finding(seq=None, what=f"the ledger is over {MAX_LEDGER} bytes", where=str(path), do=_RESTORE)
        return
    if (log := write_ahead(path)) is not None:
        yield Finding(seq=None, what=f"{log}: SQLite would write into this folder", where=str(path), do=_RESTORE)
        return
    try:
        yield from _rows_after_rollback(path)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: SQLite's message quotes damaged bytes
        yield Finding(seq=None, what=f"SQLite can't read it: {error}", where=str(path), do=_RESTORE)


def _rows_after_rollback(path: Path) -> Iterator[Row | Finding]:
    """Read the file; where its writer was killed mid-write, roll back on a copy: this one isn't ours."""
    try:
        with closing(_connect(path, "ro")) as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield from _rows(db, path)
            return
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
    journal = path.with_name(path.name + "-journal")
    if journal.stat().st_size > MAX_LEDGER or journal.is_symlink() or _names_another_file(journal):
        yield Finding(seq=None, what="a rollback journal that can't be trusted", where=str(journal), do=_RESTORE)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(journal, copy.with_name(journal.name))
        with closing(_connect(copy, "rw")) as db:
            yield from _rows(db, path)


def _names_another_file(journal: Path) -> bool:
    """SQLite would open, and delete, the super-journal that a journal names at its end."""
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(_SUPER_JOURNAL)))
        return file.read() == _SUPER_JOURNAL


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=5)
    db.text_factory = bytes
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_EVENT)
    db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _rows(db: sqlite3.Connection, path: Path) -> Iterator[Row | Finding]:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > FORMAT:
        raise NewerFormat(
            f"{path} is format {version}, and this version reads up to {FORMAT}: upgrade superalign to verify it"
        )
    marks = (db.execute("PRAGMA application_id").fetchone()[0], version)
    if marks[0] != APPLICATION_ID or version < 1:
        what = f"not marked as a superalign ledger of a format from 1 to {FORMAT}"
        yield Finding(seq=None, what=what, where=str(path), do=_RESTORE)
    stored = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_master") if sql is not None}
    if stored != {statement.encode() for statement in SCHEMA}:
        what = "its tables and triggers are not those of a ledger"
        yield Finding(seq=None, what=what, where=str(path), do=_RESTORE)
    if SCHEMA[0].encode() not in stored:
        return
    query = "SELECT seq, digest, signature, entry FROM event ORDER BY seq"
    for count, row in enumerate(db.execute(query)):
        if count >= MAX_EVENTS:
            yield Finding(seq=count, what=f"more than {MAX_EVENTS} events", where=str(path), do=_RESTORE)
            return
        yield Row(row[0], *(v if isinstance(v, bytes) else None for v in row[1:]))
