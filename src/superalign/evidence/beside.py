"""V0: what lies beside the ledger and is read by people or by scoring: the page, the keys, the sealed files.

None of it is an event, so none of it is believed for being there. The page is the one that the last `dossier` event
recorded, the keys are the ledger's, and a sealed file is what an event committed to, or it's a finding.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .canonical import Digest, is_digest
from .errors import SealBroken
from .events import Event
from .findings import Finding
from .soundness import hash_of
from .truth import SealedStore, root_of

MAX_PAGE = 1 << 30
MAX_PUBLIC = 65536
README = """This file holds the evidence of one superalign run: a signed ledger, all objects, and the dossier.

    pip install superalign
    superalign verify --workspace THIS_FILE --level 2

Ask the owner for their public keys and for a checkpoint by another way, and pass them with --keys and --anchor:
without, the ledger is shown to be consistent with itself only. The format is in docs/ledger.md of superalign.
"""
PAGE, KEYS = "dossier.html", "public.json"
_SEALED = re.compile(r"([0-9a-f]{64})\.(json|new)", re.ASCII)
_PROMISES = {"seal": "root", "alias": "commitment", "budget": "noise", "query": "values"}
"""Type of event → its member that names a sealed file."""
_SHOWN = ("measurement", "claim", "figure")
_RESTORE = "ask for an untouched copy of the workspace"


def check_beside(folder: Path, events: Sequence[Event], *, bundle: bool) -> Iterator[Finding]:
    """Everything wrong with page, keys and sealed files. A `bundle` has all of them, and nothing left over."""
    yield from _check_page(folder / PAGE, events, bundle=bundle)
    yield from _check_keys(folder / KEYS, events, bundle=bundle)
    if bundle and _read(folder / "README.txt", len(README.encode())) != README.encode():
        yield _file(folder / "README.txt", "not the one that an export writes")
    for file, what, seq in _sealed(folder, events):
        if what is not None or bundle:
            yield _file(file, what or "no event committed to it", seq)


def remarks(folder: Path, events: Sequence[Event]) -> tuple[str, ...]:
    """What isn't wrong and an auditor should know all the same."""
    said = [remark] if (remark := page_remark(folder, events)) is not None else []
    promised = _promised(events)
    if left := sum(root not in promised for root in _names(folder / "sealed")):
        said.append(f"sealed/: {left} files of a run that was stopped; no event names them and nothing reads them")
    return tuple(said)


def page_remark(folder: Path, events: Sequence[Event]) -> str | None:
    """Is the page recorded by no event, or older than what there is to show? None for neither."""
    page = recorded_page(events)
    if page is None:
        there = os.path.lexists(folder / PAGE)
        return f"{PAGE}: no event records this page, so nothing here vouches for it" if there else None
    later = sum(e.type in _SHOWN and e.seq > page.seq for e in events)
    more = f"{PAGE}: {later} measurements, claims and figures came after it was recorded by event {page.seq}"
    return more if later else None


def recorded_page(events: Sequence[Event]) -> Event | None:
    """The last event that records a dossier's page, by its digest."""
    return next((e for e in reversed(events) if e.type == "dossier" and is_digest(e.body.get("html"))), None)


def public_keys_of(events: Sequence[Event]) -> dict[str, str]:
    """Principal → public key, from the genesis and who enrolled since."""
    keys = dict(events[0].body["keys"]) if events and events[0].type == "genesis" else {}
    return keys | {e.body["principal"]: e.body["key"] for e in events if e.type == "enrol"}


def _check_page(page: Path, events: Sequence[Event], *, bundle: bool) -> Iterator[Finding]:
    event, there = recorded_page(events), os.path.lexists(page)
    if event is None:
        if bundle and there:
            yield _file(page, "no event records this page")
        return
    if there and not _is(page, event.body["html"]):
        what, do = f"{PAGE} is not the page that event {event.seq} records", "read the recorded one: `superalign view`"
        yield Finding(seq=event.seq, what=what, where=str(page), do=do)
    if bundle and not there:
        yield _file(page, f"the page that event {event.seq} records is missing")


def _is(file: Path, digest: Digest) -> bool:
    plain = file.is_file() and not file.is_symlink() and file.stat().st_size <= MAX_PAGE
    return plain and hash_of(file) == digest


def _check_keys(file: Path, events: Sequence[Event], *, bundle: bool) -> Iterator[Finding]:
    if not bundle and not os.path.lexists(file):
        return
    try:
        stated = json.loads(_read(file, MAX_PUBLIC) or b"", object_pairs_hook=_once)
    except (ValueError, RecursionError):
        stated = None
    if stated != public_keys_of(events):
        do = "ask the owner for their public keys by another way"
        yield Finding(seq=None, what=f"{KEYS} doesn't hold the ledger's keys", where=str(file), do=do)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


def _sealed(folder: Path, events: Sequence[Event]) -> Iterator[tuple[Path, str | None, int | None]]:
    """Files in sealed/ that are not as promised, what is wrong, and who promised; None for what a stopped run left."""
    place, promised = folder / "sealed", _promised(events)
    if not os.path.lexists(place):
        return
    if place.is_symlink() or not place.is_dir():
        yield place, "not a folder of sealed files", None
        return
    for entry in sorted(os.scandir(place), key=lambda e: e.name):
        named = _SEALED.fullmatch(entry.name)
        if named is None or entry.is_symlink() or not entry.is_file():
            what = "not a sealed file: one is a plain file named by the root it was promised by"
            yield Path(entry.path), what, None
        elif named[2] == "new":
            yield Path(entry.path), None, None
        elif _root(place, named[1]) != named[1]:
            what = "this sealed file doesn't hold what was promised by the root it is named by"
            yield Path(entry.path), what, promised.get(named[1])
        elif named[1] not in promised:
            yield Path(entry.path), None, None


def _promised(events: Sequence[Event]) -> dict[Digest, int]:
    """Root → number of the first event that promises it."""
    named = ((e.body.get(_PROMISES[e.type]), e.seq) for e in reversed(events) if e.type in _PROMISES)
    return {str(root): seq for root, seq in named if is_digest(root)}


def _names(place: Path) -> list[str]:
    """What sealed files are named by; a half-written one by its whole name."""
    names = os.listdir(place) if place.is_dir() else []
    return [name.removesuffix(".json") for name in names]


def _root(place: Path, root: Digest) -> Digest | None:
    try:
        return root_of(SealedStore(place).read(root))
    except SealBroken:
        return None


def _read(file: Path, most: int) -> bytes | None:
    """The bytes of a plain file that is no larger than that."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size > most:
        return None
    return file.read_bytes()


def _file(file: Path, what: str, seq: int | None = None) -> Finding:
    return Finding(seq=seq, what=what, where=str(file), do=_RESTORE)
