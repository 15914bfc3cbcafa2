"""`superalign run`: the main job, ending in `dossier.html`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import tyro

from superalign.pipeline.config import RunConfig, sizes


def main(config: Annotated[RunConfig, tyro.conf.arg(name="")]) -> None:
    """The pipeline end to end: train on weak oversight, validate apart from it, stress-test, write the dossier."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from superalign.evidence import Workspace
    from superalign.pipeline.run import expected_steps, run
    from superalign.report import write_dossier

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("starting", total=expected_steps(sizes(config.preset)))

        def say(text: str) -> None:
            progress.update(bar, advance=1, description=text)
            if not console.is_terminal:
                print(text, file=sys.stderr, flush=True)

        result = run(config, say=say)
    page = config.workspace / "dossier.html"
    with Workspace.open(config.workspace) as ws:
        write_dossier(ws, page)
        html = ws.store.put_file(page)
        if not any(event.body.get("html") == html for event in ws.ledger.events("dossier")):
            ws.ledger.append("dossier", {"html": html, "head": result.head}, actor="notary")
        head = ws.ledger.head
    if config.json:
        answer = {"dossier": str(page), "verdicts": result.verdicts, "head": head, "seconds": result.seconds}
        print(json.dumps(answer | {"events": result.events, "workspace": str(config.workspace)}))
        return
    for claim, verdict in result.verdicts.items():
        print(f"{claim:20} {verdict}")
    print(f"dossier: {page}\ncheck it: superalign verify --workspace {config.workspace}")
