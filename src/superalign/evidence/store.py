"""The object store: bytes named by their SHA-256, written once, checked whenever they are read."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .canonical import Digest, canonical, is_digest, sha256
from .errors import BadEvent, ObjectMissing, Tampered, disk_errors

CHUNK = 1 << 20
MAX_JSON = 64 << 20
"""Bytes of an object that is read as JSON: a reader's memory holds some twenty times as much."""


class ObjectStore:
    """Content-addressed files under `root/ab/cd…`; `tmp` (same disk) holds what is being written."""

    def __init__(self, root: Path, tmp: Path) -> None:
        self.root, self.tmp = root, tmp

    def path(self, digest: Digest) -> Path:
        """Where that object lies, whether or not it exists; BadEvent unless it's 64 hex digits."""
        if not is_digest(digest):
            raise BadEvent(f"{digest!r} is not a digest: pass the 64 hex digits of a SHA-256")
        return self.root / digest[:2] / digest[2:]

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, str) and is_digest(digest) and self.path(digest).is_file()

    def put(self, data: bytes) -> Digest:
        """Store the bytes and return their digest. Atomic: after a crash it is there whole or not at all."""
        digest = sha256(data)
        if digest not in self:
            with self._writing() as (file, temporary):
                file.write(data)
            self._keep(temporary, digest)
        return digest

    def put_file(self, path: Path) -> Digest:
        """Copy a file in, as a stream, and return its digest."""
        hasher = hashlib.sha256()
        with path.open("rb") as source, self._writing() as (file, temporary):
            while chunk := source.read(CHUNK):
                hasher.update(chunk)
                file.write(chunk)
        self._keep(temporary, hasher.hexdigest())
        return hasher.hexdigest()

    def put_json(self, value: object) -> Digest:
        """Store the RFC 8785 form of a JSON value: equal values have equal digests."""
        return self.put(canonical(value))

    def get(self, digest: Digest) -> bytes:
        """The bytes, their hash checked; ObjectMissing or Tampered otherwise."""
        path = self.path(digest)
        if not path.is_file():
            raise ObjectMissing(f"object {digest} is not in {self.root}: restore it, or run the stage that makes it")
        data = path.read_bytes()
        if sha256(data) != digest:
            raise Tampered(f"object {path} no longer has its own hash: restore it from a copy")
        return data

    def get_json(self, digest: Digest) -> Any:
        """The JSON value stored under that digest; ObjectMissing, or Tampered for what is huge, changed or no JSON."""
        if digest in self and self.path(digest).stat().st_size > MAX_JSON:
            raise Tampered(f"object {digest} is over {MAX_JSON >> 20} MiB, too much JSON to read: don't trust it")
        data = self.get(digest)
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Tampered(f"object {digest} isn't JSON that can be read: don't trust what names it") from error

    def digests(self) -> list[Digest]:
        """The digest of every object that is there, sorted; what isn't named like an object is left out."""
        found = (f"{file.parent.name}{file.name}" for file in self.root.glob("??/*") if not file.is_symlink())
        return sorted(digest for digest in found if digest in self)

    @contextmanager
    def _writing(self) -> Iterator[tuple[BinaryIO, Path]]:
        """An open temporary file, flushed to the disk on leaving and removed if anything fails."""
        with disk_errors(self.root, "storing an object"):
            self.tmp.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.tmp)
            path = Path(name)
            try:
                with open(handle, "wb") as file:
                    yield file, path
                    file.flush()
                    os.fsync(file.fileno())
                path.chmod(0o444)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def _keep(self, temporary: Path, digest: Digest) -> None:
        target = self.path(digest)
        with disk_errors(self.root, "storing an object"):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)
            sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in that folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
