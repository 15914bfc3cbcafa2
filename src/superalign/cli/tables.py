"""Tables of measurements for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table; numbers to the right, and nothing wrapped where it is piped on."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in head:
        table.add_column(name, justify="left" if name == head[0] else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def cell(body: Mapping[str, Any] | None) -> str:
    """Value and interval of a measurement; "refused" where it has none, empty where there is no measurement."""
    if body is None:
        return ""
    if body["value"] is None:
        return "refused"
    value = f"{body['value']:.3f}"
    return value if body["low"] is None else f"{value} [{body['low']:.3f}, {body['high']:.3f}]"
