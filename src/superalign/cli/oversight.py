"""`superalign oversight`: every protocol on the same items, one leaderboard."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from superalign.cli.costs import print_estimate, say_costs
from superalign.pipeline.board_config import OversightConfig

if TYPE_CHECKING:
    from superalign.pipeline.board_own import Own

COLUMNS = (
    "accuracy", "honest", "dishonest", "brier", "bits gained", "judge tokens per correct", "judge checks per correct",
)  # fmt: skip
SPOKEN = ("tokens read per play", "tokens written per play", "usd per play", "usd per correct")
"""Further columns where players are asked in words."""
SMALL = 0.01


def main(config: Annotated[OversightConfig, tyro.conf.arg(name="")]) -> None:
    """Every protocol of scalable oversight on the same items, with the same judge, advisers, budget and seeds."""
    from superalign.evidence import Workspace
    from superalign.pipeline.board_own import with_own
    from superalign.report.leaderboard import write_leaderboard

    config, own = with_own(config)
    if config.dry_run:
        return _say_costs(config, own)
    result = _played(config, own)
    page = config.workspace / "oversight.html"
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        write_leaderboard(ws, page, board=result["board"])
        found = [e.body for e in ws.ledger.events("measurement") if e.body["tags"].get("board") == result["board"]]
        runs = [e.body for e in ws.ledger.events("run")]
    spoken, data = (
        [run[part] for run in runs if part in run and run[part]["board"] == result["board"]]
        for part in ("spoken", "data")
    )
    if config.json:
        shown = ("name", "value", "low", "high", "n", "clusters", "subject", "note", "tags")
        measurements = [{key: body[key] for key in shown} for body in found]
        more = {name: told[-1] for name, told in (("spoken", spoken), ("data", data)) if told}
        print(json.dumps(result | {"page": str(page)} | more | {"measurements": measurements}))
        return None
    for task in config.tasks:
        _print_task(task, [body for body in found if body["tags"]["task"] == task])
    for each in spoken[-1:]:
        _print_spoken(each)
    print(f"page: {page}\ncheck it: superalign verify --level 2 --workspace {config.workspace}")
    return None


def _say_costs(config: OversightConfig, own: Mapping[str, Own]) -> None:
    from superalign.pipeline.board import board_sizes
    from superalign.pipeline.board_config import sized
    from superalign.pipeline.spoken_estimate import estimated

    say_costs(estimated(config, sized(board_sizes(config.preset), config), own), as_json=config.json)


def _played(config: OversightConfig, own: Mapping[str, Own]) -> dict[str, Any]:
    from superalign.cli.watching import watched
    from superalign.pipeline.board import play_board, played_before, unplayed
    from superalign.pipeline.board_config import PERSON, settled
    from superalign.pipeline.board_curves import cells_in_all
    from superalign.pipeline.board_scores import chosen_protocols, left_out

    chosen = chosen_protocols(settled(config))
    done, total = 0, len(cells_in_all(settled(config), chosen))
    if config.resume:
        done, total = played_before(config, own)
        print(f"resuming: {done} of {total} cells are played", file=sys.stderr, flush=True)
    for name, why in left_out(config).items():
        print(f"left out: {name}: {why}", file=sys.stderr, flush=True)
    for task, each in own.items():
        for line in _about(task, each, unplayed(task, chosen)):
            print(line, file=sys.stderr, flush=True)
    asked = config.judge == PERSON  # a person is asked at this terminal
    return watched(
        lambda say: play_board(config, own=own, say=say, tell=lambda found: print_estimate(found, err=True)),
        total=total,
        done=done,
        bar=not asked,
    )


def _about(task: str, own: Own, unplayed: Mapping[str, str]) -> Iterator[str]:
    """What is to be known of data of one's own before it is played."""
    from superalign.pipeline.board_own import wide

    for name, why in unplayed.items():
        yield f"left out of {task}: {name}: {why}"
    if cut := wide(own.data):
        yield f"{task}: {cut} rows of validation have over two options: the right one and one other, drawn, are played"


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
    spoken = [column for column in SPOKEN if any(column in each for each in parts.values())]
    failed = {name: _failures(each["accuracy"]["tags"]) for name, each in parts.items()}
    for column in (*COLUMNS, *spoken):
        table.add_column(column, justify="right")
    table.add_column("against controls, corrected")
    if any(failed.values()):
        table.add_column("failures")
    ranked = sorted(parts, key=lambda name: -(parts[name]["accuracy"]["value"] or 0))
    for name in ranked:
        row = [name, *(_cell(parts[name].get(column)) for column in (*COLUMNS, *spoken)), ", ".join(told.get(name, ()))]
        table.add_row(*row, *([failed[name]] if any(failed.values()) else []))
    Console(width=None if sys.stdout.isatty() else 200 + 60 * bool(spoken)).print(table)


def _failures(tags: Mapping[str, Any]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in tags["failures"].items())


def _print_spoken(spoken: Mapping[str, Any]) -> None:
    """Who was asked in words, and by which prompts."""
    for who, voice in spoken["who"].items():
        print(f"{who}: {voice['identity']}" + (", weights unseen" if voice["unseen"] else ""))
    for label, prompt in spoken["prompts"].items():
        print(f"prompt {label}: {prompt['name']}, version {prompt['version']}, {prompt['digest']}")


def _cell(body: dict[str, Any] | None) -> str:
    if body is None or body["value"] is None:
        return ""
    big, small = abs(body["value"]) >= 20, 0 < abs(body["value"]) < SMALL
    value, low, high = (
        ("" if x is None else f"{x:.0f}" if big else f"{x:.2g}" if small else f"{x:.3f}")
        for x in (body["value"], body["low"], body["high"])
    )
    return value if body["low"] is None else f"{value} [{low}, {high}]"
