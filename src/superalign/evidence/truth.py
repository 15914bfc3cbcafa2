"""Sealed truth: promised by salted commitment, opened only by the evaluator's handle, and logged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .canonical import Digest, canonical, is_digest
from .commitment import commitment, salt_of
from .errors import BadEvent, SealBroken, disk_errors
from .keys import Entropy
from .ledger import Ledger
from .merkle import merkle_root
from .store import ObjectStore

MAX_SEALED = 64 << 20
"""Bytes of one sealed file that are read: a thousand items take some 200 kB."""


class SealMissing(SealBroken):
    """The sealed file isn't there: an export leaves out what was never opened."""


class SealedStore:
    """The `sealed/` folder: one file a seal, named by its root, mode 600."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, root: Digest, value: Mapping[str, Any]) -> None:
        """Store one sealed value, whole or not at all."""
        path = self._path(root)
        with disk_errors(self.folder, "sealing"):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            temporary = path.with_suffix(".new")
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(canonical(value))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)

    def read(self, root: Digest) -> dict[str, Any]:
        """The sealed value; SealMissing if its file is gone, SealBroken if it's unreadable."""
        path = self._path(root)
        if not path.is_file():
            raise SealMissing(f"the sealed file {path} is gone: restore it from a copy of the workspace")
        if path.stat().st_size > MAX_SEALED:
            raise SealBroken(f"the sealed file {path} is over {MAX_SEALED >> 20} MiB: restore it from a copy")
        try:
            value = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise SealBroken(f"the sealed file {path} is damaged: restore it from a copy") from error
        if not isinstance(value, dict):
            raise SealBroken(f"the sealed file {path} is damaged: restore it from a copy")
        return value

    def _path(self, root: Digest) -> Path:
        if not is_digest(root):
            raise SealBroken(f"{root!r} is not a seal's root: seals are named by 64 hex digits")
        return self.folder / f"{root}.json"


def seal(
    ledger: Ledger,
    store: ObjectStore,
    sealed: SealedStore,
    split: str,
    truths: Mapping[str, Any],
    entropy: Entropy,
) -> Digest:
    """Commit to the truths of a split and return the root. Sealing the same truths again changes nothing."""
    if (before := _seal_event(ledger, split)) is not None:
        if canonical(sealed.read(before["root"])["truths"]) != canonical(truths):
            raise SealBroken(f"{split} was sealed before with other truths: use another split, or a new workspace")
        return str(before["root"])
    master = entropy(32).hex()
    promised = {item: commitment(item, salt_of(master.encode(), item), truth) for item, truth in truths.items()}
    root = merkle_root([promised[item] for item in sorted(promised)])
    sealed.write(root, {"split": split, "master": master, "truths": truths})
    body = {"split": split, "root": root, "n": len(promised), "commitments": store.put_json(promised)}
    ledger.append("seal", body, actor="evaluator")
    return root


class TruthHandle:
    """The evaluator's handle: the only way to sealed truth. Its first look at a split writes a `read` event.

    On a workspace opened for reading it shows only splits whose opening is on record already.

    >>> ws.evaluator().truth("slips/validation", "i3")   # doctest: +SKIP
    """

    def __init__(self, ledger: Ledger, store: ObjectStore, sealed: SealedStore) -> None:
        self._ledger, self._store, self._sealed = ledger, store, sealed
        self._open: dict[str, dict[str, Any]] = {}

    def truths(self, split: str) -> dict[str, Any]:
        """Every truth of the split, checked against what was committed; SealBroken if anything differs."""
        if split not in self._open:
            event = _seal_event(self._ledger, split)
            if event is None:
                raise SealBroken(f"nothing is sealed under {split!r}: seal it first with ws.seal")
            value = self._sealed.read(event["root"])
            _check_commitments(event, value, self._store)
            body = {"split": split, "root": event["root"], "n": event["n"]}
            if self._ledger.keyring is not None or all(e.body != body for e in self._ledger.events("read")):
                self._ledger.append("read", body, actor="evaluator")
            self._open[split] = value["truths"]
        return dict(self._open[split])

    def truth(self, split: str, item_id: str) -> Any:
        """One item's truth; SealBroken if the split has no such item."""
        truths = self.truths(split)
        if item_id not in truths:
            raise SealBroken(f"{split} has no sealed item {item_id!r}: check the split and the id")
        return truths[item_id]


def _seal_event(ledger: Ledger, split: str) -> dict[str, Any] | None:
    return next((e.body for e in ledger.events("seal") if e.body["split"] == split), None)


def root_of(value: Mapping[str, Any]) -> Digest | None:
    """The root that a sealed value keeps, by its own content: truths, an alias, or a budget's; None for anything else.

    >>> root_of({"alias": "x7", "salt": "00", "subject": "m@1"}) == commitment("x7", "00", "m@1")
    True
    """
    try:
        match sorted(value):
            case ["master", "split", "truths"]:
                found = _committed(value)
                return merkle_root([found[item] for item in sorted(found)])
            case ["alias", "salt", "subject"]:
                return commitment(value["alias"], value["salt"], value["subject"])
            case ["salt", "truth", "what"]:
                return commitment(value["what"], value["salt"], value["truth"])
    except _UNFIT:
        return None
    return None


_UNFIT = (BadEvent, ValueError, TypeError, AttributeError, RecursionError)
"""What a value raises that can't have been committed to: too deep, not a number, a text that isn't Unicode."""


def _committed(value: Mapping[str, Any]) -> dict[str, Digest]:
    """Item → commitment, of a sealed split."""
    master = str(value["master"]).encode()
    return {item: commitment(item, salt_of(master, item), truth) for item, truth in value["truths"].items()}


def _check_commitments(event: Mapping[str, Any], value: Mapping[str, Any], store: ObjectStore) -> None:
    try:
        found = _committed(value)
    except (KeyError, *_UNFIT) as error:
        raise SealBroken(f"the sealed file of {event['split']} is damaged: restore it from a copy") from error
    promised = store.get_json(event["commitments"])
    if found != promised or merkle_root([found[item] for item in sorted(found)]) != event["root"]:
        known = promised if isinstance(promised, dict) else {}
        changed = sorted({i for i in {*found, *known} if found.get(i) != known.get(i)})
        raise SealBroken(
            f"{len(changed)} truths of {event['split']} differ from what was sealed (first: {changed[:1]}): restore "
            "sealed/ from a copy of the workspace"
        )
