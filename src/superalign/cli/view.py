"""`superalign view`: write the dossier anew from the ledger and open it."""

from __future__ import annotations

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


def main(config: Annotated[ViewConfig, tyro.conf.arg(name="")]) -> None:
    """Compile the dossier from the ledger, read-only, and open it."""
    from superalign.evidence import Workspace
    from superalign.report import write_dossier

    page = config.workspace / "dossier.html"
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        write_dossier(ws, page)
    print(page)
    if config.browser:
        webbrowser.open(page.resolve().as_uri())
