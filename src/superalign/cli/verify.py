"""`superalign verify`: the auditor's check, offline and read-only."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """What to check, and against what."""

    workspace: Path = Path(".superalign")
    """Folder of ledger and objects, or a bundle that `superalign view --export` wrote."""
    level: int = 1
    """V0 chain, signatures, objects; V1 projections and firewall recomputed too."""
    anchor: str | None = None
    """A checkpoint's root that you hold, or the file that --keep wrote: then every difference is named. Without one
    the ledger is self-consistent only."""
    keep: Path | None = None
    """Where to write what you may hold of this ledger: the --anchor of your next check."""
    keys: Path | None = None
    """File of public keys that you trust."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout."""


def main(config: Annotated[VerifyConfig, tyro.conf.arg(name="")]) -> None:
    """Check chain, signatures, objects, firewall and claims of a workspace; exit 1 if anything is wrong."""
    from superalign.evidence import keep, opened, read_checkpoint, verify

    held = read_checkpoint(Path(config.anchor)) if config.anchor and Path(config.anchor).is_file() else None
    with opened(config.workspace) as folder:
        report = verify(
            folder,
            level=config.level,
            anchor=None if held else config.anchor,
            held=held,
            keys=config.keys,
            keep=config.keep is not None,
        )
    if config.keep is not None and report.seen is not None:
        keep(report.seen, config.keep)
    if config.json:
        findings = [{"seq": f.seq, "what": f.what, "where": f.where, "do": f.do} for f in report.findings]
        print(
            json.dumps(
                {
                    "ok": report.ok,
                    "level": report.level,
                    "events": report.events,
                    "head": report.head,
                    "anchored": report.anchored,
                    "keys": report.keys,
                    "findings": findings,
                    "note": report.note,
                }
            )
        )
    else:
        print(f"{'ok' if report.ok else 'NOT ok'}: V{report.level}, {report.events} events, head {report.head}")
        if report.note:
            print(report.note)
        for finding in report.findings:
            print(f"event {finding.seq}: {finding.what} ({finding.where}): {finding.do}")
    sys.exit(0 if report.ok else 1)
