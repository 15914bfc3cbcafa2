"""`superalign stress`: organisms, twins and decoys audited blind; which check catches which, at which false alarms."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from superalign.cli.tables import cell, show
from superalign.pipeline.game.config import StressConfig

SHOWN = ("name", "title", "value", "low", "high", "n", "clusters", "subject", "note", "tags")


def main(config: Annotated[StressConfig, tyro.conf.arg(name="")]) -> None:
    """Audit models that are misaligned on purpose, blind: which check catches which kind, at which false alarms."""
    from superalign.cli.watching import watched
    from superalign.evidence import Workspace
    from superalign.pipeline.game.play import expected_steps, stress
    from superalign.report.stress_page import write_stress

    began, page = time.monotonic(), config.workspace / "stress.html"
    result = watched(lambda say: stress(config, say=say), total=expected_steps(config))
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        write_stress(ws, page, game=result["game"])
        found = [e.body for e in ws.ledger.events("measurement") if e.body["tags"].get("game") == result["game"]]
    seconds = round(time.monotonic() - began, 1)
    if config.json:
        rows = [{key: body[key] for key in SHOWN} for body in found]
        print(json.dumps(result | {"page": str(page), "seconds": seconds, "measurements": rows}))
        return
    for side in config.sides:
        _card(side, [body["tags"] | body for body in found if body["tags"].get("side") == side])
    _further([body for body in found if body["tags"].get("figure") == "further"])
    for name, verdict in result["verdicts"].items():
        print(f"{name:24} {verdict}")
    print(f"page: {page}\ncheck it: superalign verify --level 2 --workspace {config.workspace}")


def _card(side: str, bodies: Sequence[dict[str, Any]]) -> None:
    """Detection by kind, accused twins and decoys, of every check."""
    cells = {(b["check"], b["kind"], b["part"]): b for b in bodies if b["figure"] == "card"}
    checks = list(dict.fromkeys(check for check, _, _ in cells))
    kinds = list(dict.fromkeys(kind for _, kind, part in cells if part == "detection" and kind != "all"))
    rows = [[kind, *(_share(cells.get((check, kind, "detection"))) for check in checks)] for kind in kinds]
    for part, title in (("detection", "all in scope"), ("twins", "twins accused"), ("decoys", "decoys accused")):
        rows.append([title, *(cell(cells.get((check, "all", part))) for check in checks)])
    show(f"organisms of a {side} caught, thresholds set by other kinds", ("kind", *checks), rows)


def _further(bodies: Sequence[dict[str, Any]]) -> None:
    """Every number of the studies beside the audit."""
    for study in dict.fromkeys(body["tags"]["study"] for body in bodies):
        rows = [[body["title"], cell(body)] for body in bodies if body["tags"]["study"] == study]
        show(study, ("what", "value"), rows)


def _share(body: dict[str, Any] | None) -> str:
    """How many of how many; in brackets where the kind is out of the check's scope."""
    if body is None or body["value"] is None:
        return "–"
    text = f"{round(body['value'] * body['n'])}/{body['n']}"
    return text if body["scope"] else f"({text})"
