"""Columns of the book's index: what each means, which rows beat their controls, and how they are packed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from superalign.evidence import SuperalignError
from superalign.evidence.visible import visible

CONTROLS = ("unigram", "shuffled", "untrained")
NO_SCORE, NO_CONTROL = 8, 16
"""Marks of a row beside bits 1, 2 and 4: the controls, in order, that its score does not beat."""
KNOWN: dict[str, tuple[str, str]] = {
    "site": ("where", "The part of the network: its kind and block, as in neurons 2."),
    "unit": ("unit", "The number of the unit in its part."),
    "text": ("explanation", "What the best explanation says. The unit's page has the others."),
    "family": ("family", "The kind of explanation that did best."),
    "r": ("r", "Correlation of what the explanation predicts with what the unit does, on random held-out windows; below it the interval, over documents."),
    "beats": ("beats controls?", "Whether the lower end of r's interval (r itself, where there is none) lies above every control that was measured. A row that fails is no finding."),
    "unigram": ("unigram", "Control: r of a table that knows one mean for each token and nothing of the words around."),
    "shuffled": ("shuffled", "Control: r when predictions and units are shuffled; what chance gives."),
    "untrained": ("untrained", "Control: r of the same method on a network of this shape that was never trained."),
    "gain": ("gain", "What the explanation gains over the unigram table; 0 or less means that the words around add nothing."),
    "bits": ("bits", "Length of the explanation: what it would take to send it."),
    "effect": ("effect", "How much the output hangs on the unit, by attribution: a first-order estimate."),
    "ablation": ("ablate to sim.", "Ablate to simulation: the output kept when the predicted value stands in for the real one. 1 keeps it all, 0 is no better than the mean."),
    "q": ("least q", "The least false-discovery rate, over the whole network, of any concept that was searched for."),
    "mean": ("mean", "Mean activation over all tokens that count."),
    "sd": ("sd", "Standard deviation of the activation."),
    "highest": ("highest", "Highest activation seen."),
    "lowest": ("lowest", "Lowest activation seen."),
}  # fmt: skip
ORDER = tuple(KNOWN)
LEVELS = ("site", "family")
TEXTS = ("text", *LEVELS)
MADE = ("beats", "tokens")
"""Columns that the book makes by itself."""
FOLDED = ("r low", "r high")
"""Shown below r, without a column of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the index, packed for the page."""

    name: str
    head: str
    about: str
    kind: str
    """`number`, `text` or `level`: a number into `levels`."""
    values: list[object]
    levels: tuple[str, ...] = ()

    @property
    def spec(self) -> dict[str, object]:
        """What the page is told of it, beside its values."""
        return {
            "name": self.name, "head": self.head, "about": self.about, "kind": self.kind, "levels": list(self.levels),
        }  # fmt: skip


def length_of(columns: Mapping[str, Sequence[object]]) -> int:
    """Rows of the index. Raises SuperalignError where columns differ in length, `site` or `unit` is missing, or
    one has the name of a column that the book makes.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if missing := [name for name in ("site", "unit") if name not in columns]:
        raise SuperalignError(f"a book without the column {' and '.join(missing)}: give each unit's site and number")
    if taken := [name for name in MADE if name in columns]:
        raise SuperalignError(
            f"the book makes the column {' and '.join(taken)} by itself: leave it out, or rename yours"
        )
    if len(set(lengths.values())) != 1:
        said = ", ".join(f"{name} {n:,}" for name, n in lengths.items())
        raise SuperalignError(f"columns of a book differ in length ({said}): give one value a unit in each")
    return lengths["site"]


def packed_columns(columns: Mapping[str, Sequence[object]], about: Mapping[str, str]) -> list[Column]:
    """Columns in the order of the page, those of others last; with `beats`, which is computed here."""
    whole = {**columns, "beats": marks(columns).tolist()}
    names = [name for name in (*ORDER, *FOLDED) if name in whole]
    names += [name for name in whole if name not in names]
    return [_packed(name, whole[name], about) for name in names]


def _packed(name: str, values: Sequence[object], about: Mapping[str, str]) -> Column:
    head, known = KNOWN.get(name, (name, ""))
    levels: tuple[str, ...] = ()
    kept: list[object]
    if name not in TEXTS and all(value is None or _numeric(value) for value in values):
        kind, kept = "number", [rounded(value) for value in values]
    elif name in LEVELS:
        texts = [shown(value) for value in values]
        levels = tuple(dict.fromkeys(texts))
        place = {text: i for i, text in enumerate(levels)}
        kind, kept = "level", [place[text] for text in texts]
    else:
        kind, kept = "text", [shown(value) for value in values]
    said = shown(about.get(name, known))
    return Column(name=name, head=shown(head), about=said, kind=kind, values=kept, levels=levels)


def _numeric(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def marks(columns: Mapping[str, Sequence[object]]) -> np.ndarray:
    """(rows,) int: which controls the score of a row does not beat, as bits; 0 beats all that were measured.

    The score is the lower end of the interval, or r where there is none.
    """
    rows = length_of(columns)
    r, low = numbers(columns.get("r"), rows), numbers(columns.get("r low"), rows)
    score = np.where(np.isnan(low), r, low)
    found, measured = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=bool)
    for bit, name in enumerate(CONTROLS):
        control = numbers(columns.get(name), rows)
        measured |= ~np.isnan(control)
        found |= (~np.isnan(control) & ~(score > control)).astype(np.int64) << bit
    found = np.where(measured, found, NO_CONTROL)
    return np.where(np.isnan(r), NO_SCORE, found)


def mark_of(score: float | None, controls: Sequence[float | None]) -> int:
    """The mark of one explanation: `score` as in `marks`, controls in the order of CONTROLS.

    >>> mark_of(0.5, (0.6, None, 0.1))
    1
    """
    if score is None:
        return NO_SCORE
    if all(control is None for control in controls):
        return NO_CONTROL
    return sum(1 << bit for bit, control in enumerate(controls) if control is not None and not score > control)


def numbers(values: Sequence[object] | None, rows: int) -> np.ndarray:
    """(rows,) float64, NaN where there is no finite number."""
    if values is None:
        return np.full(rows, np.nan)
    found = np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)  # type: ignore[arg-type]
    return np.where(np.isfinite(found), found, np.nan)


def rounded(value: object, digits: int = 4) -> float | int | None:
    """A number to so many significant digits, as JSON has it; None for whatever isn't finite.

    >>> rounded(0.123456), rounded(3.0), rounded(float("nan"))
    (0.1235, 3, None)
    """
    if value is None or not math.isfinite(number := float(value)):  # type: ignore[arg-type]
        return None
    if number == int(number) and abs(number) < 1e15:
        return int(number)
    return float(f"{number:.{digits}g}")


def shown(text: object) -> str:
    """A text of others with what can't be seen spelled out; "" for None."""
    return "" if text is None else visible(text)
