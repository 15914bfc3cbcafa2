"""`verify`: what an auditor runs on a stranger's workspace: read-only, capped, offline, trusting nothing.

V0 checks form: schema, canonical bytes, chain, signatures, types, checkpoints, objects. V1 runs the firewall.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .anchor import Checkpoint, checkpoint_of, compare
from .beside import check_beside, remarks
from .canonical import Digest
from .errors import SuperalignError
from .events import GENESIS_PREV, Event
from .findings import Finding
from .keys import public_keys
from .reading import read_rows
from .replay import replay
from .soundness import Chain, check_anchor, check_objects, check_references
from .store import ObjectStore

MAX_FINDINGS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was found. `ok`: nothing wrong at this level. `anchored`: an outside anchor was met too."""

    ok: bool
    level: int
    findings: tuple[Finding, ...]
    events: int
    head: Digest
    anchored: bool = False
    keys: str = "from the ledger itself"
    """Where the public keys came from."""
    seen: Checkpoint | None = None
    """What the auditor may hold next time, if asked for; None when anything is wrong."""
    remarks: tuple[str, ...] = ()
    """What isn't wrong and an auditor should know all the same; nothing where anything is wrong."""

    @property
    def note(self) -> str:
        """One line on what this result proves, to be printed with it."""
        if not self.ok:
            return f"{len(self.findings)} findings: don't rely on this workspace"
        if not self.anchored:
            return "self-consistent only: without an anchor, a shorter or rewritten history isn't excluded"
        return "consistent with the anchor: nothing before it was changed"


def verify(
    path: Path,
    *,
    level: int = 1,
    anchor: str | None = None,
    held: Checkpoint | None = None,
    keys: Path | None = None,
    keep: bool = False,
    bundle: bool = False,
) -> VerifyReport:
    """Check a workspace without writing to it. Every finding names the event, what, where and what to do.

    `level` 0 or 1; `anchor` a checkpoint's root or an event's digest, got by another way; `held` a whole checkpoint
    that the auditor kept, relative to which every difference is named; `keys` the owner's public.json; `keep` puts
    into the report what the auditor may hold next time; `bundle` says that the folder was unpacked from one, which has
    a page, keys and a README of its own. Raises SuperalignError only where there is nothing to check:
    no ledger, a newer format, bad `keys`.

    >>> verify(Path("run1")).ok   # doctest: +SKIP
    True
    """
    if level not in (0, 1):
        raise SuperalignError(f"evidence verifies levels 0 and 1, not {level}: V2 to V4 belong to the pipeline")
    trusted = dict(public_keys(keys)) if keys else None
    events: list[Event] = []
    found = _findings(Path(path), level, anchor, held, trusted, events, bundle=bundle)
    findings = tuple(islice(found, MAX_FINDINGS))
    return VerifyReport(
        ok=not findings,
        level=level,
        findings=findings,
        events=len(events),
        head=events[-1].digest if events else GENESIS_PREV,
        anchored=(anchor is not None or held is not None) and not findings,
        keys=str(keys) if keys else "from the ledger itself",
        seen=checkpoint_of(events) if keep and not findings else None,
        remarks=() if findings else remarks(Path(path), events),
    )


def _findings(
    path: Path,
    level: int,
    anchor: str | None,
    held: Checkpoint | None,
    trusted: dict[str, str] | None,
    events: list[Event],
    *,
    bundle: bool,
) -> Iterator[Finding]:
    store = ObjectStore(path / "objects", path / "tmp")
    chain = Chain(trusted)
    for row in read_rows(path / "ledger.sqlite"):
        if isinstance(row, Finding):
            yield row
            continue
        event, found = chain.check(row)
        yield from found
        if event is not None:
            events.append(event)
    yield from chain.finish()
    yield from check_anchor(anchor, events, chain.roots)
    if held is not None:
        yield from compare(held, events)
    yield from check_objects(store)
    yield from check_references(store, chain.meant)
    yield from check_beside(path, chain.meant, bundle=bundle)
    if level >= 1:
        yield from replay(store, chain.meant)
