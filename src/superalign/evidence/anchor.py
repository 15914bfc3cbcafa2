"""What an auditor keeps of a ledger they have seen, and how a later copy differs from it, event by event.

A root alone says *that* the past was changed. A checkpoint file (`superalign verify --keep FILE`) says *where*: it
holds a digest of each event's content, without the number and the link that change whenever an earlier event does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .alignment import opcodes
from .canonical import Digest, canonical, is_digest, sha256
from .errors import SuperalignError, Unwritable, disk_errors
from .events import Event
from .findings import Finding
from .merkle import merkle_root

MAX_FILE = 128 << 20
_DO = "this is another history than the one you saw: don't rely on it, and ask the owner for the one you hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What the auditor keeps: how many events there were, the Merkle root over them, and what each one said."""

    root: Digest
    contents: tuple[Digest, ...]
    """Digest of each event's time, type, actor and body."""


def content(event: Event) -> Digest:
    """Digest of what an event says, apart from its place: time, type, actor and body."""
    said = {"time": event.time, "type": event.type, "actor": event.actor, "body": event.body}
    return sha256(canonical(said))


def checkpoint_of(events: Sequence[Event]) -> Checkpoint:
    """The checkpoint over all these events."""
    return Checkpoint(root=merkle_root([e.digest for e in events]), contents=tuple(content(e) for e in events))


def keep(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint file; DiskFull or Unwritable where that can't be."""
    text = json.dumps({"superalign": "checkpoint", "root": checkpoint.root, "events": checkpoint.contents})
    try:
        with disk_errors(path, "writing the checkpoint"):
            path.write_text(text)
    except OSError as error:
        what = f"the checkpoint can't be written to {path!s:.200} ({error.strerror})"
        raise Unwritable(f"{what}: choose another place for it") from error


def read_anchor(text: str) -> Digest | Checkpoint:
    """What `--anchor` names: a root or digest as it is, or the checkpoint in that file; else SuperalignError."""
    if is_digest(text):
        return text
    if not _is_file(Path(text)):
        raise SuperalignError(
            f"--anchor {text!r:.80} is neither a digest of 64 hex digits nor a file: pass a checkpoint's root, or the "
            "file that `superalign verify --keep` wrote"
        )
    return read_checkpoint(Path(text))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint file; SuperalignError says what is wrong with it."""
    if not _is_file(path) or path.stat().st_size > MAX_FILE:
        raise SuperalignError(f"{path!s:.200} is no checkpoint file: pass one that `superalign verify --keep` wrote")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SuperalignError(f"{path} isn't JSON: pass one that `superalign verify --keep` wrote") from error
    listed = value.get("events") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not is_digest(value.get("root")) or not all(map(is_digest, listed)):
        raise SuperalignError(f"{path} is damaged: it needs `root` and `events`, all digests of 64 hex digits")
    return Checkpoint(root=value["root"], contents=tuple(listed))


def _is_file(path: Path) -> bool:
    """False, too, for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def compare(held: Checkpoint, events: Sequence[Event]) -> Iterator[Finding]:
    """How these events differ from what the checkpoint covers: changed, dropped, inserted or moved, each by name."""
    past = events[: len(held.contents)]
    if len(past) == len(held.contents) and merkle_root([e.digest for e in past]) == held.root:
        return
    found = list(_differences(held, events))
    yield from found
    if not found:
        what = "every event says what it said, and their chain is another one: they were numbered or linked anew"
        yield Finding(seq=None, what=what, where="ledger.sqlite", do=_DO)


def _differences(held: Checkpoint, events: Sequence[Event]) -> Iterator[Finding]:
    now = [content(e) for e in events]
    codes = opcodes(held.contents, now)
    gone = {held.contents[i]: i for tag, a, b, _, _ in codes if tag in ("delete", "replace") for i in range(a, b)}
    came = {now[j]: j for tag, _, _, a, b in codes if tag in ("insert", "replace") for j in range(a, b)}
    end = len(held.contents)
    for tag, a, b, c, d in codes:
        if tag == "equal" or (tag == "insert" and a == end):
            continue  # what came after the checkpoint is none of its business
        both = min(b - a, d - c)
        for k in range(max(b - a, d - c)):
            if k < both and held.contents[a + k] not in came and now[c + k] not in gone:
                yield _said(events[c + k].seq, f"event {a + k} of your checkpoint was changed")
                continue
            if k < b - a:
                yield _lost(held.contents[a + k], a + k, came, len(events))
            if k < d - c and now[c + k] not in gone and not (b == end and k >= both):
                yield _said(events[c + k].seq, f"a {events[c + k].type} event was inserted that your checkpoint hasn't")


def _lost(digest: Digest, at: int, came: dict[Digest, int], total: int) -> Finding:
    if digest in came:
        return _said(came[digest], f"event {at} of your checkpoint was moved to {came[digest]}")
    return _said(min(at, max(total - 1, 0)), f"event {at} of your checkpoint is missing")


def _said(seq: int, what: str) -> Finding:
    return Finding(seq=seq, what=what, where=f"event {seq}", do=_DO)
