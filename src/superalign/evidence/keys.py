"""Principals and their Ed25519 keys, outside the workspace they sign for; the person's under a passphrase."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from .errors import KeyMissing, disk_errors

PRINCIPALS = ("trainer", "evaluator", "reviewer", "researcher", "notary")
PERSON = "reviewer"
"""The principal who is a person: their key is made when they enrol, and is never on the disk unencrypted."""
MIN_PASSPHRASE = 8
MAX_PUBLIC = 65536
_ASK = "pass the public.json that the workspace's owner gave you"
Entropy = Callable[[int], bytes]
Passphrase = Callable[[], str]


def default_keys_dir() -> Path:
    """$SUPERALIGN_KEYS, else $XDG_STATE_HOME/superalign/keys, else ~/.local/state/superalign/keys."""
    if given := os.environ.get("SUPERALIGN_KEYS"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "superalign" / "keys"


def ask_passphrase() -> str:
    """The person's passphrase: $SUPERALIGN_PASSPHRASE, else asked at the terminal; KeyMissing where nobody sits."""
    if given := os.environ.get("SUPERALIGN_PASSPHRASE"):
        return given
    if not sys.stdin.isatty():
        raise KeyMissing(
            f"the {PERSON}'s key needs a passphrase and nobody sits at a terminal: let the person run this, or set "
            "SUPERALIGN_PASSPHRASE for this one command"
        )
    return getpass.getpass(f"passphrase of the {PERSON}: ")


class Keyring:
    """The private keys in one folder (one file a principal), read when first needed and kept.

    `passphrase` is called when the person's key is needed: `ask_passphrase`, unless something else is given.
    `open_person` allows a person's key without a passphrase: ledgers of format 1 had no other.
    """

    def __init__(self, folder: Path, *, passphrase: Passphrase = ask_passphrase, open_person: bool = False) -> None:
        self.folder, self._passphrase, self._open_person = folder, passphrase, open_person
        self._keys: dict[str, Ed25519PrivateKey] = {}

    def private(self, principal: str) -> Ed25519PrivateKey:
        """The principal's key; KeyMissing if it isn't on this machine, others may read it, or it stays locked."""
        if principal not in self._keys:
            locked = principal == PERSON and not self._open_person
            self._keys[principal] = _load(self.folder / f"{principal}.key", principal, self._passphrase, locked=locked)
        return self._keys[principal]

    def create(self, entropy: Entropy) -> dict[str, str]:
        """Make a key for every principal but the person (folder 700, files 600); returns the public keys in hex."""
        with disk_errors(self.folder, "writing keys"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            for principal in PRINCIPALS:
                if principal != PERSON:
                    seed = entropy(32)
                    _write(self.folder / f"{principal}.key", seed.hex(), 0o600)
                    self._keys[principal] = Ed25519PrivateKey.from_private_bytes(seed)
        return self._publish()

    def enrol(self, entropy: Entropy) -> str:
        """Make the person's key, encrypted under their passphrase (PKCS 8); returns the public key in hex.

        A key that is there already is kept, if it's under their passphrase. Raises KeyMissing for a key that isn't, and
        for a passphrase under MIN_PASSPHRASE characters.
        """
        path = self.folder / f"{PERSON}.key"
        if not path.exists():
            phrase = self._passphrase()
            if len(phrase) < MIN_PASSPHRASE:
                raise KeyMissing(f"a passphrase of {len(phrase)} characters: use at least {MIN_PASSPHRASE}")
            key = Ed25519PrivateKey.from_private_bytes(entropy(32))
            locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(phrase.encode()))
            with disk_errors(self.folder, "writing keys"):
                _write(path, locked.decode(), 0o600)
            self._keys[PERSON] = key
        self.private(PERSON)
        return self._publish()[PERSON]

    def _publish(self) -> dict[str, str]:
        public = {p: k.public_key().public_bytes_raw().hex() for p, k in self._keys.items()}
        path = self.folder / "public.json"
        known = json.loads(path.read_text()) if path.is_file() else {}
        with disk_errors(self.folder, "writing keys"):
            _write(path, json.dumps(known | public, indent=1), 0o644)
        return known | public

    def remember(self, seq: int, digest: str) -> None:
        """Note the last event written, beside the keys, so that a ledger cut short is noticed."""
        if self.folder.is_dir():
            with disk_errors(self.folder, "noting the last event"):
                _write(self.folder / "head", f"{seq} {digest}", 0o600)

    def remembered(self) -> tuple[int, str] | None:
        """The last event noted on this machine, or None."""
        path = self.folder / "head"
        if not path.is_file():
            return None
        seq, _, digest = path.read_text().partition(" ")
        return (int(seq), digest) if seq.isdigit() else None


def public_keys(path: Path) -> Mapping[str, str]:
    """Public keys from a `public.json`, or from the folder that holds one; KeyMissing if it can't be read."""
    try:
        file = path / "public.json" if path.is_dir() else path
        data = file.read_bytes() if file.is_file() and file.stat().st_size <= MAX_PUBLIC else None
    except OSError:  # a name that no file can have, or a file that isn't ours to read
        file, data = path, None
    if data is None:
        raise KeyMissing(f"no public keys at {file!s:.200}: {_ASK}")
    try:
        keys = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise KeyMissing(f"{file} isn't JSON: {_ASK}") from error
    if not isinstance(keys, dict) or not all(isinstance(k, str) for k in keys.values()):
        raise KeyMissing(f"{file} doesn't map principals to keys: {_ASK}")
    return keys


def _load(path: Path, principal: str, passphrase: Passphrase, *, locked: bool) -> Ed25519PrivateKey:
    if principal == PERSON and path.parent.is_dir() and not path.is_file():
        raise KeyMissing(f"no {PERSON} is enrolled in {path.parent}: let the person do so with ws.enrol()")
    if not path.is_file():
        raise KeyMissing(
            f"the {principal}'s key is not at {path}: write from the machine that made this workspace, or set "
            "SUPERALIGN_KEYS to where its keys are; reading and `superalign verify` work without"
        )
    _check_private(path, principal)
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if text.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----"):
        return _unlocked(path, text, passphrase())
    if locked:
        raise KeyMissing(
            f"the {principal}'s key {path} is not under a passphrase, so anybody may have put it there: delete it, and "
            "let the person enrol, or put their own key back"
        )
    if len(text) != 64 or not all(c in "0123456789abcdef" for c in text):
        raise KeyMissing(f"the {principal}'s key {path} is damaged: restore it from a copy")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def _check_private(path: Path, principal: str) -> None:
    """Nobody else may read a key, nor exchange it: neither its file nor its folder is open to others."""
    if os.name != "posix":
        return
    if path.stat().st_mode & 0o077:
        raise KeyMissing(f"the {principal}'s key {path} can be read by others: run `chmod 600 {path}`")
    if path.parent.stat().st_mode & 0o077:
        raise KeyMissing(f"the folder of keys {path.parent} is open to others: run `chmod 700 {path.parent}`")


def _unlocked(path: Path, text: str, phrase: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(text.encode(), phrase.encode())
    except (ValueError, TypeError) as error:  # the latter: an empty passphrase
        raise KeyMissing(f"{path} doesn't open: the passphrase is another, or the file is damaged") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyMissing(f"{path} holds another kind of key: restore it from a copy")
    return key


def _write(path: Path, text: str, mode: int) -> None:
    temporary = path.with_name(path.name + ".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        if path.name != "head":  # written with every event, and allowed to lag behind
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
