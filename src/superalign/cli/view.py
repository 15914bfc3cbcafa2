"""`superalign view`: write the dossier anew from the ledger and open it."""

from __future__ import annotations

import json
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewConfig:
    """Which workspace to look at."""

    workspace: Path = Path(".superalign")
    """Folder of ledger and objects."""
    browser: bool = True
    """Open the page in a browser."""
    export: Path | None = None
    """Write dossier and evidence as one file here, instead: a stranger checks it with `superalign verify`."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout, and open nothing."""


def main(config: Annotated[ViewConfig, tyro.conf.arg(name="")]) -> None:
    """Compile the dossier from the ledger, read-only, and open it; or export it with its evidence as one file."""
    from superalign.evidence import Workspace, export
    from superalign.report import write_dossier

    if config.export is not None:
        size = export(config.workspace, config.export)
        if config.json:
            print(json.dumps({"bundle": str(config.export), "bytes": size}))
            return
        print(f"{config.export}: {size / 1e6:.1f} MB\ncheck it: superalign verify --workspace {config.export}")
        return
    page = config.workspace / "dossier.html"
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        write_dossier(ws, page)
    print(json.dumps({"dossier": str(page)}) if config.json else page)
    if config.browser and not config.json:
        webbrowser.open(page.resolve().as_uri())
