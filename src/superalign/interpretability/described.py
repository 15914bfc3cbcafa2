"""Explanations by language models: what they say of a unit, and how they judge windows by what was said.

    told = describe(complete, sample, shown, units=(3, 7), seed=0)       # train rows: they are shown to the model
    told.texts[3], told.garbage
    judged = judge(complete, "detect", told.texts, shown_held_out, sample_held_out, seed=0)
    detection(shown_held_out, judged.scores)

An answer that can't be read is counted by kind. A unit without a readable explanation has none; a window without a
readable judgement stands at one half, between yes and no: never as a no.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from superalign.interpretability.completers import Completer, Garbage, Messages, Schema, parsed
from superalign.interpretability.explanation import WORDS, Sample
from superalign.interpretability.judging import Shown, highlights
from superalign.interpretability.prompt_files import Prompt, load_prompt
from superalign.interpretability.windows import RADIUS, around

EXAMPLES, QUIET, BATCH = 10, 4, 5
EXPLANATION: Schema = {
    "type": "object",
    "properties": {"explanation": {"type": "string", "maxLength": 400}},
    "required": ["explanation"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a language model said of some units."""

    texts: Mapping[int, str]
    """Unit → explanation; none for a unit whose answer could not be read."""
    garbage: Mapping[str, int]
    """Kind → how many answers."""
    calls: int
    prompt: str
    """Digest of the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What a language model said of windows."""

    scores: np.ndarray
    """(windows, width, units) 0, 1, or ½ where no answer could be read; of units without a text ½ throughout."""
    garbage: Mapping[str, int]
    """Kind → how many windows."""
    calls: int
    windows: int
    """Windows that were asked about."""


def describe(
    complete: Completer,
    sample: Sample,
    shown: Shown,
    *,
    units: Sequence[int],
    seed: int,
    understood: str = "",
    prompt: Prompt | None = None,
) -> Described:
    """Ask what each unit does, by windows of a held-in sample: active ones with strengths, and quiet ones.

    With `understood`, as in `compiled.UNDERSTOOD`, for text in a language that compiles. Raises ValueError for
    sequences that aren't held in: what explains never sees what scores.
    """
    prompt = prompt or load_prompt("explain")
    texts, garbage = dict[int, str](), Counter[str]()
    for unit, messages in questions(sample, shown, units=units, understood=understood, prompt=prompt):
        try:
            text = parsed(complete(messages, schema=EXPLANATION, seed=seed), EXPLANATION)["explanation"].strip()
            if not understood and len(text.split()) > WORDS:
                raise Garbage("too long")
            texts[unit] = text
        except Garbage as error:
            garbage[error.kind] += 1
    return Described(texts=texts, garbage=dict(garbage), calls=len(units), prompt=prompt.digest)


def questions(
    sample: Sample, shown: Shown, *, units: Sequence[int], understood: str = "", prompt: Prompt | None = None
) -> list[tuple[int, Messages]]:
    """Each unit, and what is asked about it. Raises ValueError for sequences that aren't held in."""
    sample.held_in()
    prompt = prompt or load_prompt("explain")
    language = prompt.fill("language", understood=understood) if understood else ""
    asked: list[tuple[int, Messages]] = []
    for unit in units:
        active, quiet = (list(_lines(sample, shown, unit, label)) for label in (True, False))
        windows = {"windows": "\n".join(active[:EXAMPLES]), "quiet": "\n".join(quiet[:QUIET])}
        system = {"role": "system", "content": prompt.fill("system", words=WORDS, language=language)}
        asked.append((unit, (system, {"role": "user", "content": prompt.fill("user", **windows)})))
    return asked


def judge(
    complete: Completer,
    task: str,
    texts: Mapping[int, str],
    shown: Shown,
    sample: Sample,
    *,
    seed: int,
    batch: int = BATCH,
) -> Judged:
    """Ask of windows, `batch` a prompt, whether the unit is active ("detect"), or its highlights are right ("fuzz").

    Scores are for `detection`; of "fuzz", (2k, …), for `areas`: right ones, then wrong ones, as `highlights` has them.
    The windows of one prompt are shuffled. Raises ValueError for another task.
    """
    if task not in ("detect", "fuzz"):
        raise ValueError(f"no judgement is called {task!r}: use 'detect' or 'fuzz'")
    prompt, rng = load_prompt(task), np.random.default_rng([seed, 137])
    if task == "fuzz":
        which, marks = highlights(shown, seed=seed)
    else:
        which, marks = np.arange(len(shown.label)), np.zeros(shown.counted.shape, dtype=bool)
    scores = np.full(marks.shape, 0.5, dtype=np.float32)
    garbage, calls, windows = Counter[str](), 0, 0
    for unit, text in texts.items():
        usable = shown.windows.rows[which, unit] >= 0
        if task == "fuzz":
            usable &= marks[:, :, unit].any(1)
        order = rng.permutation(np.flatnonzero(usable))
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            lines = [window_text(sample, shown, unit, int(which[i]), marks[i, :, unit]) for i in some]
            listed = "\n".join(f"{i + 1}. {line}" for i, line in enumerate(lines))
            messages = (
                {"role": "system", "content": prompt.fill("system", count=len(some))},
                {"role": "user", "content": prompt.fill("user", explanation=text, windows=listed)},
            )
            calls, windows = calls + 1, windows + len(some)
            schema = _answers(len(some))
            try:
                said = parsed(complete(messages, schema=schema, seed=seed), schema)["active"]
                scores[some, :, unit] = np.array(said, dtype=np.float32)[:, None]
            except Garbage as error:
                garbage[error.kind] += len(some)
    return Judged(scores=scores, garbage=dict(garbage), calls=calls, windows=windows)


def _answers(count: int) -> Schema:
    numbers = {"type": "array", "items": {"type": "integer", "enum": [0, 1]}, "minItems": count, "maxItems": count}
    return {"type": "object", "properties": {"active": numbers}, "required": ["active"], "additionalProperties": False}


def _lines(sample: Sample, shown: Shown, unit: int, label: bool) -> Iterator[str]:
    for k in np.flatnonzero((shown.label == label) & (shown.windows.rows[:, unit] >= 0)):
        yield window_text(sample, shown, unit, int(k), shown.active[k, :, unit], strengths=True)


def window_text(sample: Sample, shown: Shown, unit: int, k: int, marks: np.ndarray, *, strengths: bool = False) -> str:
    """One window of a unit, marked tokens in «marks», with their strength from 1 to 10 if asked for."""
    row, place = shown.windows.rows[k, unit], shown.windows.places[k, unit]
    window = around(sample.corpus, np.array([row]), np.array([place]), (shown.counted.shape[1] - 1) // 2 or RADIUS)
    largest = float(np.abs(sample.values[:, unit]).max()) or 1.0
    values = row_values(sample, int(row), unit)
    said = []
    for at, inside, marked in zip(window.places[0], window.counted[0], marks, strict=True):
        if inside:
            word = sample.words[sample.corpus.ids[row, at]]
            strength = f" {max(1, round(10 * abs(values[at]) / largest))}" if strengths else ""
            said.append(f"«{word}{strength}»" if marked else word)
    return " ".join(said)


def row_values(sample: Sample, row: int, unit: int) -> np.ndarray:
    """(length,) what a unit does on one of the sample's sequences; 0 where tokens don't count."""
    at = int(np.searchsorted(sample.rows, row))
    start = int(sample.counted[:at].sum())
    found = np.zeros(sample.corpus.length, dtype=np.float32)
    found[sample.counted[at]] = sample.values[start : start + int(sample.counted[at].sum()), unit]
    return found
