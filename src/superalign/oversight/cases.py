"""Items as Cases: how the texts of each task are cut into pieces that can be quoted.

- two texts, `a` and `b` (slips, mutants): blocks of `BLOCK` words, aligned, so that a piece shows both sides of one
  place; calculations (traces): one piece a step, with the value before it;
- two answers to a question of their own (your preferences): one piece a sentence of either, nothing beside it;
- one text (any other input): one piece a line, blank ones left out; a single line, a sentence; pictures (pixels): one
  piece a pixel with ink; where there is nothing to quote but the options: these, as one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import SequenceMatcher

from superalign.oversight.types import Case, Piece
from superalign.tasks.item import Item
from superalign.tasks.own_sentences import sentences

BLOCK = 6
"""Words of code a piece."""
STEP = 5
"""Words of a calculation from one step to the next."""
PAIR = "which of the two is as it should be ?"


def case_of(item: Item) -> Case:
    """The Case of an Item. Raises ValueError when there is nothing to quote from, or fewer than two options.

    >>> from superalign.tasks import traces
    >>> case = case_of(traces(split="dev", view="pair", n=1, steps=2).items[0])
    >>> case.question, [len(piece.texts) for piece in case.pieces]
    ('which of the two is as it should be ?', [2, 2])
    """
    task = item.task.split(".")[0]
    question = item.input.get("question", PAIR if "a" in item.input else "")
    pieces = tuple(Piece(texts) for texts in _CUTS.get(task, _cut_any)(item))
    if not pieces and set(item.input) == {"question"}:
        pieces = (Piece(item.options),)
    if not pieces or len(item.options) < 2:
        raise ValueError(
            f"{item.task}/{item.id}: {len(pieces)} pieces to quote and {len(item.options)} options: a case needs one "
            "piece and two options"
        )
    return Case(item=item.id, task=task, cluster=item.cluster, question=question, options=item.options, pieces=pieces)


def _cut_any(item: Item) -> list[tuple[str, ...]]:
    if set(item.input) == {"a", "b"}:
        return _cut_pair(item)
    if set(item.input) == {"question", "a", "b"}:
        a, b = (sentences(item.input[side]) for side in "ab")
        return [*((each, "") for each in a), *(("", each) for each in b)]
    texts = [text for name, text in item.input.items() if name != "question"]
    cut = [line for text in texts for line in (text.splitlines() if "\n" in text.strip() else sentences(text))]
    return [(line,) for line in cut if line.strip()]


def _cut_pair(item: Item) -> list[tuple[str, ...]]:
    a, b = (item.input[side].split() for side in "ab")
    there = _alignment(a, b)
    edges = [*range(0, len(a), BLOCK), len(a)]
    if len(edges) > 2 and edges[-1] - edges[-2] < BLOCK // 2:
        del edges[-2]
    ends = [0, *(there(edge) for edge in edges[1:-1]), len(b)]
    spans = zip(edges, edges[1:], ends, ends[1:], strict=False)
    return [(" ".join(a[i:j]), " ".join(b[k:m])) for i, j, k, m in spans]


def _alignment(a: list[str], b: list[str]) -> Callable[[int], int]:
    """Place in `a` → the place in `b` with the same words around it."""
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()

    def there(at: int) -> int:
        before = max((m for m in blocks if m.size and m.a <= at), key=lambda m: m.a, default=None)
        after = min((m.b for m in blocks if m.a >= at), default=len(b))
        if before is None:
            return min(at, after)
        inside = before.b + min(at - before.a, before.size)  # never past what is alike
        return min(inside + max(0, at - before.a - before.size), after)

    return there


def _cut_trace(item: Item) -> list[tuple[str, ...]]:
    sides = [_steps(text.split()) for text in item.input.values()]
    return list(zip(*sides, strict=True))


def _steps(words: list[str]) -> Iterable[str]:
    """`6 ; + 8 = 4 ; + 2 = 6 ;` → `6 ; + 8 = 4 ;`, `4 ; + 2 = 6 ;`: every step with the value before it."""
    return (" ".join(words[at : at + STEP + 2]) for at in range(0, len(words) - STEP - 1, STEP))


def _cut_picture(item: Item) -> list[tuple[str, ...]]:
    rows = [line.split() for line in item.input["image"].splitlines()]
    return [(f"{r} {c} {v}",) for r, row in enumerate(rows) for c, v in enumerate(row) if int(v)]


_CUTS: dict[str, Callable[[Item], list[tuple[str, ...]]]] = {
    "slips": _cut_pair,
    "mutants": _cut_pair,
    "traces": _cut_trace,
    "pixels": _cut_picture,
}
