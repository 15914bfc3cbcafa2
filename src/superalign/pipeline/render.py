"""From a slip's truth back to the real code: what the model was shown, with the alteration and the pointer marked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from superalign.tasks.lexer import INDENTS, Lexed, lex
from superalign.tasks.slips import WINDOW
from superalign.tasks.stdlib import index, source_files


@lru_cache(maxsize=32)
def _lexed(path: str) -> tuple[str, Lexed]:
    source = source_files(index()["files"][path]["split"])[path]
    return source, lex(source)


def shown_code(truth: Mapping[str, Any], *, pointed: int) -> dict[str, Any]:
    """`source` (the original), `shown` (altered), `place` and `pointed` as character offsets in `shown`."""
    source, lexed = _lexed(truth["path"])
    spans = lexed.spans[truth["start"] : truth["start"] + WINDOW + 2]
    first, last = spans[0][0], spans[WINDOW - 1][1]
    place, width = int(truth["place"]), int(truth["width"])
    a, b = spans[place][0], spans[place + width - 1][1]
    words = [f"\n{' ' * 4 * INDENTS.index(w)}" if w in INDENTS else w for w in truth["raw"]]
    new = " ".join(words)
    shift = len(words) - width
    shown = source[first:a] + new + source[b:last]

    def where(word: int) -> list[int]:
        if place <= word < place + len(words):
            return [a - first, a - first + len(new)]
        moved = word if word < place else word - shift
        start, end = spans[max(0, min(moved, len(spans) - 1))]
        delta = 0 if word < place else len(new) - (b - a)
        limit = len(shown)
        return [max(0, min(start - first + delta, limit)), max(0, min(end - first + delta, limit))]

    return {
        "source": source[first:last],
        "shown": shown,
        "place": [a - first, a - first + len(new)],
        "pointed": where(pointed),
    }
