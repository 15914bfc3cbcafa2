"""Shards of the book: scripts that only hand data over, so that pages load them from disk without a server.

A shard of units is `book(12, {"words": [...], "units": [...]});`. Tokens are numbers into the shard's words, values
whole thousandths of the largest of their kind on the page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from superalign.evidence import SuperalignError
from superalign.report.book_columns import Column, mark_of, rounded, shown
from superalign.report.book_view import Said, Score, UnitPage, Window, amount_of

STEPS = 1000
"""Values of windows are told to a thousandth of the largest."""
SCORES = ("r", "top_and_random", "gain", "detection", "fuzzing", "shuffled", "untrained")
MAX_FOUND = 24
"""Tokens by which the index finds a unit."""
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def script(call: str, *parts: object) -> str:
    """A script that calls one function with data: ASCII only, without any character that HTML could take up.

    >>> script("book", 1, ["</script>"])
    'book(1, ["\\\\u003c/script\\\\u003e"]);\\n'
    """
    said = [json.dumps(part, ensure_ascii=True, allow_nan=False, separators=(",", ":")) for part in parts]
    return f"{call}({', '.join(said)});\n".translate(_ESCAPES)


@lru_cache(maxsize=1 << 16)
def token_text(token: str) -> str:
    """A token for people: what can't be seen is spelled out, line ends and tabs have signs.

    >>> token_text("a\\n\\tb")
    'a↵⇥b'
    """
    return shown(token).replace("\n", "↵").replace("\t", "⇥")


class Words:
    """Numbers tokens as they come, for one shard."""

    def __init__(self) -> None:
        self.place: dict[str, int] = {}

    def numbers(self, tokens: Sequence[str]) -> list[int]:
        """The number of each token."""
        return [self.place.setdefault(token_text(token), len(self.place)) for token in tokens]

    @property
    def all(self) -> list[str]:
        """The words, by number."""
        return list(self.place)


def unit_data(page: UnitPage, columns: Sequence[Column], names: Sequence[str], words: Words) -> dict[str, object]:
    """One unit as its page reads it; `names` are what rows of the index are called.

    Raises SuperalignError for windows whose tokens and values differ in number, and neighbours that are no row.
    """
    _checked(page, len(names))
    scale = _scale([window.values for each in page.windows.values() for window in each])
    both = _scale([row for _, real, simulated in page.simulated for row in (real, simulated)])
    unigram = next((column.values[page.row] for column in columns if column.name == "unigram"), None)
    edges, counts = page.histogram if page.histogram is not None else ((), ())
    return {
        "row": page.row,
        "index": [column.values[page.row] for column in columns],
        "scale": rounded(scale),
        "windows": [
            [shown(name), [_window(each, scale, words) for each in found]] for name, found in page.windows.items()
        ],
        "said": [_said(each, unigram) for each in page.said],
        "both": rounded(both),
        "simulated": [
            [words.numbers(tokens), thousandths(real, both), thousandths(simulated, both)]
            for tokens, real, simulated in page.simulated
        ],
        "histogram": [[rounded(x) for x in edges], [rounded(x) for x in counts]],
        "causal": [[shown(name), *map(rounded, rest), shown(note)] for name, *rest, note in page.causal],
        "neighbours": [[int(row), names[row], rounded(r)] for row, r in sorted(page.neighbours, key=lambda each: -abs(each[1]))],
        "concepts": [[shown(name), *map(rounded, rest)] for name, *rest in page.concepts],
        "tokens": [[token_text(token), rounded(mean)] for token, mean in sorted(page.tokens, key=lambda each: -each[1])],
    }  # fmt: skip


def _checked(page: UnitPage, rows: int) -> None:
    windows = [(name, window) for name, found in page.windows.items() for window in found]
    bad = [name for name, w in windows if len(w.tokens) != len(w.values) or not 0 <= w.at < len(w.tokens)]
    bad += ["simulated" for tokens, *values in page.simulated if any(len(v) != len(tokens) for v in values)]
    if page.histogram is not None and len(page.histogram[0]) != len(page.histogram[1]) + 1:
        bad.append("histogram")
    if any(not 0 <= row < rows for row, _ in page.neighbours):
        bad.append("neighbours")
    if bad:
        raise SuperalignError(
            f"unit in row {page.row}: {', '.join(dict.fromkeys(bad))} can't be shown: give as many values as tokens, "
            "a peak inside its window, one edge more than counts, and neighbours that are rows of the index"
        )


def _window(window: Window, scale: float, words: Words) -> list[object]:
    tokens = words.numbers(window.tokens)
    return [tokens, thousandths(window.values, scale), window.at, shown(window.document)]


def _said(said: Said, unigram: Any) -> dict[str, object]:
    """An explanation with its scores, and the mark that they give it beside the unit's unigram table."""
    scores = {name: score_data(getattr(said, name)) for name in SCORES}
    r, *controls = (scores[name] for name in ("r", "shuffled", "untrained"))
    bound = None if r is None else r[0] if r[1] is None else r[1]
    return {
        "family": shown(said.family),
        "text": shown(said.text),
        "bits": rounded(said.bits),
        "note": shown(said.note),
        "mark": mark_of(bound, (unigram, *(None if control is None else control[0] for control in controls))),
        **scores,
    }


def score_data(score: Score) -> list[Any] | None:
    """[value, low, high, event] of a score, or None where there is no value."""
    amount = amount_of(score)
    value = rounded(amount.value)
    return None if value is None else [value, rounded(amount.low), rounded(amount.high), amount.event]


def _scale(rows: Sequence[Sequence[float]]) -> float:
    """The largest size among finite values, or 1 where all are nothing."""
    sizes = [np.abs(np.asarray(row, dtype=np.float64)) for row in rows]
    largest = max((float(size[np.isfinite(size)].max(initial=0.0)) for size in sizes), default=0.0)
    return largest or 1.0


def thousandths(values: Sequence[float], scale: float) -> list[int | None]:
    """Values as whole thousandths of `scale`; None for what is not finite.

    >>> thousandths([0.5, -1.0, float("nan")], 1.0)
    [500, -1000, None]
    """
    found = np.asarray(values, dtype=np.float64) / scale * STEPS
    if np.isfinite(found).all():
        whole: list[int | None] = np.rint(found).astype(np.int64).tolist()
        return whole
    return [None if not np.isfinite(x) else round(float(x)) for x in found]


def found_by(page: UnitPage) -> str:
    """Tokens by which the index finds a unit, a line each: peaks of its top windows, then its highest means."""
    peaks = [window.tokens[window.at] for window in page.windows.get("top", ())]
    ranked = [token for token, mean in sorted(page.tokens, key=lambda each: -each[1]) if mean > 0]
    tokens = dict.fromkeys(token_text(token).strip() for token in (*peaks, *ranked[: (len(page.tokens) + 1) // 2]))
    return "\n".join([token for token in tokens if token][:MAX_FOUND])
