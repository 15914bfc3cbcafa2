"""`superalign view`: open the dossier that the ledger records, or compile one where it records none."""

from __future__ import annotations

import json
import sys
import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from superalign.evidence import Workspace


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
    """Open the recorded dossier (where none is, one compiled now), or export it with its evidence as one file."""
    from superalign.evidence import Workspace, export

    if config.export is not None:
        size = export(config.workspace, config.export)
        if config.json:
            print(json.dumps({"bundle": str(config.export), "bytes": size}))
            return
        print(f"{config.export}: {size / 1e6:.1f} MB\ncheck it: superalign verify --workspace {config.export}")
        return
    page = config.workspace / "dossier.html"
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        _put(ws, page)
    print(json.dumps({"dossier": str(page)}) if config.json else page)
    if config.browser and not config.json:
        webbrowser.open(page.resolve().as_uri())


def _put(ws: Workspace, page: Path) -> None:
    """The page that an auditor will find: the recorded one, and how much came after it; else one compiled now."""
    from superalign.evidence.beside import page_remark, recorded_page
    from superalign.evidence.errors import disk_errors
    from superalign.report import write_dossier

    events = ws.ledger.events()
    if (event := recorded_page(events)) is None:
        write_dossier(ws, page)
        return
    with disk_errors(page, "writing the page"):
        handle, part = tempfile.mkstemp(dir=page.parent, prefix=f".{page.name}.")
        with open(handle, "wb") as file:
            file.write(ws.store.get(event.body["html"]))
        Path(part).chmod(0o644)
        Path(part).replace(page)
    if (remark := page_remark(ws.path, events)) is not None:
        print(f"{remark}: `superalign run` records a new one", file=sys.stderr)
