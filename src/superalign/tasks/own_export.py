"""Rows for training in TRL's three formats, from a page of any task or from your own data.

    exported(traces(split="train", n=100), "stepwise")        # prompt, completions, labels
    own_rows(own_data(Path("questions.jsonl")), "train", "preference")

`auto`: what the page has.
`preference`: prompt, chosen, rejected. `unpaired`: prompt, completion, label. `stepwise`: prompt, completions, labels
(one a step: is it right?). Validation and test are no training data: whoever fits a model to them burns them (R1, R4).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from superalign.tasks.item import Page
from superalign.tasks.own import OwnData
from superalign.tasks.own_forms import OwnRow
from superalign.tasks.own_pages import own_page
from superalign.tasks.preferences import HELD, PROMPTS, preferences

FORMATS = ("auto", "preference", "unpaired", "stepwise")
STEP = 5
"""Words of a step of a calculation."""


def exported(page: Page, wanted: str, *, quarantined: bool = False) -> list[dict[str, Any]]:
    """The rows of a page in one format.

    Of a pair, unpaired makes two rows; only calculations have steps. Raises ValueError for an unknown format, one that
    the page can't be written in, and for a validation or test page (unless `quarantined`, as in `preferences`).

    Example: `exported(slips(split="train", n=10), "unpaired")[0]["label"]`
    """
    _known(wanted)
    rows = preferences(page, quarantined=quarantined)
    if wanted == "auto":
        return rows
    if wanted == "stepwise":
        return list(_stepwise(page))
    if wanted == "unpaired":
        return [each for row in rows for each in _unpaired(row)]
    if any("chosen" not in row for row in rows):
        raise ValueError(
            f"{page.task}/{page.split}: single texts have no pair: take the pair view, or write unpaired rows"
        )
    return rows


def own_rows(data: OwnData, split: str, wanted: str, *, quarantined: bool = False) -> list[dict[str, Any]]:
    """The rows of one split of your own data in one format, in the file's order.

    Questions and labels become the right option against the next one, round and round; steps become unpaired rows by
    whether all are right. Raises ValueError as `exported` does.
    """
    _known(wanted)
    if data.form == "mutant":
        return exported(own_page(data, split=split), wanted, quarantined=quarantined)
    if split in HELD and not quarantined:
        raise ValueError(
            f"{data.name}/{split} may not become training data: a model fitted to it can never be validated by it "
            "(R1), and the signal is burnt for good (R4): export train, or pass quarantined=True"
        )
    if wanted == "auto":
        wanted = data.form if data.form in FORMATS else "preference"
    if (wanted == "stepwise" and data.form != "stepwise") or (wanted, data.form) in _NONE:
        raise ValueError(f"{data.name}: rows of {data.form} can't be written as {wanted}: choose another format")
    held = [row for row, where in zip(data.rows, data.splits, strict=True) if where == split]
    return [each for row in held for each in _written(data, row, wanted)]


def written(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows as JSON Lines, UTF-8. Raises ValueError where the folder isn't there, or nothing may be written."""
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: there is no folder {path.parent}: make it first, or name another file")
    try:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"--out {path} can't be written ({error.strerror}): name another file") from error


_NONE = {("preference", "stepwise"), ("preference", "unpaired")}


def _known(wanted: str) -> None:
    if wanted not in FORMATS:
        raise ValueError(f"there is no format {wanted!r}: use one of {', '.join(FORMATS)}")


def _written(data: OwnData, row: OwnRow, wanted: str) -> Iterator[dict[str, Any]]:
    if data.form == "stepwise":
        assert isinstance(row.answer, tuple)
        if wanted == "stepwise":
            yield {"prompt": row.question, "completions": list(row.texts), "labels": list(row.answer)}
        else:
            yield {"prompt": row.question, "completion": "\n".join(row.texts), "label": all(row.answer)}
    elif data.form == "unpaired":
        yield {"prompt": row.question, "completion": row.texts[0], "label": row.answer == "true"}
    else:
        pair = _pair(data, row)
        yield from (_unpaired(pair) if wanted == "unpaired" else [pair])


def _pair(data: OwnData, row: OwnRow) -> dict[str, Any]:
    if data.form == "preference":
        return {"prompt": row.question, "chosen": row.texts[0], "rejected": row.texts[1]}
    texts, asked = row.texts, [row.context, row.question]
    right = int(row.answer) if data.form == "choice" else data.labels.index(str(row.answer))
    if data.form == "label":
        texts, asked = data.labels, [row.question, row.texts[0]]
    prompt = "\n".join(part for part in asked if part)
    return {"prompt": prompt, "chosen": texts[right], "rejected": texts[(right + 1) % len(texts)]}


def _unpaired(row: dict[str, Any]) -> list[dict[str, Any]]:
    if "completion" in row:
        return [row]
    return [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": True},
        {"prompt": row["prompt"], "completion": row["rejected"], "label": False},
    ]


def _stepwise(page: Page) -> Iterator[dict[str, Any]]:
    if not page.task.startswith("traces."):
        raise ValueError(f"{page.task}/{page.split}: only calculations (traces) have steps: choose another format")
    for item in page.items:
        truth = page.truths[item.id]
        wrong = [name for name in item.input if len(item.input) == 1 or name != item.options[truth["answer"]]]
        for name, text in item.input.items():
            words = text.split()
            steps = [" ".join(words[at : at + STEP]) for at in range(2, len(words), STEP)]
            place = truth["place"] if name in wrong else None
            labels = [step != place for step in range(len(steps))]
            yield {"prompt": f"{PROMPTS['traces']}\n{' '.join(words[:2])}", "completions": steps, "labels": labels}
