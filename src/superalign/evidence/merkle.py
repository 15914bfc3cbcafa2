"""A Merkle root that grows one leaf at a time (RFC 6962), so that checking many checkpoints stays cheap."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from .canonical import Digest, sha256


class Frontier:
    """The roots of the complete subtrees so far: as many as the count of leaves has binary ones.

    >>> Frontier(["00" * 32]).root() == hashlib.sha256(bytes(33)).hexdigest()
    True
    """

    def __init__(self, leaves: Iterable[Digest] = ()) -> None:
        self._count = 0
        self._peaks: list[bytes] = []
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: Digest) -> None:
        """Append one leaf: 64 hex digits."""
        node = hashlib.sha256(b"\x00" + bytes.fromhex(leaf)).digest()
        count = self._count
        while count & 1:
            node = hashlib.sha256(b"\x01" + self._peaks.pop() + node).digest()
            count >>= 1
        self._peaks.append(node)
        self._count += 1

    def root(self) -> Digest:
        """The root over all leaves so far; of none, SHA-256 of nothing."""
        if not self._peaks:
            return sha256(b"")
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = hashlib.sha256(b"\x01" + peak + node).digest()
        return node.hex()


def merkle_root(leaves: Iterable[Digest]) -> Digest:
    """RFC 6962 root over digests, in order."""
    return Frontier(leaves).root()
