"""Rows of your own files: JSON Lines, Parquet, Arrow, or a folder that `Dataset.save_to_disk` wrote.

    for row in read_rows(Path("questions.jsonl")):      # Row(where, fields), or Broken(where, why): nothing is skipped

A line that can't be read is handed on as Broken, so that whoever reads can count them all. Blank lines are passed over
and numbered; a byte-order mark at the head and Windows line ends are no part of the text. Nothing is downloaded, and
nothing in a file is executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from superalign.evidence.errors import SuperalignError

MOST = 8 << 20
"""Bytes of a line at most: a longer one is no question, and a stranger's file could fill the memory with it."""
TABLES = (".parquet", ".arrow")
OTHERS = (".csv", ".tsv", ".xlsx", ".xls", ".pkl", ".pickle", ".zip", ".gz", ".xz", ".zst")
BOM = b"\xef\xbb\xbf"
MEND = "mend or remove the line"


class DataError(SuperalignError):
    """A file of data can't be used; the message says which line, what is wrong and what to do."""


class Row(NamedTuple):
    """One row that could be read."""

    where: str
    """File and line, or row of a table, from 1 (rows of tables from 0)."""
    fields: Mapping[str, Any]


class Broken(NamedTuple):
    """One row that can't be used."""

    where: str
    why: str
    """What is wrong with it, and what to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


def read_rows(path: Path, *, split: str | None = None, parts: bool = False) -> Iterator[Row | Broken]:
    """Every row of a file or of a dataset's folder, in order.

    A folder may hold splits: `split` names the one to read; `parts` reads them all, each row with its `split`.
    Raises DataError where there is nothing to read, or a library that reads it isn't there.

    Example: `broken = [row for row in read_rows(Path("pairs.jsonl")) if isinstance(row, Broken)]`
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return _folder(path, split, parts)
    if path.suffix in OTHERS:
        raise DataError(f"{path}: {path.suffix[1:]} isn't read: write it as JSON Lines, Parquet or Arrow")
    return _table(path) if path.suffix in TABLES else _lines(path)


def _lines(path: Path) -> Iterator[Row | Broken]:
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(_cut(file), start=1):
                where = f"{path}, line {number}"
                if number == 1:
                    raw = raw.removeprefix(BOM)
                    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                        raise DataError(f"{path} is UTF-16: write it as UTF-8")
                if raw.strip():
                    yield _line(where, raw)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}: give a file of JSON Lines") from error


def _cut(file: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends; of one that is too long, its head of one byte too many."""
    while raw := file.readline(MOST + 1):
        rest = raw
        while len(rest) > MOST and not rest.endswith(b"\n"):
            rest = file.readline(MOST + 1)
        yield raw if len(raw) > MOST else raw.removesuffix(b"\n")


def _line(where: str, raw: bytes) -> Row | Broken:
    if len(raw) > MOST:
        return Broken(where, f"longer than {MOST >> 20} MiB: cut or remove the line")
    try:
        row = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        return Broken(where, f"no UTF-8 ({error.reason}): {MEND}")
    except _Twice as error:
        return Broken(where, f"the field {error.args[0]!r} stands twice: {MEND}")
    except RecursionError:
        return Broken(where, "JSON nested too deeply: remove the line")
    except ValueError as error:
        return Broken(where, f"no JSON ({error}): {MEND}")
    if isinstance(row, list) and where.endswith(" 1"):
        return Broken(where, f"{_head(raw)} is no object with columns: write one JSON object a line, not one array")
    if not isinstance(row, dict):
        return Broken(where, f"{_head(raw)} is no object with columns: {MEND}")
    return Row(where, row)


def _head(raw: bytes) -> str:
    return repr(raw[:40].decode("utf-8", "replace").strip())


class _Twice(Exception):
    """A field that stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


def _folder(path: Path, split: str | None, parts: bool) -> Iterator[Row]:
    try:
        from datasets import Dataset, load_from_disk
    except ImportError as error:
        raise DataError(f"{path}: reading a dataset's folder needs a library: pip install datasets") from error
    try:
        found = load_from_disk(str(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no folder that Dataset.save_to_disk wrote, and no file: give one of them") from error
    except IndexError as error:  # the library's own, at a data set that was saved without a row
        raise DataError(f"{path}: no rows: bring some") from error
    if isinstance(found, Dataset):
        return _numbered(str(path), found)
    if parts:
        return (
            Row(row.where, {**row.fields, "split": row.fields.get("split") or name})
            for name in found
            for row in _numbered(f"{path}/{name}", found[name])
        )
    if split not in found:
        raise DataError(f"{path} has the splits {', '.join(sorted(found))}, not {split!r}: name one of them")
    return _numbered(str(path), found[split])


def _table(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(f"{path}: reading Parquet or Arrow needs a library: pip install pyarrow") from error
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            with pa.memory_map(str(path)) as source:
                of_file = source.read(6) == b"ARROW1"  # Arrow has two formats; datasets writes the other
                source.seek(0)
                table = (pa.ipc.open_file if of_file else pa.ipc.open_stream)(source).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} can't be read as {path.suffix[1:]}: {first}: write it again") from error
    return _numbered(str(path), (row for batch in table.to_batches() for row in batch.to_pylist()))


def _numbered(path: str, rows: Iterable[Any]) -> Iterator[Row]:
    return (Row(f"{path}, row {number}", row) for number, row in enumerate(rows))
