"""An event: who may write which type, what its body holds, and the exact bytes hashed and signed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .canonical import Digest, canonical, is_digest, sha256
from .errors import BadEvent, NotAllowed, Tampered
from .keys import PRINCIPALS
from .types import MECHANISMS, MODES, NODE_KINDS, ROLES, SIGNAL_KINDS, VERDICTS, spelt

FORMAT = 2
"""Format that new ledgers are written in; ledgers of every earlier one are read, checked and continued."""
GENESIS_PREV = "0" * 64
MAX_EVENT = 1 << 20
_SIGNED = b"superalign event v1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the ledger. Treat `body` as read-only: it is what the ledger says."""

    seq: int
    prev: Digest
    time: str
    type: str
    actor: str
    body: dict[str, Any]
    digest: Digest
    signature: str


class Kind(NamedTuple):
    """A type of event: the principals that may write it, and exactly the fields its body has (None: free)."""

    who: tuple[str, ...]
    fields: Mapping[str, Any] | None = None


_MAKERS = ("trainer", "evaluator", "researcher", "notary")
_SIGNERS = ("trainer", "evaluator", "reviewer")
_MEASURED = {
    "name": str,
    "title": str,
    "value": "number",
    "low": "number",
    "high": "number",
    "level": "number",
    "n": int,
    "clusters": int,
    "unit": str,
    "subject": str,
    "signals": "digests",
    "role": ROLES,
    "tried": int,
    "tags": dict,
    "cost": dict,
    "inputs": "digests",
    "white_box": bool,
    "in_distribution": bool,
    "isolation": str,
    "note": str,
}
_CLAIMED = {
    "text": str,
    "verdict": VERDICTS,
    "subject": str,
    "measurements": "seqs",
    "defeaters": "texts",
    "tags": dict,
}

_SCREENED = {"data": "digest", "grams": "digest", "n": int, "width": int, "shared": dict, "quarantined": bool}
_ADMITTED = {
    "signal": "digest",
    "chance": "number",
    "baseline": "number",
    "optimum": "number",
    "n": int,
    "mde": "number",
    "controls": dict,
}
_BUDGETED = {"family": "family", "mechanism": MECHANISMS, "allowed": int, "settings": dict, "noise": "digest"}
_QUERIED = {
    "signal": "digest",
    "subject": str,
    "mechanism": MECHANISMS,
    "reference": "number",
    "plan": "digest?",
    "values": "digest",
    "released": "number",
    "fresh": bool,
    "left": int,
}

TYPES: Mapping[str, Kind] = {
    "genesis": Kind(("notary",), {"format": int, "workspace": str, "keys": dict, "made_by": str}),
    "node": Kind(
        (*_MAKERS, "reviewer"), {"digest": "digest", "kind": NODE_KINDS, "name": str, "quarantined": bool, "meta": dict}
    ),
    "signal": Kind(
        _SIGNERS, {"name": str, "digest": "digest", "family": "family", "role": ROLES, "kind": SIGNAL_KINDS}
    ),
    "contains": Kind(("trainer", "evaluator"), {"digest": "digest", "families": "families", "clusters": "digest?"}),
    "edge": Kind(("trainer", "evaluator", "researcher"), {"source": "digest", "target": "digest", "mode": MODES}),
    "base": Kind(("notary",), {"digest": "digest", "reason": "text"}),
    "demote": Kind(_SIGNERS, {"signal": "digest", "role": ROLES, "reason": str}),
    "promote": Kind(("reviewer",), {"signal": "digest", "role": ROLES, "reason": "text"}),
    "seal": Kind(("evaluator",), {"split": str, "root": "digest", "n": int, "commitments": "digest"}),
    "read": Kind(("evaluator",), {"split": str, "root": "digest", "n": int}),
    "alias": Kind(("evaluator",), {"alias": str, "commitment": "digest"}),
    "unseal": Kind(("evaluator",), {"alias": str, "subject": str, "salt": str}),
    "measurement": Kind(("evaluator",), _MEASURED),
    "claim": Kind(("evaluator",), _CLAIMED),
    "checkpoint": Kind(("notary",), {"events": int, "root": "digest"}),
    "enrol": Kind(("notary",), {"principal": ("reviewer",), "key": "digest"}),
    "fingerprint": Kind(("evaluator",), {"family": "family", "width": int, "n": int, "grams": "digest"}),
    "screen": Kind(("trainer", "evaluator"), _SCREENED),
    "admission": Kind(("evaluator",), _ADMITTED),
    "budget": Kind(("evaluator",), _BUDGETED),
    "query": Kind(("evaluator",), _QUERIED),
    "run": Kind(("notary",)),
    "dossier": Kind(("notary",)),
    "plan": Kind(("evaluator",)),
    "figure": Kind(("evaluator",)),
    "stage": Kind(("trainer", "evaluator")),
    "proposal": Kind(("researcher",)),
    "verdict": Kind(("reviewer", "evaluator")),
    "note": Kind(PRINCIPALS),
}
_NEW = ("enrol", "fingerprint", "screen", "admission", "budget")
_FORMATS: Mapping[int, Mapping[str, Kind]] = {
    1: {name: kind for name, kind in TYPES.items() if name not in _NEW}
    | {"query": Kind(("evaluator",)), "node": TYPES["node"]._replace(who=_MAKERS)},
    2: TYPES,
}


