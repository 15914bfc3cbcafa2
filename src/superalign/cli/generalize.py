"""`superalign generalize`: weak to strong, easy to hard, and a model's best guess at the truth, by every method."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import tyro

from superalign.pipeline.generalize_config import GeneralizeConfig

COLUMNS = {
    "pgr": "PGR",
    "accuracy": "accuracy",
    "pgr auc": "PGR of AUC",
    "worth": "worth true labels",
    "inherited": "wrong where weak is",
    "untrained pgr": "untrained, PGR",
}
"""Figure → head of its column."""


def main(config: Annotated[GeneralizeConfig, tyro.conf.arg(name="")]) -> None:
    """How much of a strong model comes back from weak supervision, by every published method, with intervals."""
    from superalign.evidence import Workspace
    from superalign.report.generalize_page import write_generalization

    result = _played(config)
    page = config.workspace / "generalization.html"
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        write_generalization(ws, page, board=result["sweep"])
        found = [e.body for e in ws.ledger.events("measurement") if e.body["tags"].get("board") == result["sweep"]]
    if config.json:
        shown = ("name", "value", "low", "high", "n", "clusters", "subject", "note", "tags")
        rows = [{key: body[key] for key in shown} for body in found]
        print(json.dumps(result | {"page": str(page), "measurements": rows}))
        return
    for setting in dict.fromkeys(body["tags"].get("setting", "") for body in found):
        _print_setting(setting, [body for body in found if body["tags"].get("setting") == setting])
    print(f"page: {page}\ncheck it: superalign verify --level 2 --workspace {config.workspace}")


def _played(config: GeneralizeConfig) -> dict[str, Any]:
    from superalign.cli.watching import watched
    from superalign.pipeline.generalize import expected_stages, generalize

    return watched(lambda say: generalize(config, say=say), total=expected_stages(config))


def _print_setting(setting: str, bodies: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    cells: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for body in bodies:
        tags = body["tags"]
        if "supervision" in tags and "other" not in tags:
            cells.setdefault((tags["supervision"], tags["method"]), {})[tags["figure"]] = body
    if not cells:
        return
    table = Table(title=setting, title_justify="left")
    for head in ("supervisor", "method", "kind", *COLUMNS.values()):
        table.add_column(head, justify="left" if head in ("supervisor", "method", "kind") else "right")
    for (supervision, method), row in sorted(cells.items(), key=lambda cell: -_worth(cell[1])):
        kind = next(iter(row.values()))["tags"].get("kind", "")
        table.add_row(supervision, method, kind, *(_cell(row.get(figure)) for figure in COLUMNS))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _worth(row: dict[str, dict[str, Any]]) -> float:
    value = row.get("accuracy", {}).get("value")
    return -1.0 if value is None else float(value)


def _cell(body: dict[str, Any] | None) -> str:
    if body is None:
        return ""
    if body["value"] is None:
        return "refused"
    digits = 0 if abs(body["value"]) >= 10 else 3
    value, low, high = ("" if x is None else f"{x:.{digits}f}" for x in (body["value"], body["low"], body["high"]))
    return value if body["low"] is None else f"{value} [{low}, {high}]"
