"""`superalign oversight`: every protocol on the same items, one leaderboard."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import tyro

from superalign.pipeline.board_config import OversightConfig

COLUMNS = (
    "accuracy", "honest", "dishonest", "brier", "bits gained", "judge tokens per correct", "judge checks per correct",
)  # fmt: skip


def main(config: Annotated[OversightConfig, tyro.conf.arg(name="")]) -> None:
    """Every protocol of scalable oversight on the same items, with the same judge, advisers, budget and seeds."""
    from superalign.evidence import Workspace
    from superalign.report.leaderboard import write_leaderboard

    result = _played(config)
    page = config.workspace / "oversight.html"
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        write_leaderboard(ws, page, board=result["board"])
        found = [e.body for e in ws.ledger.events("measurement") if e.body["tags"].get("board") == result["board"]]
    if config.json:
        shown = ("name", "value", "low", "high", "n", "clusters", "subject", "note", "tags")
        print(
            json.dumps(
                result | {"page": str(page), "measurements": [{key: body[key] for key in shown} for body in found]}
            )
        )
        return
    for task in config.tasks:
        _print_task(task, [body for body in found if body["tags"]["task"] == task])
    print(f"page: {page}\ncheck it: superalign verify --level 2 --workspace {config.workspace}")


def _played(config: OversightConfig) -> dict[str, Any]:
    from superalign.cli.watching import watched
    from superalign.pipeline.board import play_board, played_before
    from superalign.pipeline.board_config import PERSON, settled
    from superalign.pipeline.board_curves import cells_in_all
    from superalign.pipeline.board_scores import chosen_protocols

    done, total = 0, len(cells_in_all(settled(config), chosen_protocols(settled(config))))
    if config.resume:
        done, total = played_before(config)
        print(f"resuming: {done} of {total} cells are played", file=sys.stderr, flush=True)
    asked = config.judge == PERSON  # a person is asked at this terminal
    return watched(lambda say: play_board(config, say=say), total=total, done=done, bar=not asked)


def _print_task(task: str, bodies: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    parts: dict[str, dict[str, dict[str, Any]]] = {}
    told: dict[str, list[str]] = {}
    for body in bodies:
        tags = body["tags"]
        if "curve" in tags:
            continue
        if "part" in tags:
            parts.setdefault(tags["protocol"], {})[tags["part"]] = body
        elif tags["verdict"] != "not told":
            told.setdefault(tags["protocol"], []).append(f"{tags['verdict']} ({tags['control']})")
    table = Table(title=task, title_justify="left")
    table.add_column("protocol")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    table.add_column("against controls, corrected")
    ranked = sorted(parts, key=lambda name: -(parts[name]["accuracy"]["value"] or 0))
    for name in ranked:
        table.add_row(name, *(_cell(parts[name].get(column)) for column in COLUMNS), ", ".join(told.get(name, ())))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cell(body: dict[str, Any] | None) -> str:
    if body is None or body["value"] is None:
        return ""
    big = abs(body["value"]) >= 20
    value, low, high = (
        ("" if x is None else f"{x:.0f}" if big else f"{x:.3f}") for x in (body["value"], body["low"], body["high"])
    )
    return value if body["low"] is None else f"{value} [{low}, {high}]"
