"""`superalign run`: the main job, ending in `dossier.html`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import tyro

from superalign.pipeline.config import RunConfig, sizes

if TYPE_CHECKING:
    from superalign.pipeline.run import RunResult, Stage


def main(config: Annotated[RunConfig, tyro.conf.arg(name="")]) -> None:
    """The pipeline end to end: train on weak oversight, validate apart from it, stress-test, write the dossier."""
    from superalign.evidence import Workspace
    from superalign.report import write_dossier

    result = play(config, "gate")
    page = config.workspace / "dossier.html"
    with Workspace.open(config.workspace) as ws:
        write_dossier(ws, page)
        html = ws.store.put_file(page)
        if not any(event.body.get("html") == html for event in ws.ledger.events("dossier")):
            body = {"html": html, "head": result.head, "inventory": ws.store.put_json(ws.store.digests())}
            ws.ledger.append("dossier", body, actor="notary")
        head = ws.ledger.head
    if config.json:
        answer = {"dossier": str(page), "verdicts": result.verdicts, "head": head, "seconds": result.seconds}
        print(json.dumps(answer | {"events": result.events, "workspace": str(config.workspace)}))
        return
    for claim, verdict in result.verdicts.items():
        print(f"{claim:20} {verdict}")
    print(f"dossier: {page}\ncheck it: superalign verify --workspace {config.workspace}")


def play(config: RunConfig, until: Stage) -> RunResult:
    """Run the pipeline `until` a stage, and show how far it is."""
    from superalign.cli.watching import watched
    from superalign.pipeline.run import expected_steps, run

    total = expected_steps(sizes(config.preset), until=until)
    return watched(lambda say: run(config, until=until, say=say), total=total)


def stage(config: RunConfig, until: Stage) -> None:
    """Run `until` one stage and print what that stage measured, as a table or as one JSON object."""
    from superalign.evidence import Workspace

    result = play(config, until)
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        events = [event for event in ws.ledger.events("measurement") if event.body["tags"]["stage"] == until]
    if config.json:
        rows = [{"seq": event.seq} | {k: event.body[k] for k in SHOWN} for event in events]
        answer = {"stage": until, "measurements": rows, "head": result.head, "seconds": result.seconds}
        print(json.dumps(answer | {"events": result.events, "workspace": str(config.workspace)}))
        return
    for event in events:
        body = event.body
        value = "refused" if body["value"] is None else f"{body['value']:+.3f}"
        span = "" if body["low"] is None else f" [{body['low']:+.3f}, {body['high']:+.3f}]"
        print(f"{value}{span:18}  {body['title']}")
    print(f"go on: superalign run --workspace {config.workspace}")


SHOWN = ("name", "title", "value", "low", "high", "level", "n", "clusters", "subject", "note", "tags")
