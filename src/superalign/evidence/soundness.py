"""V0: is what is stored what was signed? Chain, signatures, types, checkpoints, anchor, objects."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from .canonical import Digest, is_digest
from .errors import BadEvent, NotAllowed, Tampered, disk_errors
from .events import FORMAT, GENESIS_PREV, MAX_EVENT, Event, check_author, check_body, read_entry, signature_holds
from .findings import Finding
from .ledger import check_genesis
from .merkle import Frontier
from .reading import Row
from .store import CHUNK, ObjectStore

MAX_OBJECT = 64 << 30
MAX_RESULT = 1 << 20
"""Bytes of a stage's result that is searched for weights: what names weights holds little else."""
_RESTORE = "ask for an untouched copy of the workspace"
_WHOSE = "ask the owner which keys are theirs"
_REFERENCES = {
    "fingerprint": ("grams",),
    "screen": ("grams",),
    "seal": ("commitments",),
    "contains": ("clusters",),
    "figure": ("data",),
    "stage": ("result",),
    "dossier": ("html", "inventory"),
}
"""Type of event → its members that name objects."""


class Chain:
    """Checks rows one after another; remembers what the next one must follow."""

    def __init__(self, trusted: dict[str, str] | None) -> None:
        self.roots: dict[Digest, int] = {}
        """Root → sequence number, of checkpoints that hold."""
        self.meant: list[Event] = []
        """Events whose type, author and fields are right: only these can be interpreted."""
        self._trusted, self._keys = trusted, trusted
        self._prev: Digest = GENESIS_PREV
        self._next = 0
        self._format = FORMAT
        self._enrolled = False
        self._frontier = Frontier()

    def check(self, row: Row) -> tuple[Event | None, list[Finding]]:
        """The event, if its bytes can be read at all, and everything wrong with it."""
        seq, found = row.seq, []
        if seq != self._next:
            found.append(_finding(seq, f"events {self._next} to {seq - 1} are missing", _RESTORE))
        self._next = seq + 1
        try:
            event = _parse(row)
        except Tampered as error:
            self._prev = (row.digest or b"").decode("ascii", "replace")
            return None, [*found, _finding(seq, str(error), _RESTORE)]
        if event.prev != self._prev:
            found.append(_finding(seq, "it doesn't follow the event before it: the chain is broken", _RESTORE))
        self._prev = event.digest
        found += self._check_meaning(event)
        if event.type == "checkpoint" and not found:
            found += self._check_checkpoint(event)
        self._frontier.add(event.digest)
        return event, found

    def finish(self) -> Iterator[Finding]:
        """What can only be said at the end."""
        if self._next == 0:
            yield Finding(seq=None, what="the ledger has no events", where="ledger.sqlite", do=_RESTORE)

    def _check_meaning(self, event: Event) -> list[Finding]:
        found = []
        if (event.type == "genesis") != (event.seq == 0):
            found.append(_finding(event.seq, "genesis is the first event and only the first", _RESTORE))
        if event.type == "genesis" and event.seq == 0:
            stated = event.body.get("format")
            self._format = stated if type(stated) is int else FORMAT
        try:
            check_author(event.type, event.actor, format=self._format)
            check_body(event.type, event.body, format=self._format)
            if event.type == "genesis":
                check_genesis(event.body)
        except (BadEvent, NotAllowed) as error:
            return [*found, _finding(event.seq, str(error), "don't rely on it; ask who wrote it, and how")]
        self.meant.append(event)
        if event.type == "genesis" and event.seq == 0:
            found += self._check_keys(event)
        if event.type == "enrol":
            found += self._check_enrolment(event)
        key = (self._keys or {}).get(event.actor)
        if not isinstance(key, str) or not signature_holds(key, event.digest, event.signature):
            found.append(_finding(event.seq, f"the signature isn't the {event.actor}'s", _RESTORE))
        return found

    def _check_keys(self, event: Event) -> list[Finding]:
        stated = event.body["keys"]
        self._enrolled = "reviewer" in stated
        if self._trusted is None:
            self._keys = stated
            return []
        self._keys = held = dict(self._trusted)
        later = set() if self._enrolled else {"reviewer"}
        if {k: v for k, v in held.items() if k not in later} != stated:
            return [_finding(0, "the ledger's keys are not the ones you hold", _WHOSE)]
        return []

    def _check_enrolment(self, event: Event) -> list[Finding]:
        """The person's key comes once: with the genesis, or later."""
        principal, key = event.body["principal"], event.body["key"]
        if self._enrolled:
            return [_finding(event.seq, f"a second {principal} is enrolled: there is one a ledger", _WHOSE)]
        self._enrolled = True
        if self._trusted is None:
            self._keys = {**(self._keys or {}), principal: key}
        elif self._trusted.get(principal) != key:
            return [_finding(event.seq, f"the {principal} enrolled is not the one whose key you hold", _WHOSE)]
        return []

    def _check_checkpoint(self, event: Event) -> list[Finding]:
        if event.body != {"events": event.seq, "root": self._frontier.root()}:
            return [_finding(event.seq, "the checkpoint's root isn't that of the events before it", _RESTORE)]
        self.roots[event.body["root"]] = event.seq
        return []


