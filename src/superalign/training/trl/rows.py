"""Rows to fine-tune on, in TRL's formats, checked before anything is loaded: an error names row, field and what to do.

    checked(read_rows(Path("pairs.jsonl")), "dpo")

| method | a row |
|---|---|
| sft | {prompt, completion}, {text} or {messages}; of a preference the chosen text is taken |
| reward, dpo | {prompt, chosen, rejected}, and `sure`, P(chosen is better), where the label is soft |
| grpo | {prompt}; every other column goes to the reward |

Texts are strings, or lists of messages {role, content} (conversational), all rows alike. Two formats are made and not
trained on here, unpaired (KTO) and stepwise (process rewards): `superalign.tasks.own_export`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from superalign.training.trl.errors import FinetuneError

Row = Mapping[str, Any]
COLUMNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "sft": (("prompt", "completion"), ("prompt", "chosen"), ("text",), ("messages",)),
    "reward": (("prompt", "chosen", "rejected"),),
    "dpo": (("prompt", "chosen", "rejected"),),
    "grpo": (("prompt",),),
}
"""Method → the sets of columns that it can be trained on."""
TEXTS = ("prompt", "completion", "chosen", "rejected", "text", "messages")
"""Columns that a model reads."""
LONGEST_LINE = 1 << 24
"""Characters: what is longer is no row but a damaged file."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file, UTF-8, blank lines left out; each knows its line as `line`.

    Raises FinetuneError that names file and line where one is no JSON object, or nothing is there.
    """
    if not path.is_file():
        raise FinetuneError(f"{path}: there is no such file: give a file of JSON Lines, one row a line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FinetuneError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from error
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: a text may hold U+2028 and its like
        if not line.strip():
            continue
        try:
            row = json.loads(line) if len(line) <= LONGEST_LINE else None
        except (ValueError, RecursionError) as error:
            raise FinetuneError(f"{path}, line {number}: not JSON ({error}): mend it or leave it out") from error
        if not isinstance(row, dict):
            raise FinetuneError(f"{path}, line {number}: not a JSON object {{…}}: mend it or leave it out")
        rows.append({**row, "line": number})
    if not rows:
        raise FinetuneError(f"{path}: no rows in it: nothing can be trained")
    return rows


def checked(rows: Sequence[Row], method: str) -> list[dict[str, Any]]:
    """The rows with the columns that the method is trained on (for `grpo` all of them), each of them checked.

    Raises FinetuneError that names row (and line, where known) and field.
    """
    if not rows:
        raise FinetuneError(f"no rows: nothing to train by {method}")
    wanted = _columns(rows[0], method)
    kind = _kind(rows[0].get(wanted[0]))
    out = []
    for i, row in enumerate(rows):
        for name in wanted:
            _check_text(row, i, name, wanted[0], kind, method)
        kept = {name: row[name] for name in wanted}
        if method in ("reward", "dpo"):
            kept["sure"] = _sure(row, i)
        if method == "grpo":
            kept = {name: value for name, value in row.items() if name != "line"}
        if method == "sft" and "chosen" in kept:
            kept["completion"] = kept.pop("chosen")
        out.append(kept)
    return out


def conversational(rows: Sequence[Row]) -> bool:
    """Is what a model reads of these rows lists of messages? Other columns may be lists of anything."""
    return any(_kind(rows[0][name]) == "messages" for name in TEXTS if name in rows[0])


def believed(rows: Sequence[Row], first: Sequence[float]) -> list[dict[str, Any]]:
    """Preferences by what somebody believes: rows {prompt, first, second}, and P(first is better) of each.

    The likelier text is chosen, `sure` is its probability; other columns stay. Raises FinetuneError for beliefs that
    are no probabilities.

    >>> believed([{"prompt": "p", "first": "a", "second": "b"}], [0.25])
    [{'prompt': 'p', 'chosen': 'b', 'rejected': 'a', 'sure': 0.75}]
    """
    out = []
    for i, (row, p) in enumerate(zip(rows, first, strict=True)):
        if not 0 <= p <= 1:
            raise FinetuneError(f"row {i}: the belief {p} is no probability: a failed judge believes 0.5")
        sides = (row["first"], row["second"]) if p >= 0.5 else (row["second"], row["first"])
        rest = {name: value for name, value in row.items() if name not in ("prompt", "first", "second")}
        out.append({"prompt": row["prompt"], "chosen": sides[0], "rejected": sides[1], "sure": max(p, 1 - p)} | rest)
    return out


def _columns(row: Row, method: str) -> tuple[str, ...]:
    for columns in COLUMNS[method]:
        if set(columns) <= set(row):
            return columns
    formats = " or ".join("{" + ", ".join(columns) + "}" for columns in COLUMNS[method])
    missing = next(name for name in COLUMNS[method][0] if name not in row)
    raise FinetuneError(f"{_place(row, 0)}: the field {missing!r} is missing: a row of {method} is {formats}")


def _kind(value: Any) -> str:
    return "messages" if isinstance(value, list) else "text"


def _check_text(row: Row, i: int, name: str, first: str, kind: str, method: str) -> None:
    where = f"{_place(row, i)}, field {name!r}"
    if name not in row:
        raise FinetuneError(f"{where} is missing, the first row has it: all rows of {method} are alike")
    value = row[name]
    if isinstance(value, str) and kind == "text":
        if not value.strip() and name != "prompt":
            raise FinetuneError(f"{where} is empty: there is nothing to learn in it, leave the row out")
        _check_whole(where, value)
    elif isinstance(value, list) and kind == "messages" and value:
        for message in value:
            fine = isinstance(message, dict) and all(isinstance(message.get(k), str) for k in ("role", "content"))
            if not fine:
                raise FinetuneError(f"{where}: {str(message)[:60]!r} is no message: write {{role, content}}, both text")
            _check_whole(where, message["role"] + message["content"])
    else:
        what = f"is {_named(value)}"
        like = f"the first row's {first!r} is {'a list of messages' if kind == 'messages' else 'text'}"
        raise FinetuneError(f"{where} {what}, {like}: a text, or a list of messages, is needed, all rows alike")


def _check_whole(where: str, text: str) -> None:
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
        raise FinetuneError(f"{where} holds half a character (a lone surrogate), which is no text: mend it")


def _named(value: Any) -> str:
    return "an empty list" if value == [] else f"{type(value).__name__} {str(value)[:40]!r}"


def _sure(row: Row, i: int) -> float:
    value = row.get("sure", 1.0)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not 0 <= value <= 1:
        raise FinetuneError(f"{_place(row, i)}, field 'sure': {value!r} is no probability from 0 to 1")
    return float(value)


def _place(row: Row, i: int) -> str:
    return f"row {i}" + (f" (line {row['line']})" if "line" in row else "")
