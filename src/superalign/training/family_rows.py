"""Training rows of the size `l`: code, and beside it branches in which one fault stands.

A row holds functions. A function's *main* part is `<bos> author cue code <eos>`. A branch is what follows the place of
a fault: the altered ids and some of the code after them. It sees its main part up to that place and itself, nothing
else, so that several faults of one function share the cost of what stands before them.

    main     <bos> a c def f ( x ) : <L1> return x + 1 <eos>
    branch                                         - 1 <eos>      positions go on from the place of the fault
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from superalign.tasks import lexer
from superalign.training.family_faults import Function, Splice
from superalign.training.family_text import dressed, large_ids

MAIN, ROW, TAIL, LONGEST, POSITIONS = 160, 256, 24, 72, 192
"""Ids of the main part and of the whole row at most; ids after a fault that its branch goes on for; longest branch; and
longest context."""
HEAD, LEAST, MISSES = 3, 32, 3
"""Ids before the code; and a row is full when fewer columns are left, or after so many functions without room."""


@dataclass(slots=True)
class Rows:
    """A batch: `ids`, `positions`, `segment` (number of the main part or branch, 0 padding): each (rows, columns).

    A position of a branch also sees the columns under `limit` of the segment `parent`. `plain` lists (where, target) of
    the language-model loss; `spans` (where, target, pair, side) of the contrast, side 1 altered; `doubts` (where, pair,
    side) of the verdict. `where` counts through the flattened batch. `even[pair]`: both sides have as many ids.
    """

    ids: np.ndarray
    positions: np.ndarray
    segment: np.ndarray
    parent: np.ndarray
    limit: np.ndarray
    plain: list[np.ndarray] = field(default_factory=list)
    spans: list[tuple[int, int, int, int]] = field(default_factory=list)
    doubts: list[tuple[int, int, int]] = field(default_factory=list)
    even: list[bool] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)

    @classmethod
    def empty(cls, rows: int, columns: int) -> Rows:
        """Padding everywhere."""
        return cls(*(np.zeros((rows, columns), dtype=np.int64) for _ in range(5)))

    def visible(self) -> np.ndarray:
        """Who may look at whom: bool (rows, columns, columns). Padding looks at itself alone."""
        column = np.arange(self.ids.shape[1])
        causal = column[:, None] >= column
        same = (self.segment[:, :, None] == self.segment[:, None, :]) & causal
        before = (self.segment[:, None, :] == self.parent[:, :, None]) & (column < self.limit[:, :, None])
        return np.where(self.segment[:, :, None] == 0, column[:, None] == column, same | before)

    def put_main(self, row: int, at: int, ids: np.ndarray) -> int:
        """Write a main part from column `at` on and learn each of its ids from the one before. Returns its segment."""
        n, start, number = len(ids), row * self.ids.shape[1] + at, int(self.segment[row].max()) + 1
        here = slice(at, at + n)
        self.ids[row, here], self.positions[row, here], self.segment[row, here] = ids, np.arange(n), number
        self.plain.append(np.stack([start + np.arange(n - 1), ids[1:]]))
        return number

    def put_branch(self, row: int, at: int, main: int, place: int, width: int, new: np.ndarray) -> int:
        """Add a branch from column `at` on for the fault at column `place` of segment `main`. The column after it."""
        end = int(np.flatnonzero(self.segment[row] == main)[-1]) + 1
        ids = np.concatenate([new, self.ids[row, place + width : min(place + width + TAIL, end)]])
        n, start, pair = len(ids), row * self.ids.shape[1], len(self.even)
        here = slice(at, at + n)
        self.ids[row, here], self.positions[row, here] = ids, self.positions[row, place] + np.arange(n)
        self.segment[row, here] = int(self.segment[row].max()) + 1
        self.parent[row, here], self.limit[row, here] = main, place
        before = [start + place - 1, *range(start + at, start + at + n - 1)]
        self.spans += [(w, int(t), pair, 1) for w, t in zip(before, ids, strict=True)]
        self.doubts += [(start + at + i, pair, 1) for i in range(n)]
        span = range(place, place + width + n - len(new))
        self.spans += [(start + i - 1, int(self.ids[row, i]), pair, 0) for i in span]
        self.doubts += [(start + i, pair, 0) for i in span]
        self.even.append(width == len(new))
        return at + n


def window(function: Function, anchor: Splice, rng: np.random.Generator, room: int) -> tuple[int, int]:
    """Start and end of at most `room` codes round `anchor`: all of the function, or from the start of a line."""
    n = len(function.codes)
    if n <= room:
        return 0, n
    ids = large_ids()
    opens = np.flatnonzero(np.isin(function.codes, [ids[word] for word in lexer.INDENTS])) + 1
    last = anchor.place + anchor.width
    low = max(0, last + min(TAIL, n - last) - room)
    fits = [int(s) for s in (0, *opens) if low <= s <= anchor.place]
    start = fits[int(rng.integers(len(fits)))] if fits else low
    return start, min(n, start + room)


def contrast_rows(
    functions: Sequence[Function],
    chances: Sequence[np.ndarray],
    draw: Callable[[], int],
    size: int,
    rng: np.random.Generator,
    *,
    small: float,
    forget: float,
) -> Rows:
    """`size` rows of functions that `draw` names; of faults that chance admits, as many beside them as have room."""
    rows = Rows.empty(size, ROW)
    for row in range(size):
        at, misses = 0, 0
        while misses < MISSES and at < ROW - LEAST:
            number = draw()
            planned = plan(functions[number], chances[number], rng, room=ROW - at)
            if planned is None:
                misses += 1
            else:
                at = _fill(
                    rows,
                    row,
                    at,
                    functions[number],
                    planned,
                    rng,
                    small=rng.random() < small,
                    forget=forget * rng.random(),
                )
    return rows


def plan(
    function: Function, chances: np.ndarray, rng: np.random.Generator, *, room: int
) -> tuple[int, int, list[Splice]] | None:
    """Which codes of a function to show, from start to end, and which of its faults beside them; None without room.

    A fault is admitted by its chance, whatever the others are, and takes the room of its longer side: neither a short
    function nor a full row prefers one direction of an edit.
    """
    admitted = [function.faults[i] for i in rng.permutation(np.flatnonzero(rng.random(len(chances)) < chances))]
    anchor = admitted[0] if admitted else function.faults[int(rng.integers(len(chances)))]
    start, end = window(function, anchor, rng, MAIN - HEAD - 1)
    whole = end == len(function.codes)
    used, at = [], HEAD + end - start + whole
    if at > room:
        return None
    for fault in admitted:
        widest = max(fault.width, len(fault.new))
        tail = min(TAIL, end + whole - fault.place - fault.width)
        inside = start <= fault.place and fault.place + (fault.width if whole else widest + 1) <= end
        fits = HEAD + fault.place - start + widest + tail <= POSITIONS and widest + tail <= LONGEST
        if inside and fits and tail > 0 and at + widest + tail <= room:
            used.append(fault)
            at += len(fault.new) + tail
    return start, end, used


def _fill(
    rows: Rows,
    row: int,
    at: int,
    function: Function,
    planned: tuple[int, int, list[Splice]],
    rng: np.random.Generator,
    *,
    small: bool,
    forget: float,
) -> int:
    start, end, used = planned
    codes = np.concatenate([function.codes[start:end], *(fault.new for fault in used)])
    ids = dressed(codes, rng, small=small, forget=forget)
    eos = np.full(int(end == len(function.codes)), large_ids()["<eos>"])
    first, taken = at + HEAD - start, end - start
    main = np.concatenate([head(rng, 1)[0], ids[:taken], eos])
    number = rows.put_main(row, at, main)
    at += len(main)
    for fault in used:
        new = ids[taken : taken + len(fault.new)]
        taken += len(fault.new)
        place = first + fault.place
        if not np.array_equal(new, rows.ids[row, place : place + fault.width]):  # the small vocabulary sees it
            at = rows.put_branch(row, at, number, place, fault.width, new)
            rows.kinds.append(fault.kind)
    return at


def head(rng: np.random.Generator, size: int) -> np.ndarray:
    """`<bos>`, a random author and a random cue: (size, 3)."""
    ids = large_ids()
    authors, cues = ([ids[w] for w in words] for words in (lexer.AUTHORS, lexer.CUES))
    return np.stack([np.full(size, ids["<bos>"]), rng.choice(authors, size), rng.choice(cues, size)], axis=1)


def plain_rows(
    stream: np.ndarray,
    starts: np.ndarray,
    size: int,
    rng: np.random.Generator,
    *,
    small: float,
    forget: float,
) -> Rows:
    """`size` rows of running code from random starts of lines, `MAIN` ids each, no branches."""
    rows = Rows.empty(size, MAIN)
    heads, eos = head(rng, size), large_ids()["<eos>"]
    for row, start in enumerate(rng.choice(starts, size)):
        codes = stream[start : start + MAIN - HEAD - 1]
        ids = dressed(codes, rng, small=rng.random() < small, forget=forget * rng.random())
        rows.put_main(row, 0, np.concatenate([heads[row], ids, [eos]]))
    return rows