def check_anchor(anchor: str | None, events: list[Event], roots: dict[Digest, int]) -> Iterator[Finding]:
    """The anchor must be a checkpoint's root, or an event's digest, in this history."""
    if anchor is None or anchor in roots or any(e.digest == anchor for e in events):
        return
    what = f"the anchor {anchor[:16]!r} is no checkpoint and no event of this ledger"
    do = "this is a shorter or another history than the one that was anchored: don't rely on it"
    yield Finding(seq=None, what=what, where="ledger.sqlite", do=do)


def check_objects(store: ObjectStore) -> Iterator[Finding]:
    """Every file in the store must be named by its own hash, in its own folder, and be a plain file."""
    if not store.root.is_dir():
        return
    for folder in sorted(os.scandir(store.root), key=lambda e: e.name):
        if folder.is_symlink() or not folder.is_dir():
            yield _object(Path(folder.path), "not a folder of objects")
            continue
        for entry in sorted(os.scandir(folder.path), key=lambda e: e.name):
            if entry.is_symlink() or not entry.is_file() or not is_digest(folder.name + entry.name):
                yield _object(Path(entry.path), "not an object: objects are plain files named by their hash")
            elif entry.stat().st_size > MAX_OBJECT:
                yield _object(Path(entry.path), f"over {MAX_OBJECT} bytes")
            elif hash_of(Path(entry.path)) != folder.name + entry.name:
                yield _object(Path(entry.path), "its bytes don't have the hash it is named by")


def check_references(store: ObjectStore, events: list[Event]) -> Iterator[Finding]:
    """Every object that an event points to must be there, and what these objects name in turn."""
    nodes = {e.body["digest"] for e in events if e.type in ("node", "signal")}
    there, followed = set(store.digests()), set[Digest]()
    for event in events:
        named = _named(event, nodes)
        within = [d for digest in named if digest not in followed for d in _named_within(store, event, digest)]
        followed.update(named)
        for digest in named + within:
            if digest not in there and digest not in store:
                yield _finding(event.seq, f"object {digest} is missing", "ask for the whole workspace")


def _named(event: Event, nodes: set[Digest]) -> list[Digest]:
    if event.type == "measurement":
        return [d for d in event.body["inputs"] if d not in nodes]
    return [str(d) for d in map(event.body.get, _REFERENCES.get(event.type, ())) if is_digest(d)]


def _named_within(store: ObjectStore, event: Event, digest: Digest) -> list[Digest]:
    """Weights that a stage's result names, and all that was there when a dossier was recorded, by its inventory.

    An input that is a node needn't be an object, nor need another digest in a result: only an inventory knows.
    """
    inventory = event.type == "dossier" and digest == event.body.get("inventory")
    small = event.type == "stage" and digest in store and store.path(digest).stat().st_size <= MAX_RESULT
    if digest not in store or not (inventory or small):
        return []
    try:
        value = store.get_json(digest)
    except Tampered:  # not JSON, so it names nothing; changed bytes are found with the other objects
        return []
    if not inventory:
        value = [value.get("weights")] if isinstance(value, dict) else []
    return [d for d in value if is_digest(d)] if isinstance(value, list) else []


def _parse(row: Row) -> Event:
    if row.digest is None or row.signature is None or row.entry is None or len(row.entry) > MAX_EVENT:
        raise Tampered(f"event {row.seq} has a column of the wrong kind or size")
    try:
        return read_entry(row.seq, row.digest.decode("ascii"), row.signature.decode("ascii"), row.entry)
    except UnicodeDecodeError as error:
        raise Tampered(f"event {row.seq} has a digest or signature that isn't hex") from error


def hash_of(path: Path) -> Digest:
    """SHA-256 of a file, read as a stream."""
    hasher = hashlib.sha256()
    with disk_errors(path, "reading an object"), path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def _finding(seq: int, what: str, do: str) -> Finding:
    return Finding(seq=seq, what=what, where=f"event {seq}", do=do)


def _object(path: Path, what: str) -> Finding:
    return Finding(seq=None, what=what, where=str(path), do=_RESTORE)
