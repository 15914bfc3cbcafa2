"""A page as preference data for TRL: pairs for its reward trainer and DPO, labelled singles for KTO.

    write_preferences(slips(split="train", view="pair"), Path("pairs.jsonl"))  # prompt, chosen, rejected
    write_preferences(slips(split="train", view="single"), Path("singles.jsonl"))  # prompt, completion, label

Only what may be trained on is exported: train and dev. Validation and test pages hold the truth that models
are measured with, and whoever fits a model to it burns it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from superalign.tasks.item import Page

PROMPTS = {
    "slips": "Code as its author left it:",
    "mutants": "A function that passes its tests:",
    "traces": "A calculation modulo ten, every step right:",
    "rules": "What follows from these rules?",
    "pixels": "Which digit is it?",
}
HELD = ("validation", "test")


def preferences(page: Page, *, quarantined: bool = False) -> list[dict[str, Any]]:
    """Rows for TRL: {prompt, chosen, rejected} of pairs and of questions, {prompt, completion, label} of singles.

    `label` is True for what is sound. A question's texts are its prompt; the next option after the right one, round
    and round, is rejected. Raises ValueError for a validation or test page, unless
    `quarantined=True` says that the rows stay in quarantine with every model they touch (rules R1 and R4).

    Example: `preferences(slips(split="train", n=100))[0].keys()`
    """
    if page.split in HELD and not quarantined:
        raise ValueError(
            f"{page.task}/{page.split} may not become training data: a model fitted to it can never "
            "be validated by it (R1), and the signal is burnt for good (R4): export train, or pass quarantined=True"
        )
    prompt = PROMPTS.get(page.task.partition(".")[0], "")
    rows: list[dict[str, Any]] = []
    for item in page.items:
        answer = int(page.truths[item.id]["answer"])
        if item.options == ("a", "b"):
            sound, altered = item.options[answer], item.options[1 - answer]
            rows.append({"prompt": prompt, "chosen": item.input[sound], "rejected": item.input[altered]})
        elif "code" in item.input:
            rows.append({"prompt": prompt, "completion": item.input["code"], "label": answer == 0})
        else:
            wrong = item.options[(answer + 1) % len(item.options)]
            asked = "\n".join(item.input[name] for name in sorted(item.input))
            rows.append({"prompt": f"{prompt}\n{asked}", "chosen": item.options[answer], "rejected": wrong})
    return rows


def write_preferences(page: Page, path: Path, *, quarantined: bool = False) -> int:
    """Write `preferences(page)` to `path` as JSON Lines, UTF-8; returns how many rows.

    Raises ValueError as `preferences` does, and then writes nothing.

    Example: `write_preferences(traces(split="train", n=100), Path("singles.jsonl"))`
    """
    rows = preferences(page, quarantined=quarantined)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return len(rows)
