"""One fact, one encoding: RFC 8785 JSON and SHA-256."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785

from .errors import BadEvent

Digest = str
MAX_DEPTH = 32
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_digest(text: object) -> bool:
    """True for 64 lowercase hex digits and nothing else.

    >>> is_digest("0" * 64), is_digest("../../etc")
    (True, False)
    """
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def sha256(data: bytes) -> Digest:
    """Lowercase hex SHA-256 of the bytes."""
    return hashlib.sha256(data).hexdigest()


def plain(value: object, *, depth: int = 0) -> Any:
    """The value as plain JSON types: tuples become lists, NumPy scalars numbers; else BadEvent.

    >>> plain({"a": (1, 2)})
    {'a': [1, 2]}
    """
    if depth > MAX_DEPTH:
        raise BadEvent(f"a body nests deeper than {MAX_DEPTH} levels: put it into the object store instead")
    if value is None or isinstance(value, str | bool | int | float):
        if isinstance(value, float):
            return float(value)
        return value
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return plain(value.item(), depth=depth + 1)
    if isinstance(value, Mapping):
        return {_key(k): plain(v, depth=depth + 1) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(v, depth=depth + 1) for v in value]
    raise BadEvent(f"a {type(value).__name__} can't be stored as JSON: pass numbers, text, lists and mappings")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise BadEvent(f"the key {key!r} isn't text: JSON objects have text keys only")
    return key


def canonical(value: object) -> bytes:
    """The RFC 8785 bytes of a JSON value; BadEvent for NaN, infinities and integers beyond 2⁵³−1.

    >>> canonical({"b": 1.0, "a": "é"})
    b'{"a":"\\xc3\\xa9","b":1}'
    """
    try:
        return rfc8785.dumps(plain(value))
    except rfc8785.CanonicalizationError as error:
        raise BadEvent(f"not storable as JSON: {error}; use None and say why in a note") from error
