"""Opening a workspace: the places it may lie, the ledger's beginning, and whether it was cut short since."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from superalign import __version__

from .canonical import Digest
from .errors import BadEvent, Tampered, WorkspaceMissing
from .events import FORMAT
from .fingerprints import MAX_GRAMS, Grams, unpacked
from .keys import Entropy, Keyring, Passphrase
from .ledger import Clock, Ledger, begin, check_genesis, connect, is_begun
from .store import ObjectStore

MAX_CLUSTERS = 64 << 20


def check_places(path: Path, keys: Path, *, may_create: bool) -> None:
    """Raise WorkspaceMissing where there is none to open, BadEvent where the keys would lie inside it."""
    if path.exists() and not path.is_dir():
        raise WorkspaceMissing(f"{path} is a file, not a folder: choose another --workspace")
    if not may_create and not (path / "ledger.sqlite").is_file():
        raise WorkspaceMissing(f"there is no workspace at {path}: pass --workspace, or begin one with `superalign run`")
    if keys.resolve().is_relative_to(path.resolve()):
        raise BadEvent(f"the keys {keys} would lie inside the workspace {path}: keep them outside")


def open_ledger(
    file: Path, keys: Path, clock: Clock, entropy: Entropy, *, write: bool, passphrase: Passphrase
) -> Ledger:
    """The ledger in that file, begun if it's new; Tampered if it's not what this machine wrote last."""
    db = connect(file, write=write)
    try:
        if not is_begun(db, file):
            if not write:
                raise WorkspaceMissing(f"{file} has no events yet: run the pipeline first")
            _begin(db, file, keys, clock, entropy)
        ledger = Ledger(file, db, clock=clock)
        if not len(ledger) or ledger[0].type != "genesis":
            raise Tampered(f"the ledger {file} has no beginning: restore the workspace from a copy")
        keyring = Keyring(keys / _workspace_id(ledger), passphrase=passphrase, open_person=ledger.format == 1)
        _check_not_cut(ledger, keyring)
        ledger.keyring = keyring if write else None
    except BaseException:
        db.close()
        raise
    return ledger


def read_clusters(store: ObjectStore, digest: Digest) -> frozenset[str] | None:
    """The cluster ids in that object, or None where it's missing, huge or no list: unknown, so not apart."""
    path = store.path(digest)
    if not path.is_file() or path.is_symlink() or path.stat().st_size > MAX_CLUSTERS:
        return None
    try:
        value = json.loads(store.get(digest))
    except (Tampered, ValueError, RecursionError):
        return None
    listed = isinstance(value, list) and all(isinstance(cluster, str) for cluster in value)
    return frozenset(value) if listed else None


def read_grams(store: ObjectStore, digest: Digest) -> Grams | None:
    """The fingerprint in that object, or None where it's missing, huge or damaged."""
    path = store.path(digest)
    if not path.is_file() or path.is_symlink() or path.stat().st_size > MAX_GRAMS:
        return None
    try:
        return unpacked(store.get(digest))
    except (Tampered, BadEvent):
        return None


def _workspace_id(ledger: Ledger) -> str:
    """The id that names the folder of keys: 32 hex digits, or nothing is opened."""
    try:
        check_genesis(ledger[0].body)
    except BadEvent as error:
        raise Tampered(f"the ledger {ledger.path} begins as no ledger does ({error}): don't open it") from error
    return str(ledger[0].body["workspace"])


def _begin(db: sqlite3.Connection, file: Path, keys: Path, clock: Clock, entropy: Entropy) -> None:
    workspace = entropy(16).hex()
    keyring = Keyring(keys / workspace)
    genesis = {"format": FORMAT, "workspace": workspace, "keys": keyring.create(entropy)}
    begin(db, file, {**genesis, "made_by": f"superalign {__version__}"}, keyring, clock)


def _check_not_cut(ledger: Ledger, keyring: Keyring) -> None:
    """A ledger behind what this machine wrote last was cut short, or restored from an old copy."""
    last = keyring.remembered()
    if last is not None and (last[0] >= len(ledger) or ledger[last[0]].digest != last[1]):
        raise Tampered(
            f"the ledger {ledger.path} doesn't hold event {last[0]}, which was written here before: it "
            "was cut "
            "short or replaced. Restore it; or, if you put back an old copy on purpose, delete "
            f"{keyring.folder / 'head'}"
        )
