"""`superalign verify`: the auditor's check, offline and read-only."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """What to check, and against what."""

    workspace: Path = Path(".superalign")
    """Folder of ledger and objects, or a bundle that `superalign view --export` wrote."""
    level: Literal[0, 1, 2, 3] = 1
    """V0 chain, signatures, objects; V1 firewall and budgets recomputed; V2 every score recomputed from raw outputs; V3
    the evaluation run again on the stored weights (needs `[local]`, and minutes)."""
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
    """Check chain, signatures, objects, firewall, budgets and claims of a workspace; exit 1 if anything is wrong."""
    from superalign.evidence import keep, opened, read_checkpoint, verify

    held = read_checkpoint(Path(config.anchor)) if config.anchor and Path(config.anchor).is_file() else None
    with opened(config.workspace) as folder:
        report = verify(
            folder,
            level=min(config.level, 1),
            anchor=None if held else config.anchor,
            held=held,
            keys=config.keys,
            keep=config.keep is not None,
        )
        scores = _recounted(folder, config.level) if config.level >= 2 else {}
    if config.keep is not None and report.seen is not None:
        keep(report.seen, config.keep)
    findings = [*report.findings, *scores.pop("findings", ())]
    answer = {
        "ok": not findings,
        "level": config.level,
        "events": report.events,
        "head": report.head,
        "anchored": report.anchored,
        "keys": report.keys,
        **scores,
        "findings": [{"seq": f.seq, "what": f.what, "where": f.where, "do": f.do} for f in findings],
        "note": report.note,
    }
    print(json.dumps(answer) if config.json else _page(answer))
    sys.exit(0 if answer["ok"] else 1)


def _recounted(folder: Path, level: int) -> dict[str, Any]:
    """V2, and V3 where it is asked for: what followed, and every finding."""
    from superalign.pipeline.recount import recount

    counted = recount(folder)
    found: dict[str, Any] = {"scores_recomputed": counted.followed, "sealed_here": list(counted.withheld)}
    findings = list(counted.findings)
    if level >= 3:
        from superalign.pipeline.rerun import rerun

        again = rerun(folder, say=lambda text: print(text, file=sys.stderr))
        found |= {"answers_asked_again": again.asked, "largest_difference": again.largest}
        findings += again.findings
    return {**found, "findings": findings}


def _page(answer: dict[str, Any]) -> str:
    said = "ok" if answer["ok"] else "NOT ok"
    lines = [f"{said}: V{answer['level']}, {answer['events']} events, head {answer['head']}"]
    if "scores_recomputed" in answer:
        lines.append(f"{answer['scores_recomputed']} measurements, claims and figures follow from raw outputs")
    lines += [f"sealed in this copy, not recomputed: {family}" for family in answer.get("sealed_here", ())]
    if "answers_asked_again" in answer:
        lines.append(
            f"{answer['answers_asked_again']} stages asked again of the stored weights; "
            f"answers differ by at most {answer['largest_difference']:.2g}"
        )
    lines += [answer["note"]] if answer["note"] else []
    for found in answer["findings"]:
        where = "the workspace" if found["seq"] is None else f"event {found['seq']}"
        lines.append(f"{where}: {found['what']} ({found['where']}): {found['do']}")
    return "\n".join(lines)
