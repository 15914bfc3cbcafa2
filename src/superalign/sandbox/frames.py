"""What programs say, as plain values: encoded inside, framed under a nonce, decoded and compared by the parent alone.

Only values of exactly these types travel: None, bool, int, float, str, bytes, list, tuple, set, frozenset, dict. A
subclass, an object, a cycle, anything too deep or too large is *no plain value* and is named as such. Nothing is
unpickled, no method of the value is called, and what is compared was built here, out of text.

This module is also run inside, as part of the runner: it imports the standard library only.
"""

from __future__ import annotations

import json
import struct

MAX_DEPTH, MAX_NODES, MAX_HASHED, MAX_FRAME = 20, 20_000, 2_000, 1 << 20
NONCE = 16
_HEAD = struct.Struct(">16sI")


class NotPlain(ValueError):
    """A value that is not of the types that travel, or too deep or too large."""


class BrokenFrame(ValueError):
    """Bytes that the runner did not write."""


def encode(value):
    """The value as JSON types, each with its tag; NotPlain where it can't be."""
    return _encode(value, 0, [0, 0])


def _encode(value, depth, count):
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_NODES:
        raise NotPlain("too deep or too large")
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return ["i", hex(value)]
    if kind is float:
        return ["f", value.hex()]
    if kind is str:
        return ["s", value.encode("utf-8", "surrogatepass").hex()]
    if kind is bytes:
        return ["b", value.hex()]
    if kind in (list, tuple, set, frozenset):
        if kind in (set, frozenset):
            _hashed(value, count)
        items = [_encode(item, depth + 1, count) for item in list(value)]
        return [kind.__name__, sorted(items, key=json.dumps) if kind in (set, frozenset) else items]
    if kind is dict:
        _hashed(value, count)
        return ["dict", [[_encode(k, depth + 1, count), _encode(v, depth + 1, count)] for k, v in value.items()]]
    raise NotPlain(f"a {kind.__name__}")


def _hashed(items, count):
    """Bound what is put into a hash table by other than text: such keys can be chosen to collide, at quadratic cost."""
    count[1] += sum(type(item) not in (str, bytes) for item in items)
    if count[1] > MAX_HASHED:
        raise NotPlain("too many members of sets, or keys, that are not text")
    return items


def decode(value):
    """The value behind such JSON types; NotPlain for anything else."""
    return _decode(value, 0, [0, 0])


def _decode(value, depth, count):
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_NODES:
        raise NotPlain("too deep or too large")
    if value is None or value is True or value is False:
        return value
    if type(value) is not list or len(value) != 2 or type(value[0]) is not str:
        raise NotPlain("no tagged value")
    tag, body = value
    try:
        return _READERS[tag](body, depth, count)
    except NotPlain:
        raise
    except (KeyError, TypeError, AttributeError, OverflowError, ValueError) as error:
        raise NotPlain(f"no value tagged {tag!r:.20}") from error


def _items(body, depth, count):
    if type(body) is not list:
        raise NotPlain("no list")
    return [_decode(item, depth + 1, count) for item in body]


def _dict(body, depth, count):
    keys = [_decode(key, depth + 1, count) for key, _ in body]
    return dict(zip(_hashed(keys, count), [_decode(one, depth + 1, count) for _, one in body], strict=True))


_READERS = {
    "i": lambda body, depth, count: int(body, 16),
    "f": lambda body, depth, count: float.fromhex(body),
    "s": lambda body, depth, count: bytes.fromhex(body).decode("utf-8", "surrogatepass"),
    "b": lambda body, depth, count: bytes.fromhex(body),
    "list": _items,
    "tuple": lambda body, depth, count: tuple(_items(body, depth, count)),
    "set": lambda body, depth, count: set(_hashed(_items(body, depth, count), count)),
    "frozenset": lambda body, depth, count: frozenset(_hashed(_items(body, depth, count), count)),
    "dict": lambda body, depth, count: _dict(body, depth, count),
}


def same(a, b):
    """Are two plain values the same, type by type? NaN is the same as NaN; 1, 1.0 and True are three things.

    >>> same([1, float("nan")], [1, float("nan")]), same(1, True), same((1,), [1])
    (True, False, False)
    """
    return encode(a) == encode(b) if type(a) is not dict or type(b) is not dict else _same_dict(a, b)


def _same_dict(a, b):
    if len(a) != len(b):
        return False
    return sorted(map(json.dumps, encode(a)[1])) == sorted(map(json.dumps, encode(b)[1]))


def body_of(message):
    """The text of one message (JSON types); one that is too large says so instead."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        body = json.dumps({"kind": "too large", "at": message.get("at"), "canary": message.get("canary")}).encode()
    return body


def frame(nonce, message):
    """One message (JSON types) as bytes: the nonce, the length, the text."""
    body = body_of(message)
    return _HEAD.pack(nonce, len(body)) + body


class Reader:
    """Frames out of a stream of bytes, in pieces of any size; BrokenFrame as soon as one is not the runner's."""

    def __init__(self, nonce):
        self._nonce, self._held = nonce, bytearray()

    def feed(self, data):
        """The messages that are complete with these bytes."""
        self._held += data
        out = []
        while len(self._held) >= _HEAD.size:
            nonce, length = _HEAD.unpack_from(self._held)
            if nonce != self._nonce or length > MAX_FRAME:
                raise BrokenFrame("bytes that the runner did not write")
            if len(self._held) < _HEAD.size + length:
                break
            body = bytes(self._held[_HEAD.size : _HEAD.size + length])
            del self._held[: _HEAD.size + length]
            try:
                out.append(json.loads(body))
            except (ValueError, RecursionError) as error:
                raise BrokenFrame("a frame that is no JSON") from error
        return out