def types_of(format: int) -> Mapping[str, Kind]:
    """The types of event that a ledger of that format may hold; BadEvent for a format that never was."""
    if format not in _FORMATS:
        raise BadEvent(f"there is no ledger format {format!r}: known are {', '.join(map(str, _FORMATS))}")
    return _FORMATS[format]


def entry_bytes(*, seq: int, prev: Digest, time: str, type: str, actor: str, body: object) -> bytes:
    """The canonical bytes of an event, what its digest is over; BadEvent over MAX_EVENT."""
    envelope = {"actor": actor, "body": body, "prev": prev, "seq": seq, "time": time, "type": type}
    entry = canonical(envelope)
    if len(entry) > MAX_EVENT:
        raise BadEvent(
            f"a {type} event of {len(entry)} bytes is over the limit of {MAX_EVENT}: put the bulk into "
            "ws.store "
            "and its digest into the event"
        )
    return entry


def signed_bytes(digest: Digest) -> bytes:
    """What the actor signs: a prefix for this use alone, then the raw digest."""
    return _SIGNED + bytes.fromhex(digest)


def signature_holds(key: str, digest: Digest, signature: str) -> bool:
    """True when `signature` (lowercase hex) is that key's over that digest; False for anything malformed."""
    try:
        if bytes.fromhex(signature).hex() != signature:  # fromhex also takes capitals and blanks
            return False
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), signed_bytes(digest))
    except (ValueError, InvalidSignature):
        return False
    return True


def check_author(type: str, actor: str, *, format: int = FORMAT) -> None:
    """Raise BadEvent for an unknown type, NotAllowed when it isn't that principal's to write."""
    types = types_of(format)
    if type not in types:
        newer = (
            "begin a new workspace: this one is older" if type in TYPES else f"use one of {', '.join(sorted(types))}"
        )
        raise BadEvent(f"{type!r} is not a type of event in format {format}: {newer}")
    if actor not in types[type].who:
        raise NotAllowed(f"{actor} may not write a {type} event: let {' or '.join(types[type].who)} sign it")


def check_body(type: str, body: object, *, format: int = FORMAT) -> None:
    """Raise BadEvent unless the body has exactly the fields its type has, each of the right form."""
    if not isinstance(body, dict):
        raise BadEvent(f"the body of a {type} event must be an object, not a {body.__class__.__name__}")
    fields = types_of(format)[type].fields
    if fields is None:
        return
    if body.keys() != fields.keys():
        odd = ", ".join(sorted(map(repr, body.keys() ^ fields.keys())))
        raise BadEvent(f"a {type} event lacks, or has no place for, {odd:.200}: docs/ledger.md lists its fields")
    for name, form in fields.items():
        if not _fits(body[name], form):
            raise BadEvent(f"{body[name]!r:.80} can't be the {name!r} of a {type} event: see docs/ledger.md")


def _fits(value: Any, form: Any) -> bool:
    if isinstance(form, tuple):
        return isinstance(value, str) and value in form
    if isinstance(form, type):
        return isinstance(value, form) and (form is not int or not isinstance(value, bool))
    match form:
        case "digest":
            return is_digest(value)
        case "digest?":
            return value is None or is_digest(value)
        case "digests":
            return isinstance(value, list) and all(is_digest(v) for v in value)
        case "seqs":
            return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)
        case "texts":
            return isinstance(value, list) and all(isinstance(v, str) for v in value)
        case "text":
            return isinstance(value, str) and bool(value.strip())
        case "number":
            return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        case "family":
            return (
                isinstance(value, str) and value.count("/") == 2 and all(p and spelt(p) == p for p in value.split("/"))
            )
        case "families":
            return isinstance(value, list) and all(_fits(v, "family") for v in value)
    raise AssertionError(form)


def read_entry(seq: int, digest: str, signature: str, entry: bytes) -> Event:
    """Parse one stored row; Tampered unless the bytes are canonical, hash to `digest` and carry `seq`.

    The chain (`prev`) and the signature are the caller's to check.
    """
    if sha256(entry) != digest:
        raise Tampered(f"event {seq} no longer has its own hash")
    try:
        parsed = json.loads(entry)
        exact = isinstance(parsed, dict) and canonical(parsed) == entry
    except (ValueError, RecursionError, BadEvent) as error:
        raise Tampered(f"event {seq} isn't canonical JSON") from error
    names = ("seq", "prev", "time", "type", "actor", "body")
    if not exact or set(parsed) != set(names):
        raise Tampered(f"event {seq} isn't canonical JSON with exactly the members {', '.join(names)}")
    texts = all(isinstance(parsed[n], str) for n in ("prev", "time", "type", "actor"))
    if not texts or parsed["seq"] != seq or isinstance(parsed["seq"], bool) or not isinstance(parsed["body"], dict):
        raise Tampered(f"event {seq} has members of the wrong kind, or another's sequence number")
    return Event(digest=digest, signature=signature, **parsed)
