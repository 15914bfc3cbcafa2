"""What asking models would cost, as a terminal or a reader of JSON is told it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from superalign.pipeline.spending import Estimate


def say_costs(found: Estimate, *, as_json: bool, part: str = "cell") -> None:
    """Answer a dry run on stdout; `part` is what the parts of the work are called."""
    if as_json:
        print(json.dumps({"dry_run": True} | asdict(found)))
    else:
        print_estimate(found, err=False, part=part)


def print_estimate(found: Estimate, *, err: bool, part: str = "cell") -> None:
    """What the work would cost at most, part by part; what the limit, if there is one, has to do with it."""
    from rich.console import Console
    from rich.table import Table

    stream = sys.stderr if err else sys.stdout
    table = Table(title="before the first request: what is left to ask, at most", title_justify="left")
    for column in (part, "calls", "tokens read", "tokens written", "USD"):
        table.add_column(column, justify="left" if column == part else "right")
    for cell in found.cells:
        table.add_row(cell.cell, f"{cell.calls:,}", f"{cell.read:,}", f"{cell.written:,}", _usd(cell.usd))
    table.add_row("in all", f"{found.calls:,}", f"{found.read:,}", f"{found.written:,}", _usd(found.usd))
    Console(file=stream, width=None if stream.isatty() else 120).print(table)
    print(
        "an upper bound: every answer at its limit of tokens, in prompts a token for three letters, a digit or a sign; "
        "what is lost on the way and sent again is not in it"
        + (f"; spent before: {_usd(found.spent)} USD" if found.spent else "")
        + (f"; the limit of {_usd(found.limit)} USD could be reached in {found.over}" if found.over else ""),
        file=stream,
        flush=True,
    )


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:,.4f}"
