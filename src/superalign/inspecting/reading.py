"""A stranger's Inspect log, opened with care: whole, no larger than memory holds, known by the bytes that were read.

    log, digest = read_log(Path("log.eval"))

Nothing is unpickled, and no path is taken from what a log says.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from superalign.evidence import SuperalignError

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

MOST = 2 << 30
"""Bytes of a log, unpacked: a reader's memory holds several times as much."""
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93)
"""Ways in which Inspect packs a log; 93 is Zstandard."""
PIECE = 1 << 20


class LogUnfit(SuperalignError):
    """A log that no evidence can be made of; the message says why, and what to do."""


def read_log(path: Path) -> tuple[EvalLog, str]:
    """The log, and the SHA-256 of its bytes. Raises LogUnfit for what is no whole log, or is too large to be read."""
    from inspect_ai.log import read_eval_log
    from zstandard import ZstdError  # what Inspect packs logs with

    if not path.is_file():
        raise LogUnfit(f"{path}: there is no such file: name an Inspect log (.eval or .json)")
    broken = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError, OSError)
    broken += (zipfile.BadZipFile, zlib.error, ZstdError)
    try:
        if _unpacked(path) > MOST:
            raise LogUnfit(f"{path}: over {MOST >> 30} GiB unpacked, too much to read: evaluate, and import, in parts")
        digest = _sha256(path)
        return read_eval_log(str(path.absolute())), digest
    except broken as error:
        raise LogUnfit(f"{path}: no Inspect log can be read there ({type(error).__name__}: {error!s:.160})") from error


def _unpacked(path: Path) -> int:
    """Bytes that a log holds. A zip is unpacked once, piece by piece, up to what it says: it may say too little."""
    if path.suffix != ".eval":
        return path.stat().st_size
    with zipfile.ZipFile(path) as packed:
        members = packed.infolist()
        size = sum(member.file_size for member in members)
        if size > MOST:
            return size
        for member in members:
            if member.compress_type not in PACKED:
                raise ValueError(f"{member.filename!r:.80} is packed in a way that Inspect does not use")
            with packed.open(member) as file:
                while file.read(PIECE):  # at its end the checksum is asked for
                    pass
    return size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
