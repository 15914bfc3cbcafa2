"""`superalign interpret`: every unit of a network explained, scored beside its controls, searched, and shown."""

from __future__ import annotations

import json
from typing import Annotated, Any

import tyro

from superalign.cli.costs import print_estimate, say_costs
from superalign.cli.tables import cell, show
from superalign.pipeline.interpret_config import InterpretConfig

SHOWN = ("name", "value", "low", "high", "n", "clusters", "subject", "note", "tags")


def main(config: Annotated[InterpretConfig, tyro.conf.arg(name="")]) -> None:
    """Explain every neuron and head of a model, score the explanations beside their controls, and search it."""
    from superalign.cli.watching import watched
    from superalign.evidence import Workspace
    from superalign.pipeline.interpret import estimated, expected_stages, interpret
    from superalign.report.interpret_book import write_interpretation

    if config.dry_run:
        return say_costs(estimated(config), as_json=config.json, part="site")

    def work(say: Any) -> dict[str, Any]:
        result = interpret(config, say=say, tell=lambda found: print_estimate(found, err=True, part="site"))
        say("pages")
        with Workspace.open(config.workspace, create=False, write=False) as ws:
            write_interpretation(ws, config.workspace / "interpretation", interpretation=result["interpretation"])
        return result

    result = watched(work, total=expected_stages(config))
    page = config.workspace / "interpretation" / "index.html"
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        mine = result["interpretation"]
        found = [e.body for e in ws.ledger.events("measurement") if e.body["tags"].get("interpretation") == mine]
    if config.json:
        rows = [{key: body[key] for key in SHOWN} for body in found]
        print(json.dumps(result | {"page": str(page), "measurements": rows}))
        return None
    _print_families(found)
    _print_others(found)
    print(f"page: {page}\ncheck it: superalign verify --level 2 --workspace {config.workspace}")
    return None


def _print_families(bodies: list[dict[str, Any]]) -> None:
    """What explains the neurons, beside untrained networks."""
    told = {body["name"].removeprefix("interpret."): body for body in bodies}
    families = [name[2:-8] for name in told if name.startswith("r.") and name.endswith(".trained")]
    rows = []
    for family in families:
        bits = told[f"r.{family}.trained"]["tags"].get("bits", "none")
        cells = [
            told.get(f"{what}.{family}{more}") for what, more in (("r", ".trained"), ("gain", ".trained"), ("gap", ""))
        ]
        rows.append([family, "" if bits == "none" else f"{float(bits):,.0f}", *map(cell, cells)])
    show("all neurons", ("explanation", "bits", "r, held out", "gain over unigram", "trained less untrained"), rows)


def _print_others(bodies: list[dict[str, Any]]) -> None:
    """Every number of the other parts."""
    for part in ("concepts", "causal", "heads"):
        rows = [[str(body["tags"]["what"]), cell(body)] for body in bodies if body["tags"].get("figure") == part]
        if rows:
            show(part, ("what", "value"), rows)
