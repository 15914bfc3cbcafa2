"""Which places of two lists belong together, in time that nobody who writes the lists can stretch.

`difflib` finds the shortest account of small differences; on repeated or reordered contents it takes cubic time. Above
a bound we go by what occurs exactly once in both lists, in the longest run of it that kept its order, and by place in
the gaps between: n log n, and every place is still accounted for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple

MAX_WORK = 10_000_000
"""Steps that `difflib` may take at most: a few seconds."""


class Code(NamedTuple):
    """Places a to b of the first list became places c to d of the second: equal, replace, delete or insert."""

    tag: str
    a: int
    b: int
    c: int
    d: int


Part = tuple[int, int, int, int]
Inner = Callable[[Sequence[str], Sequence[str], Part], Iterator[Code]]


def opcodes(first: Sequence[str], second: Sequence[str]) -> list[Code]:
    """How the first list became the second, in order; every place of both is in exactly one code.

    >>> [code.tag for code in opcodes("abc", "axcd")]
    ['equal', 'replace', 'equal', 'insert']
    """
    return list(_stripped(first, second, (0, len(first), 0, len(second)), _middle))


def _stripped(first: Sequence[str], second: Sequence[str], part: Part, inner: Inner) -> Iterator[Code]:
    """Codes of one part: its equal beginning, what `inner` makes of the middle, its equal end."""
    a, b, c, d = part
    while a < b and c < d and first[a] == second[c]:
        a, c = a + 1, c + 1
    if a > part[0]:
        yield Code("equal", part[0], a, part[2], c)
    while a < b and c < d and first[b - 1] == second[d - 1]:
        b, d = b - 1, d - 1
    if a < b or c < d:
        yield from inner(first, second, (a, b, c, d))
    if b < part[1]:
        yield Code("equal", b, part[1], d, part[3])


def _middle(first: Sequence[str], second: Sequence[str], part: Part) -> Iterator[Code]:
    """The shortest account where the most that `difflib` could do is little, else the account by what is unique.

    It may look at every pair of equals once for each block, and there are as many blocks as places at most.
    """
    a, b, c, d = part
    held, now = Counter(first[a:b]), Counter(second[c:d])
    pairs = sum(count * now[what] for what, count in held.items())
    cheap = min(b - a, d - c) * (b - a + d - c + pairs) <= MAX_WORK
    yield from (_shortest if cheap else _by_what_is_unique)(first, second, part)


def _shortest(first: Sequence[str], second: Sequence[str], part: Part) -> Iterator[Code]:
    a, b, c, d = part
    found = SequenceMatcher(None, first[a:b], second[c:d], autojunk=False).get_opcodes()
    yield from (Code(tag, a + i, a + j, c + k, c + m) for tag, i, j, k, m in found)


def _by_what_is_unique(first: Sequence[str], second: Sequence[str], part: Part) -> Iterator[Code]:
    a, b, c, d = part
    held, now = Counter(first[a:b]), Counter(second[c:d])
    where = {second[j]: j for j in range(c, d)}
    pairs = [(i, where[first[i]]) for i in range(a, b) if held[first[i]] == 1 == now[first[i]]]
    for (i, j), (k, m) in pairwise([(a - 1, c - 1), *_in_order(pairs), (b, d)]):
        yield from _stripped(first, second, (i + 1, k, j + 1, m), _by_place)
        if k < b:
            yield Code("equal", k, k + 1, m, m + 1)


def _in_order(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs, sorted by their first place, that grows in the second too (patience sorting)."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for at, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        before.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(j)
            last.append(at)
        else:
            ends[length], last[length] = j, at
    run: list[tuple[int, int]] = []
    at = last[-1] if last else -1
    while at >= 0:
        run.append(pairs[at])
        at = before[at]
    return run[::-1]


def _by_place(first: Sequence[str], second: Sequence[str], part: Part) -> Iterator[Code]:
    a, b, c, d = part
    both = min(b - a, d - c)
    for k in range(both):
        tag = "equal" if first[a + k] == second[c + k] else "replace"
        yield Code(tag, a + k, a + k + 1, c + k, c + k + 1)
    if a + both < b:
        yield Code("delete", a + both, b, d, d)
    if c + both < d:
        yield Code("insert", b, b, c + both, d)
