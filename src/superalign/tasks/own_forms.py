"""One row of your own data, read strictly: which format it has, and what it says.

    form = form_of(rows)                         # "choice", "preference", "label", "unpaired", "stepwise" or "mutant"
    shaped(row, form)                            # OwnRow, or Broken with what is wrong and what to do

Formats are the JSON Schemas of `own_schema`; what a schema can't say (options that are alike, an answer out of range)
is said here. Fields that a format doesn't know are passed over, and `superalign tasks check` names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superalign.tasks.own_reading import Broken, Row
from superalign.tasks.own_schema import FORMS, misfit, schema, shown

PARTS = {
    "choice": ("question", "options", "answer"),
    "preference": ("chosen", "rejected"),
    "label": ("text", "label"),
    "unpaired": ("completion", "label"),
    "stepwise": ("completions", "labels"),
    "mutant": ("sound", "faulty", "witness"),
}
"""Fields by which a format is told."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALL = "question, options, answer · prompt, chosen, rejected · text, label · prompt, completion, label · "
ALL += "prompt, completions, labels · mutants as `superalign tasks mutants` writes them"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRow:
    """One row that was found whole."""

    where: str
    id: str
    """The user's; empty where the row has none."""
    cluster: str
    """What is split and resampled together, in the user's words."""
    split: str
    """Empty where the row doesn't say."""
    kind: str
    difficulty: float | None
    question: str
    """The question or prompt; empty where there is none."""
    context: str
    texts: tuple[str, ...]
    """Options; or chosen and rejected; or the text; or the steps."""
    answer: int | str | tuple[bool, ...]
    """Place of the right option (0 of chosen and rejected); the label; or which steps are right."""

    @property
    def content(self) -> tuple[object, ...]:
        """What a model is shown, in no order that tells anything: equal for rows that ask the same."""
        ordered = self.texts if isinstance(self.answer, tuple) else sorted(map(plain, self.texts))
        return plain(self.question), plain(self.context), *map(plain, ordered)

    @property
    def asked(self) -> str:
        """What must not stand in two splits: the question with its passage, or where there is none the texts."""
        return plain(f"{self.context} {self.question}") or " ".join(sorted(map(plain, self.texts)))


def plain(text: str) -> str:
    """A text but for case and white space.

    >>> plain(" Which  one?\\n")
    'which one?'
    """
    return " ".join(text.casefold().split())


def form_of(rows: Sequence[Row]) -> str:
    """The format of the first row. Raises ValueError where its fields are those of none, or of two alike."""
    fields = {name for name, value in rows[0].fields.items() if value is not None}
    shares = {form: sum(part in fields for part in parts) / len(parts) for form, parts in PARTS.items()}
    best = max(shares.values())
    found = [form for form in FORMS if shares[form] == best]
    if best == 0 or len(found) > 1:
        there = ", ".join(map(str, rows[0].fields)) or "none"
        which = "no format" if best == 0 else f"{' and '.join(found)} alike"
        raise ValueError(f"{rows[0].where}: its fields ({there}) are those of {which}: bring one of {ALL}")
    return found[0]


def shaped(row: Row, form: str) -> OwnRow | Broken:
    """What a row says, or why it can't be used. Mutants aren't shaped here: `load_mutants` reads them."""
    fields, where = row.fields, row.where
    if (why := misfit(fields, schema(form))) is not None:
        return Broken(where, why)
    made = _SHAPES[form](fields)
    if isinstance(made, str):
        return Broken(where, made)
    question, context, texts, answer = made
    cluster = fields.get("cluster")
    default = context or (question if form != "label" else "") or "\n".join(sorted(texts))
    return OwnRow(
        where=where,
        id="" if fields.get("id") is None else _name(fields["id"]),
        cluster=plain(default) if cluster is None else _name(cluster),
        split=fields.get("split") or "",
        kind=fields.get("kind") or "",
        difficulty=None if fields.get("difficulty") is None else float(fields["difficulty"]),
        question=question,
        context=context,
        texts=texts,
        answer=answer,
    )


def _name(value: int | float | str) -> str:
    """An id or a cluster as a word: tables write whole numbers as 1.0 where another row has none."""
    return value if isinstance(value, str) else str(int(value))


Shape = tuple[str, str, tuple[str, ...], int | str | tuple[bool, ...]]
"""(question, context, texts, answer)."""


def _choice(fields: Mapping[str, Any]) -> Shape | str:
    options = tuple(fields["options"])
    alike = {plain(option): at for at, option in reversed(list(enumerate(options)))}
    if len(alike) < len(options):
        at = next(at for at, option in enumerate(options) if alike[plain(option)] != at)
        return f"options {alike[plain(options[at])]} and {at} are both {shown(options[at])}: mend or remove the row"
    answer = _place(fields["answer"], options)
    return answer if isinstance(answer, str) else (fields["question"], fields.get("context") or "", options, answer)


def _place(answer: int | float | str, options: tuple[str, ...]) -> int | str:
    """Place of the right option, or why there is none. A text is an option first, and a letter only then."""
    if not isinstance(answer, str):
        if 0 <= answer < len(options):
            return int(answer)
        return f"answer is {shown(int(answer))}, and the options are numbered 0 to {len(options) - 1}: give one of them"
    if answer in options:
        return options.index(answer)
    if answer and answer in LETTERS and LETTERS.index(answer) < len(options):
        return LETTERS.index(answer)
    return f"answer is {shown(answer)}, which is none of the options: give its text or, from 0, its place"


def _preference(fields: Mapping[str, Any]) -> Shape | str:
    texts = (fields["chosen"], fields["rejected"])
    if plain(texts[0]) == plain(texts[1]):
        return "chosen and rejected are the same text: mend or remove the row"
    return fields.get("prompt") or "", "", texts, 0


def _label(fields: Mapping[str, Any]) -> Shape | str:
    label = fields["label"]
    if isinstance(label, str) and not label.strip():
        return "label is empty: give 0 or 1, true or false, or a word"
    return fields.get("prompt") or "", "", (fields["text"],), label_word(label)


def label_word(label: bool | int | float | str) -> str:
    """A label as a word.

    >>> [label_word(label) for label in (True, 1.0, "False", " spam ")]
    ['true', '1', 'false', 'spam']
    """
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, int | float):
        return str(int(label))
    word = label.strip()
    return word.lower() if word.lower() in ("true", "false") else word


def _unpaired(fields: Mapping[str, Any]) -> Shape | str:
    return fields["prompt"], "", (fields["completion"],), str(fields["label"]).lower()


def _stepwise(fields: Mapping[str, Any]) -> Shape | str:
    steps, labels = tuple(fields["completions"]), tuple(fields["labels"])
    if len(steps) != len(labels):
        return f"{len(steps)} completions and {len(labels)} labels: give every step one label"
    return fields["prompt"], "", steps, labels


_SHAPES = {
    "choice": _choice,
    "preference": _preference,
    "label": _label,
    "unpaired": _unpaired,
    "stepwise": _stepwise,
}
