"""Progress of long work: a bar with the time left on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def watched(work: Callable[[Callable[[str], None]], Result], *, total: int, done: int = 0, bar: bool = True) -> Result:
    """Do `work`, which says each step as it begins; `done` of `total` steps lie behind it.

    `bar=False` leaves the terminal to somebody who is asked at it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (bar and console.is_terminal)) as progress:
        task = progress.add_task("starting", total=total, completed=done)

        def say(text: str) -> None:
            progress.update(task, advance=1, description=text)
            if not console.is_terminal:
                print(text, file=sys.stderr, flush=True)

        result = work(say)
        progress.update(task, completed=total, description="done")
    return result
