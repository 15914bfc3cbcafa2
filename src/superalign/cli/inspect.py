"""`superalign inspect import LOG.eval --workspace W --role validation`, `superalign inspect export --out LOG.eval`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """Take an Inspect log into the ledger: its digest, samples, dataset and weights; every metric recomputed."""

    log: Annotated[Path, tyro.conf.Positional]
    """The log, .eval or .json."""
    workspace: Path = Path(".superalign")
    """Folder of ledger and objects."""
    role: str = "validation"
    """What its numbers may be used for: train, dev, validation or test."""
    provenance: str = ""
    """Where a dataset that isn't superalign's comes from. Nobody says: it counts as tainted by everything (R5)."""
    data: Path | None = None
    """Your own data file, where the log is of a task of ours on it. A path that a log names is never opened."""
    base: str = ""
    """Reason for which an unregistered model counts as a declared common base, as in "pretrained by X before May"."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Write the episodes of a leaderboard as an Inspect log, to be read in `inspect view`. It holds the truths."""

    workspace: Path = Path(".superalign")
    """Folder of ledger and objects."""
    out: Path = Path("board.eval")
    """The log to write, .eval or .json."""
    tasks: tuple[str, ...] = ()
    """Tasks of the board; none: all."""
    protocols: tuple[str, ...] = ()
    """Cells of the board, by name; none: all."""
    board: str = ""
    """Beginning of the board's key; empty: the last one."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout."""


Command = (
    Annotated[ImportConfig, tyro.conf.subcommand("import")] | Annotated[ExportConfig, tyro.conf.subcommand("export")]
)


def main(config: Annotated[Command, tyro.conf.arg(name="")]) -> None:
    """Inspect's logs: take one in as evidence, or write a leaderboard as one. Needs `[inspect]`."""
    try:
        import inspect_ai  # noqa: F401 (to say what is missing before anything is opened)
    except ModuleNotFoundError:
        sys.exit("superalign: Inspect is not installed: pip install 'superalign[inspect]'")
    found = _imported(config) if isinstance(config, ImportConfig) else _exported(config)
    print(json.dumps(found) if config.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


def _imported(config: ImportConfig) -> dict[str, Any]:
    from superalign.evidence import Workspace
    from superalign.inspecting.importing import import_log

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    with Workspace.open(config.workspace) as ws:
        more = {"role": config.role, "provenance": config.provenance, "base": config.base, "data": config.data}
        found = asdict(import_log(ws, config.log, say=say, **more))  # type: ignore[arg-type]
        bodies = [ws.ledger[seq].body for seq in found.pop("measurements")]
        shown = ("name", "value", "low", "high", "n", "clusters", "note", "tags")
        return {**found, "measurements": [{key: body[key] for key in shown} for body in bodies]}


def _exported(config: ExportConfig) -> dict[str, Any]:
    from superalign.evidence import Workspace
    from superalign.inspecting.exporting import export_board

    with Workspace.open(config.workspace, create=False) as ws:
        made = export_board(ws, config.out, tasks=config.tasks, protocols=config.protocols, board=config.board)
        return {"path": str(made.path), "samples": made.samples, "cells": list(made.cells)}
