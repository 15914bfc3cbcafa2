"""`superalign verify`: the auditor's check, offline and read-only."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from superalign.evidence import VerifyReport

MAX_SHOWN = 1000
"""Findings that are printed; all are counted."""


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
    model: str | None = None
    """Where level 3 loads the base from, if it isn't one of the family: hf:NAME-OR-PATH. No ledger's word is taken."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout."""


def main(config: Annotated[VerifyConfig, tyro.conf.arg(name="")]) -> None:
    """Check chain, signatures, objects, firewall, budgets and claims of a workspace; exit 1 if anything is wrong."""
    from superalign.evidence import is_bundle, keep, opened, verify
    from superalign.evidence.anchor import Checkpoint, read_anchor

    held = read_anchor(config.anchor) if config.anchor is not None else None
    with opened(config.workspace) as folder:
        report = verify(
            folder,
            level=min(config.level, 1),
            anchor=held if isinstance(held, str) else None,
            held=held if isinstance(held, Checkpoint) else None,
            keys=config.keys,
            keep=config.keep is not None,
            bundle=is_bundle(config.workspace),
        )
        scores = _recounted(folder, config) if config.level >= 2 and report.ok else {}
    if config.keep is not None and report.seen is not None:
        keep(report.seen, config.keep)
    answer = _answer(config.level, report, scores)
    print(json.dumps(answer) if config.json else _page(answer))
    sys.exit(0 if answer["ok"] else 1)


def _recounted(folder: Path, config: VerifyConfig) -> dict[str, Any]:
    """V2, and V3 where it is asked for: what followed, what was taken as stored, and every finding."""
    from superalign.pipeline.recount import recount

    counted = recount(folder)
    found: dict[str, Any] = {"scores_recomputed": counted.followed, "sealed_here": list(counted.withheld)}
    findings = list(counted.findings)
    if config.level >= 3:
        from superalign.pipeline.rerun import rerun

        again = rerun(folder, model=config.model, say=lambda text: print(_line(text), file=sys.stderr))
        found |= {"answers_asked_again": again.asked, "largest_difference": again.largest}
        findings += again.findings
    return {**found, "notes": counted.notes, "findings": findings}


def _answer(level: int, report: VerifyReport, scores: dict[str, Any]) -> dict[str, Any]:
    """The whole answer, as JSON."""
    findings = [*report.findings, *scores.pop("findings", ())]
    notes = [*report.remarks, *scores.pop("notes", ())]
    if level >= 2 and not report.ok:
        notes.append("scores were not recomputed: a ledger with findings is not read any further")
    shown = findings[:MAX_SHOWN]
    return {
        "ok": not findings,
        "level": level,
        "events": report.events,
        "head": report.head,
        "anchored": report.anchored,
        "keys": report.keys,
        **scores,
        "findings": [{"seq": f.seq, "what": f.what, "where": f.where, "do": f.do} for f in shown],
        "note": f"{len(findings)} findings: don't rely on this workspace" if findings else report.note,
        "notes": notes,
    }


def _page(answer: dict[str, Any]) -> str:
    said = "ok" if answer["ok"] else "NOT ok"
    lines = [f"{said}: V{answer['level']}, {answer['events']} events, head {answer['head']}"]
    if "scores_recomputed" in answer:
        lines.append(f"{answer['scores_recomputed']} measurements, claims and figures follow from raw outputs")
    lines += [f"sealed in this copy, not recomputed: {family}" for family in answer.get("sealed_here", ())]
    if "answers_asked_again" in answer:
        lines.append(
            f"{answer['answers_asked_again']} answers asked again of the stored weights; "
            f"they differ by at most {answer['largest_difference']:.2g}"
        )
    lines += [answer["note"], *answer["notes"]]
    for found in answer["findings"]:
        where = "the workspace" if found["seq"] is None else f"event {found['seq']}"
        lines.append(f"{where}: {found['what']} ({found['where']}): {found['do']}")
    return "\n".join(map(_line, lines))


def _line(text: str) -> str:
    """One line of a terminal, whatever a stranger's ledger put into it: nothing hidden, nothing that moves a cursor."""
    from superalign.evidence.visible import visible

    return visible(text).replace("\n", "⟨U+000A⟩").replace("\t", "⟨U+0009⟩")
