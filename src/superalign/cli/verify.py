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
    """Folder of ledger and objects."""
    level: int = 1
    """V0 chain, signatures, objects; V1 projections and firewall recomputed too."""
    anchor: str | None = None
    """A checkpoint's root that you hold; without one the ledger is self-consistent only."""
    keys: Path | None = None
    """File of public keys that you trust."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout."""


def main(config: Annotated[VerifyConfig, tyro.conf.arg(name="")]) -> None:
    """Check chain, signatures, objects, firewall and claims of a workspace; exit 1 if anything is wrong."""
    from superalign.evidence import verify

    report = verify(config.workspace, level=config.level, anchor=config.anchor, keys=config.keys)
    if config.json:
        findings = [{"seq": f.seq, "what": f.what, "where": f.where, "do": f.do} for f in report.findings]
        print(
            json.dumps(
                {
                    "ok": report.ok,
                    "level": report.level,
                    "events": report.events,
                    "head": report.head,
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
