"""Your own questions: JSON Lines, a Hugging Face dataset on disk, Parquet or Arrow.

    questions = load_questions(Path("pairs.jsonl"))                      # chosen, rejected
    questions = load_questions(Path("reviews.jsonl"), yes="positive")    # text, label

Columns: `chosen` and `rejected`, or `text` and `label` (0/1, true/false, or two words, of which `yes` is named). What
may be there too: `prompt` (stands before the texts), `id`, `cluster` (what is split and resampled together; by default
the prompt, where there is one, or the question itself), `kind`, `split`. Other columns are passed over.

Half of the pairs, drawn by the seed, are shown with the chosen text first. A row that is broken is named.
Files are read by `superalign.tasks.own_reading`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superalign.generalization.questions import Questions
from superalign.tasks.own_reading import Broken, DataError, Row, read_rows

__all__ = ["DataError", "load_questions"]

PAIR, SINGLE = ("chosen", "rejected"), ("text", "label")
USUAL = {frozenset({"0", "1"}): "1", frozenset({"false", "true"}): "true"}
"""Labels that need no naming → the one that means yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One row that was found whole."""

    where: str
    id: str
    cluster: str
    kind: str
    texts: tuple[str, ...]
    label: str


def load_questions(path: Path, *, split: str | None = None, yes: str | None = None, seed: int = 0) -> Questions:
    """Questions of a `.jsonl`, `.parquet` or `.arrow` file, or of a folder that `Dataset.save_to_disk` wrote.

    `split` takes the rows of that split only, by the column or by the folder's own splits. Raises DataError where there
    is nothing, a row is broken, a column is missing, a text is empty, labels are not two, or an id comes twice.

    Example: `load_questions(Path("pairs.jsonl"), split="train")`
    """
    rows = [row for row in _rows(path, split) if split is None or row[1].get("split", split) == split]
    if not rows:
        raise DataError(f"{path}: no rows{f' of split {split!r}' if split else ''}: bring some, or name another split")
    columns = _columns(*rows[0])
    asked = [_asked(where, row, columns, number) for number, (where, row) in enumerate(rows, start=1)]
    _unique(asked)
    truth = _drawn(len(asked), seed) if columns == PAIR else _yes(asked, yes, path)
    if columns == PAIR and yes is not None:
        raise DataError(f"{path}: yes={yes!r} names a label, and these are pairs without labels: leave it out")
    sides = [a.texts if columns == SINGLE or chosen else a.texts[::-1] for a, chosen in zip(asked, truth, strict=True)]
    return Questions(
        ids=tuple(a.id for a in asked),
        first=tuple(texts[0] for texts in sides),
        second=tuple(texts[1] for texts in sides) if columns == PAIR else None,
        truth=truth,
        clusters=np.array([a.cluster for a in asked]),
        kinds=np.array([a.kind for a in asked]),
    )


def _rows(path: Path, split: str | None) -> Iterator[Row]:
    for row in read_rows(path, split=split):
        if isinstance(row, Broken):
            raise DataError(str(row))
        yield row


def _columns(where: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """Which two columns hold the question."""
    found = [columns for columns in (PAIR, SINGLE) if set(columns) & set(row)]
    if len(found) != 1:
        there = ", ".join(map(str, row)) or "none"
        raise DataError(f"{where}: columns {there}: bring either chosen and rejected, or text and label")
    return found[0]


def _asked(where: str, row: Mapping[str, Any], columns: tuple[str, str], number: int) -> _Asked:
    if missing := [name for name in columns if row.get(name) is None]:
        raise DataError(f"{where}: no {missing[0]!r}: give every row {columns[0]} and {columns[1]}")
    prompt = row.get("prompt") or ""
    told = {name: row[name] for name in columns if name != "label"}
    for name, text in (told | {"prompt": prompt}).items():
        if not isinstance(text, str) or not (text.strip() or name == "prompt"):
            raise DataError(f"{where}: {name} is {text!r}, which is no text: mend or remove the row")
    texts = tuple(told.values())
    if columns == PAIR and texts[0] == texts[1]:
        raise DataError(f"{where}: chosen and rejected are the same text: mend or remove the row")
    own = str(row["id"]) if row.get("id") is not None else f"{number:06d}"
    cluster = row.get("cluster")
    return _Asked(
        where=where,
        id=own,
        cluster=str(cluster) if cluster is not None else prompt or own,
        kind=str(row.get("kind") or ""),
        texts=tuple(f"{prompt}\n{text}" if prompt else text for text in texts),
        label=_label(where, row["label"]) if columns == SINGLE else "",
    )


def _label(where: str, label: Any) -> str:
    """0, 1, true, false or a word, as text."""
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, int) or (isinstance(label, float) and label.is_integer()):
        return str(int(label))
    if isinstance(label, str) and label.strip():
        return label.strip().lower() if label.strip().lower() in ("true", "false") else label.strip()
    raise DataError(f"{where}: label {label!r} is neither 0 or 1, true or false, nor a word: mend or remove the row")


def _unique(asked: Sequence[_Asked]) -> None:
    seen: dict[str, str] = {}
    for a in asked:
        if a.id in seen:
            raise DataError(f"{a.where}: id {a.id!r} is that of {seen[a.id]} too: give each row its own, or none")
        seen[a.id] = a.where


def _drawn(n: int, seed: int) -> np.ndarray:
    """(n,) bool, half of them true: whose chosen text comes first."""
    return np.asarray(np.random.default_rng([seed, 67]).permutation(n) % 2 == 0)


def _yes(asked: Sequence[_Asked], yes: str | None, path: Path) -> np.ndarray:
    """(n,) bool."""
    first: dict[str, str] = {}
    for a in asked:
        first.setdefault(a.label, a.where)
    names = list(first)
    if len(names) > 2:
        known = " and ".join(map(repr, names[:2]))
        raise DataError(f"{first[names[2]]}: label {names[2]!r}, and {known} are there already: two labels only")
    if len(names) < 2:
        raise DataError(f"{path}: all {len(asked)} labels are {names[0]!r}: bring questions of both classes")
    meant = yes if yes is not None else USUAL.get(frozenset(names))
    if meant not in names:
        said = f"not {yes!r}: name" if yes is not None else "and nothing says which means yes: name"
        raise DataError(f"{path}: the labels are {names[0]!r} and {names[1]!r}, {said} one of them (yes={names[1]!r})")
    return np.array([a.label == meant for a in asked])
