"""Your own data as a task: questions with options, preferences, labelled texts, steps, mutants. Formats: docs/data.md.

    data = own_data(Path("questions.jsonl"))                 # raises BrokenLines, which counts them and names five
    page = own_page(data, split="dev", n=200)                # items, and apart from them what is so

Ids and clusters are hashes of what is asked, never of what is right; the right option's place is drawn, evenly over
the page. Where every row has the same options (labels, yes and no) their order is one for all rows, and says nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from superalign.tasks.executing import MutantsError
from superalign.tasks.mutants import Mutant, read_mutants
from superalign.tasks.own_forms import LETTERS, OwnRow, form_of, shaped
from superalign.tasks.own_reading import Broken, DataError, Row, read_rows
from superalign.tasks.own_schema import schema
from superalign.tasks.own_splits import apart, split_of, splits

NAMED = 5
"""Broken lines that a message names; it counts them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnData:
    """A file that was found whole."""

    name: str
    """`data-STEM-DIGEST`: of the task, in tables and in the ledger."""
    form: str
    rows: tuple[OwnRow, ...]
    """Empty of mutants."""
    made: tuple[Mutant, ...]
    """Mutants, each with its split; empty of any other format."""
    splits: tuple[str, ...]
    """One a row."""
    labels: tuple[str, ...]
    """What every row chooses from, in one order; empty where each has options of its own."""
    passed_over: tuple[str, ...]
    """Fields that the format doesn't know."""
    digest: str
    """SHA-256 of what the rows say, whatever sort of file says it."""

    by_column: bool
    """Do the rows name their splits? Else the clusters' hashes decide."""


class BrokenLines(DataError):
    """Lines of a file can't be used. All are counted, and none is left out in silence: the file is not used."""

    def __init__(self, path: Path, form: str, count: int, broken: Sequence[Broken]) -> None:
        self.path, self.form, self.count, self.broken = path, form, count, tuple(broken)
        head = f"{path}: {len(broken)} of {count} rows can't be used ({form}; docs/data.md has the formats)"
        more = len(broken) - NAMED
        told = [*map(str, broken[:NAMED]), *([f"and {more} more"] if more > 0 else [])]
        super().__init__("\n  ".join([head, *told]))


def own_data(path: Path, *, name: str | None = None) -> OwnData:
    """Read and check a file, or a dataset's folder, whole.

    Raises BrokenLines when a row can't be used or can't be split honestly, DataError when there is nothing to read, the
    fields are those of no format, or labels are one, or more than 26.

    Example: `own_data(Path("questions.jsonl")).form`
    """
    found = list(read_rows(path, parts=True))
    rows = [each for each in found if isinstance(each, Row)]
    unread = [each for each in found if isinstance(each, Broken)]
    if not found:
        raise DataError(f"{path}: no rows: bring some (docs/data.md has the formats)")
    if not rows:
        raise BrokenLines(path, "no row is readable", len(found), unread)
    try:
        form = form_of(rows)
    except ValueError as error:
        if unread:
            raise BrokenLines(path, "no format", len(found), unread) from error
        raise DataError(str(error)) from error
    whole, made, broken = _mutants(rows) if form == "mutant" else _shaped(rows, form)
    if broken := _in_order(found, [*unread, *broken]):
        raise BrokenLines(path, form, len(found), broken)
    digest = _digest(form, whole, made)
    known = schema(form)["properties"]
    return OwnData(
        name=name or f"data-{_slug(path.stem)}-{digest[:8]}",
        form=form,
        rows=whole,
        made=made,
        splits=tuple(mutant.split for mutant in made) or splits(whole),
        by_column=any(row.fields.get("split") for row in rows),
        labels=_labels(path, form, whole),
        passed_over=tuple(sorted({str(name) for row in rows for name in row.fields} - set(known))),
        digest=digest,
    )


Checked = tuple[tuple[OwnRow, ...], tuple[Mutant, ...], list[Broken]]


def _shaped(rows: Sequence[Row], form: str) -> Checked:
    made = [shaped(row, form) for row in rows]
    whole = tuple(each for each in made if isinstance(each, OwnRow))
    return whole, (), [*(each for each in made if isinstance(each, Broken)), *apart(whole, form)]


def _mutants(rows: Sequence[Row]) -> Checked:
    made: dict[tuple[str, str, int, str], tuple[str, Mutant]] = {}
    home: dict[str, tuple[str, str]] = {}
    named = any(row.fields.get("split") for row in rows)
    broken = []
    for row in rows:
        try:
            (one,) = read_mutants(json.dumps(row.fields, default=str), name="?")  # tables hold dates and bytes, too
        except MutantsError as error:
            broken.append(Broken(row.where, str(error).removeprefix("?, line 1: ")))
            continue
        told = {f.name: getattr(one, f.name) for f in fields(one)}
        mutant = Mutant(**{**told, "split": one.split or split_of(one.path)})
        there, split = home.setdefault(one.path, (row.where, mutant.split))
        first, _ = made.setdefault((one.path, one.function, one.start, one.faulty), (row.where, mutant))
        if first != row.where:
            broken.append(Broken(row.where, f"repeats {first}: remove one of the two"))
        elif named and not one.split:
            broken.append(
                Broken(row.where, "split is empty, where other rows name theirs: give every row one, or none")
            )
        elif split != mutant.split:
            broken.append(
                Broken(row.where, f"its file stands in {split} ({there}) and here in {mutant.split}: give it one")
            )
    return (), tuple(mutant for _, mutant in made.values()), broken


def _in_order(found: Sequence[Row | Broken], broken: Sequence[Broken]) -> list[Broken]:
    place = {each.where: at for at, each in enumerate(found)}
    return sorted(broken, key=lambda each: place[each.where])


def _labels(path: Path, form: str, rows: Sequence[OwnRow]) -> tuple[str, ...]:
    if form == "stepwise":
        return ("right", "wrong")
    if form == "unpaired":
        return ("good", "poor")
    if form == "choice":
        sets = {frozenset(row.texts) for row in rows}
        return rows[0].texts if len(sets) == 1 and len(rows) > 1 else ()
    if form != "label":
        return ()
    labels = sorted({str(row.answer) for row in rows})
    if len(labels) < 2:
        raise DataError(f"{path}: all {len(rows)} labels are {labels[0]!r}: bring texts of two labels or more")
    if len(labels) > len(LETTERS):
        raise DataError(f"{path}: {len(labels)} different labels, and {len(LETTERS)} at most: is `label` a class?")
    return tuple(labels)


def _digest(form: str, rows: Sequence[OwnRow], made: Sequence[Mutant]) -> str:
    told = hashlib.sha256(form.encode())
    for line in _told(rows, made):
        told.update(line.encode() + b"\n")
    return told.hexdigest()


def _told(rows: Sequence[OwnRow], made: Sequence[Mutant]) -> Iterator[str]:
    for row in rows:
        yield json.dumps([getattr(row, f.name) for f in fields(row) if f.name != "where"])
    for mutant in made:
        yield json.dumps(asdict(mutant), sort_keys=True)


def _slug(stem: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:32] or "own"
