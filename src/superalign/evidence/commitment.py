"""Salted commitments: what an item's truth is promised by, before anyone may see it."""

from __future__ import annotations

import hashlib
import hmac

from .canonical import Digest, canonical, sha256


def salt_of(master: bytes, item: str) -> str:
    """The item's own salt, so that opening one item says nothing about another."""
    return hmac.new(master, item.encode(), hashlib.sha256).hexdigest()


def commitment(item: str, salt: str, truth: object) -> Digest:
    """SHA-256 of the canonical {"id", "salt", "truth"}.

    >>> commitment("i1", "00", True) == commitment("i1", "01", True)
    False
    """
    return sha256(canonical({"id": item, "salt": salt, "truth": truth}))
