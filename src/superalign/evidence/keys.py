"""Principals and their Ed25519 keys, which live outside the workspace they sign for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .errors import KeyMissing, disk_errors

PRINCIPALS = ("trainer", "evaluator", "reviewer", "researcher", "notary")
Entropy = Callable[[int], bytes]


def default_keys_dir() -> Path:
    """$SUPERALIGN_KEYS, else $XDG_STATE_HOME/superalign/keys, else ~/.local/state/superalign/keys."""
    if given := os.environ.get("SUPERALIGN_KEYS"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "superalign" / "keys"


class Keyring:
    """The private keys in one folder (one file a principal), read when first needed and kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: dict[str, Ed25519PrivateKey] = {}

    def private(self, principal: str) -> Ed25519PrivateKey:
        """The principal's key; KeyMissing if it isn't on this machine or others may read it."""
        if principal not in self._keys:
            self._keys[principal] = _load(self.folder / f"{principal}.key", principal)
        return self._keys[principal]

    def create(self, entropy: Entropy) -> dict[str, str]:
        """Make a key for every principal (folder 700, files 600); returns the public keys in hex."""
        with disk_errors(self.folder, "writing keys"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            for principal in PRINCIPALS:
                seed = entropy(32)
                _write(self.folder / f"{principal}.key", seed.hex(), 0o600)
                self._keys[principal] = Ed25519PrivateKey.from_private_bytes(seed)
            public = {p: k.public_key().public_bytes_raw().hex() for p, k in self._keys.items()}
            _write(self.folder / "public.json", json.dumps(public, indent=1), 0o644)
        return public

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
    file = path / "public.json" if path.is_dir() else path
    if not file.is_file() or file.stat().st_size > 65536:
        raise KeyMissing(f"no public keys at {file}: pass the public.json that the workspace's owner gave you")
    try:
        keys = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise KeyMissing(f"{file} isn't JSON: pass the public.json that the workspace's owner gave you") from error
    if not isinstance(keys, dict) or not all(isinstance(k, str) for k in keys.values()):
        raise KeyMissing(f"{file} doesn't map principals to keys: pass the owner's public.json")
    return keys


def _load(path: Path, principal: str) -> Ed25519PrivateKey:
    if not path.is_file():
        raise KeyMissing(
            f"the {principal}'s key is not at {path}: write from the machine that made this workspace, "
            "or set "
            "SUPERALIGN_KEYS to where its keys are; reading and `superalign verify` work without"
        )
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise KeyMissing(f"the {principal}'s key {path} can be read by others: run `chmod 600 {path}`")
    text = path.read_text().strip()
    if len(text) != 64 or not all(c in "0123456789abcdef" for c in text):
        raise KeyMissing(f"the {principal}'s key {path} is damaged: restore it from a copy")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def _write(path: Path, text: str, mode: int) -> None:
    temporary = path.with_name(path.name + ".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        if path.name != "head":  # written with every event, and allowed to lag behind
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
