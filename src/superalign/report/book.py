"""`write_book`: every unit of a network on pages that open from disk: an index to search, and a page a unit.

    write_book(Book(title=..., columns=..., units=...), Path("book"))   # then open book/index.html

The folder holds `index.html`, `unit.html`, `assets/` and `data/`: the index in shards of 4,096 rows, units in shards of
64, all of them scripts that hand data over, loaded when they are needed. No server, no network.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from superalign.evidence import SuperalignError
from superalign.report.book_columns import Column, length_of, packed_columns, shown
from superalign.report.book_front import ASSETS, index_page, unit_page
from superalign.report.book_shards import Words, found_by, script, unit_data
from superalign.report.book_view import Amount, Book, Said, Score, Section, UnitPage, Window

__all__ = ["Amount", "Book", "Said", "Score", "Section", "UnitPage", "Window", "write_book"]

INDEX_ROWS, UNIT_ROWS = 4096, 64
"""Rows of a shard of the index, and of units."""
MARK = "data/index-meta.js"
"""A folder that holds it is a book, and may be written over."""


def write_book(book: Book, folder: Path) -> Path:
    """Write the book to `folder`, whole or not at all, and return `folder`; the same book gives the same bytes.

    A book that is there is replaced. Raises SuperalignError for a folder that holds anything else, columns that don't
    fit each other, and a unit that can't be shown.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise SuperalignError(f"{folder} is there and is no book: name an empty folder, or one that holds a book")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _write(book, made)
        made.chmod(0o755)
        _swap(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _swap(made: Path, folder: Path) -> None:
    """Put `made` where `folder` is; what was there lies in `made` afterwards."""
    if not folder.exists():
        os.replace(made, folder)
        return
    aside = made.with_name(f"{made.name}.old")
    os.replace(folder, aside)
    try:
        os.replace(made, folder)
    except BaseException:
        os.replace(aside, folder)
        raise
    os.replace(aside, made)


def _write(book: Book, folder: Path) -> None:
    rows = length_of(book.columns)
    columns = packed_columns(book.columns, book.about)
    (folder / "data").mkdir()
    (folder / "assets").mkdir()
    tokens = _write_units(book, columns, folder)
    columns.append(Column(name="tokens", head="tokens", about="", kind="text", values=tokens))
    _write_index(book, columns, rows, folder)
    for name, text in ASSETS.items():
        _put(folder / "assets" / name, text)
    _put(folder / "index.html", index_page(book, rows))
    _put(folder / "unit.html", unit_page(book))


def _write_units(book: Book, columns: list[Column], folder: Path) -> list[object]:
    """Write the shards of units as they come; returns the tokens that each is found by."""
    names = [f"{shown(site)} · {shown(unit)}" for site, unit in zip(book.columns["site"], book.columns["unit"], strict=True)]  # fmt: skip
    tokens: list[object] = []
    for start in range(0, len(names), UNIT_ROWS):
        words, found = Words(), []
        for row in range(start, min(start + UNIT_ROWS, len(names))):
            page = book.units(row)
            if page.row != row:
                raise SuperalignError(f"asked for the unit of row {row}, given that of row {page.row}")
            found.append(unit_data(page, columns, names, words))
            tokens.append(found_by(page))
        number = start // UNIT_ROWS
        _put(folder / f"data/units-{number:05d}.js", script("book", number, {"words": words.all, "units": found}))
    return tokens


def _write_index(book: Book, columns: list[Column], rows: int, folder: Path) -> None:
    for start in range(0, rows, INDEX_ROWS):
        number = start // INDEX_ROWS
        parts = [column.values[start : start + INDEX_ROWS] for column in columns]
        _put(folder / f"data/index-{number:05d}.js", script("bookIndex", number, parts))
    meta = {
        "title": shown(book.title),
        "rows": rows,
        "indexRows": INDEX_ROWS,
        "unitRows": UNIT_ROWS,
        "columns": [column.spec for column in columns],
    }
    _put(folder / MARK, script("bookMeta", meta))


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
