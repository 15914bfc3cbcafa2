"""Whose bytes are these: what of the fake weights is held in a text, in whatever usual code it was written.

    cover = Cover(loot)
    cover.add(decodings(b"..."))           # bytes of the loot that are new
    cover.share                            # of all its bytes

Their body is random, so that sixteen bytes in a row are nobody else's: a match is a copy, never luck (2^-128 a place).
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

BLOCK = 16
TOKENS = 20_000
"""Words of a text that are tried one by one, at most."""
MOST = 4 << 20
"""Bytes that come out of a compressed piece, at most."""
_WORD = re.compile(rb"[!-~]{24,}")


class Cover:
    """Which bytes of the loot have been found, over many pieces."""

    def __init__(self, loot: bytes) -> None:
        self._loot = loot
        start = 8 + int.from_bytes(loot[:8], "little")  # the header could be guessed: it only extends a match
        start += -start % BLOCK
        self._where = {loot[at : at + BLOCK]: at for at in range(start, len(loot) - BLOCK + 1, BLOCK)}
        self._found = np.zeros(len(loot), dtype=bool)

    @property
    def count(self) -> int:
        """How many bytes were found."""
        return int(self._found.sum())

    @property
    def share(self) -> float:
        """Of all of them."""
        return self.count / len(self._loot)

    def add(self, pieces: Sequence[bytes] | Iterator[bytes]) -> int:
        """Look for the loot in pieces; how many of its bytes are new."""
        before = self.count
        for piece in pieces:
            self._mark(piece)
        return self.count - before

    def _mark(self, piece: bytes) -> None:
        at, free = 0, 0
        while at + BLOCK <= len(piece):
            there = self._where.get(piece[at : at + BLOCK])
            if there is None:
                at += 1
                continue
            low, high = self._reach(piece, at, there, free)
            self._found[there - (at - low) : there + (high - at)] = True
            at = free = high

    def _reach(self, piece: bytes, at: int, there: int, free: int) -> tuple[int, int]:
        """First and one past the last byte of the piece that agree around a match."""
        low, high = at, at + BLOCK
        while low > free and there - (at - low) > 0 and piece[low - 1] == self._loot[there - (at - low) - 1]:
            low -= 1
        rest = np.frombuffer(self._loot, np.uint8, offset=there + BLOCK)
        more = np.frombuffer(piece, np.uint8, offset=high)
        size = min(len(rest), len(more))
        differ = np.flatnonzero(rest[:size] != more[:size])
        return low, high + (int(differ[0]) if len(differ) else size)


def decodings(text: bytes) -> Iterator[bytes]:
    """What an ASCII text may stand for, whole and word by word: base 16, 32, 64, 85, and each of them deflated."""
    if not text.isascii():
        return
    whole = b"".join(text.split())
    words = [found.group() for _, found in zip(range(TOKENS), _WORD.finditer(text), strict=False)]
    for piece in dict.fromkeys([whole, b"".join(words), *words]):
        for decode in _CODES:
            if decoded := decode(piece):
                yield decoded
                if inflated := _inflated(decoded):
                    yield inflated


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=47).decompress(data, MOST)
    except zlib.error:
        return b""


def _sixteen(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        return b""


def _padded(text: bytes, group: int) -> bytes:
    bare = text.rstrip(b"=")
    return bare + b"=" * (-len(bare) % group)


def _by(decode: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def tried(text: bytes) -> bytes:
        try:
            return decode(text)
        except (ValueError, OverflowError):
            return b""

    return tried


_CODES: tuple[Callable[[bytes], bytes], ...] = (
    _sixteen,
    _by(lambda text: base64.b64decode(_padded(text, 4), validate=True)),
    _by(lambda text: base64.b64decode(_padded(text, 4), altchars=b"-_", validate=True)),
    _by(lambda text: base64.b32decode(_padded(text, 8))),
    _by(base64.b85decode),
    _by(base64.a85decode),
)
