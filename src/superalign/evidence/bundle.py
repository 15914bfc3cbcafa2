"""One file for a stranger: ledger, objects, opened truths, public keys and the dossier, as a plain zip archive.

    export(Path(".superalign"), Path("run.zip"))      # then, anywhere: superalign verify --workspace run.zip

What was never opened stays closed: unopened truths, aliases and hold-out answers are in the ledger as digests and are
not in the file. Reading one takes no path from it: a member has a name that is allowed, or the file is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .beside import KEYS, PAGE, README, public_keys_of, recorded_page
from .errors import SuperalignError, Tampered, WorkspaceMissing, disk_errors
from .ledger import Ledger, connect
from .workspace import Workspace

MAX_TOTAL = 8 << 30
MAX_MEMBERS = 1_000_000
_MEMBER = re.compile(
    r"ledger\.sqlite|public\.json|dossier\.html|README\.txt|objects/[0-9a-f]{2}/[0-9a-f]{62}|sealed/[0-9a-f]{64}\.json",
    re.ASCII,
)
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, EOFError, RuntimeError, ValueError)
"""What the zip reader raises on bytes that somebody changed (RuntimeError: an encrypted member)."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def export(workspace: Path, target: Path) -> int:
    """Write a workspace as one file and return its size in bytes; the same workspace gives the same bytes.

    Raises WorkspaceMissing or WorkspaceLocked for a workspace that can't be read now, DiskFull or Unwritable.
    """
    with Workspace.open(workspace, create=False, write=False) as ws, disk_errors(target, "writing the bundle"):
        part = target.with_name(target.name + ".part")
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
                for name, source in _members(ws):
                    _write(archive, name, source)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return target.stat().st_size


def is_bundle(path: Path) -> bool:
    """True for a file that is a zip archive (a workspace is a folder); WorkspaceMissing for a name no file can have."""
    try:
        return path.is_file() and zipfile.is_zipfile(path)
    except OSError as error:
        raise WorkspaceMissing(f"{path!s:.200} can't be opened ({error.strerror}): choose another") from error


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The workspace inside a bundle, in a temporary folder that is removed afterwards; a folder is given as it is.

    Raises Tampered for an archive with a name that isn't allowed, twice the same name, packed otherwise than stored or
    deflated, or with more bytes than it states.
    """
    if not is_bundle(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="superalign-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, Path(folder), path)
        except _DAMAGED as error:
            raise Tampered(f"{path} can't be read as a bundle ({error}): ask for an untouched copy") from error
        yield Path(folder)


def _members(ws: Workspace) -> Iterator[tuple[str, Path | bytes]]:
    yield "README.txt", README.encode()
    events = ws.ledger.events()
    yield KEYS, _json(public_keys_of(events))
    yield "ledger.sqlite", _snapshot(ws.ledger)
    if (page := recorded_page(events)) is not None and page.body["html"] in ws.store:
        yield PAGE, ws.store.path(page.body["html"])
    for root in sorted({str(event.body["root"]) for event in ws.ledger.events("read")}):
        yield f"sealed/{root}.json", ws.path / "sealed" / f"{root}.json"
    yield from ((f"objects/{d[:2]}/{d[2:]}", ws.store.path(d)) for d in ws.store.digests())


def _snapshot(ledger: Ledger) -> bytes:
    """The ledger's file as it is between two transactions: no journal goes along."""
    db = connect(ledger.path, write=False)
    try:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return ledger.path.read_bytes()
    finally:
        db.close()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _write(archive: zipfile.ZipFile, name: str, source: Path | bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    if isinstance(source, bytes):
        archive.writestr(info, source)
        return
    info.file_size = source.stat().st_size
    with source.open("rb") as file, archive.open(info, "w") as target:
        shutil.copyfileobj(file, target, 1 << 20)


def _unpack(archive: zipfile.ZipFile, folder: Path, path: Path) -> None:
    members = archive.infolist()
    names = [m.filename for m in members]
    odd = next((n for n in names if not _MEMBER.fullmatch(n)), None)
    if odd is not None or len(set(names)) != len(names):
        what = f"has a member {odd!r:.80} that no bundle has" if odd is not None else "has one member twice"
        raise Tampered(f"{path} {what}: ask for an untouched copy")
    if any(m.compress_type not in _PACKED for m in members):
        raise Tampered(f"{path} has a member packed otherwise than stored or deflated: ask for an untouched copy")
    if len(members) > MAX_MEMBERS or sum(m.file_size for m in members) > MAX_TOTAL:
        raise SuperalignError(f"{path} unpacks to over {MAX_TOTAL} bytes: verify the workspace's folder instead")
    for member in members:
        target = folder / member.filename
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with disk_errors(target, "unpacking the bundle"), archive.open(member) as source:
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb") as file:
                left = member.file_size
                while chunk := source.read(1 << 20):
                    left -= len(chunk)
                    if left < 0:
                        raise Tampered(f"{path}: {member.filename} is longer than it says: ask for an untouched copy")
                    file.write(chunk)
