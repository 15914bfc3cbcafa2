"""Fingerprints: which pieces of a training set repeat a held-out item, word for word or nearly so.

An item's fingerprint is the set of its 13-grams (GPT-3's decontamination, 2005.14165, appendix C), each hashed to 64
bits. An item repeats a family when at least half of its own 13-grams occur there; items shorter than a gram count as
one gram. It is a backstop: whoever changes every twelfth word passes, as a translation does.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise

from .errors import BadEvent

WIDTH = 13
SHARE = 0.5
"""An item repeats a family when this part of its grams, or more, occurs in it."""
MAX_GRAMS = 64 << 20
MAX_KNOWN = 4 << 20
"""Grams of a family at most: a reader keeps them all, and a stranger could fill its memory with them."""
Grams = tuple[frozenset[int], ...]
"""One set of hashes an item."""
_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Words and signs, lower case; white space says nothing.

    >>> words("If x == 1:")
    ['if', 'x', '=', '=', '1', ':']
    """
    return _WORD.findall(text.casefold())


def grams(items: Iterable[Sequence[str]], *, width: int = WIDTH) -> Grams:
    """The fingerprint of each item, given as its words; an item without words has none.

    >>> len(grams([["a"] * 20])[0]), len(grams([["a", "b"]])[0]), len(grams([[]])[0])
    (1, 1, 0)
    """
    return tuple(frozenset(_hashes(list(item), width)) for item in items)


def repeats(items: Grams, held: Iterable[frozenset[int]]) -> tuple[int, ...]:
    """Indices of the items that repeat something of `held`.

    >>> one = grams([["a", "b"], ["c"]])
    >>> repeats(one, grams([["c"]]))
    (1,)
    """
    known: set[int] = set()
    for grams_ in held:
        known |= grams_
        if len(known) > MAX_KNOWN:
            raise BadEvent(f"a family's fingerprints hold more than {MAX_KNOWN} grams: hold fewer items out")
    return tuple(i for i, item in enumerate(items) if item and len(item & known) >= SHARE * len(item))


def packed(items: Grams) -> bytes:
    """The bytes of a fingerprint: an item's count (4 bytes), then its hashes, sorted (8 bytes each), all big-endian."""
    return b"".join(struct.pack(f">I{len(item)}Q", len(item), *sorted(item)) for item in items)


def unpacked(data: bytes) -> Grams:
    """Read `packed` bytes back; BadEvent where they are cut short, unsorted or too many."""
    if len(data) > MAX_GRAMS:
        raise BadEvent(f"a fingerprint of {len(data)} bytes is over the limit of {MAX_GRAMS}")
    items, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise BadEvent(f"the fingerprint is cut short at byte {at}")
        (count,) = struct.unpack_from(">I", data, at)
        end = at + 4 + 8 * count
        if end > len(data):
            raise BadEvent(f"the fingerprint is cut short at byte {at}")
        hashes = struct.unpack_from(f">{count}Q", data, at + 4)
        if any(a >= b for a, b in pairwise(hashes)):
            raise BadEvent(f"the fingerprint's hashes are not in order at byte {at}")
        items.append(frozenset(hashes))
        at = end
    return tuple(items)


def _hashes(item: list[str], width: int) -> Iterable[int]:
    for at in range(max(1, len(item) - width + 1) if item else 0):
        text = "\x1f".join(item[at : at + width])
        yield int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
