"""The curve of equal budgets: some protocols again, where the judge may read less and more, on the same items.

What a protocol is worth depends on what the judge reads anyhow: given enough pieces, nobody needs help. So a few
protocols, controls among them, are played at further budgets, with players seated (and judges adapted) for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from superalign.oversight import Protocol, protocols
from superalign.oversight.scores import correct
from superalign.oversight.twoway import crossed_mean, crossed_proportion
from superalign.pipeline.board_config import OversightConfig
from superalign.pipeline.board_parts import READ
from superalign.pipeline.board_scores import ADAPTED, Cell, cells_of, measure_part, played_of
from superalign.pipeline.desk import Desk
from superalign.pipeline.pages import Opened, truth_signal

CURVED = ("unaided", "ensemble", "consultancy" + ADAPTED, "debate" + ADAPTED, "critique")
"""Cells that are played at every budget: a judge that is adapted to talk, one who has a claim checked, and controls."""


def budget_cells(task: str, budget: int, chosen: Mapping[str, Protocol]) -> list[Cell]:
    """What is played on a task at a further budget, of what was chosen for the board, and as it was chosen.

    Whom the board asks for verdicts only (a person, a model that speaks) is asked for nothing else here, either.
    """
    known = protocols(budget)
    again = {name: replace(known[name], record=each.record) for name, each in chosen.items() if name in known}
    cells = cells_of(task, again)
    return [replace(cell, name=at_budget(cell.name, budget)) for cell in cells if cell.name in CURVED]


def at_budget(name: str, budget: int) -> str:
    """The name of a cell at a further budget.

    >>> at_budget("debate", 8)
    'debate, budget 8'
    """
    return f"{name}, budget {budget}"


def cells_in_all(config: OversightConfig, chosen: Mapping[str, Protocol]) -> list[tuple[str, Cell, int]]:
    """(task, cell, seed) of everything that a board plays, in order; `config` is settled."""
    seeds = range(config.seed, config.seed + config.seeds)
    return [
        (task, cell, seed)
        for task in config.tasks
        for cells in (cells_of(task, chosen), *(budget_cells(task, b, chosen) for b in config.curve))
        for seed in seeds
        for cell in cells
    ]


def score_curve(
    desk: Desk, task: str, test: Opened, chosen: Mapping[str, Protocol], done: Mapping[str, list[Mapping[str, str]]]
) -> None:
    """Accuracy and what the judge read, of each curved cell at each further budget: cell → one result a seed."""
    signal = truth_signal(desk, task.partition(".")[0], "validation")
    for budget in desk.config.curve:
        for cell in budget_cells(task, budget, chosen):
            played = played_of(desk, task, test, done[cell.name])
            rows, tags = played.rows, _tags(cell.name, budget)
            found = {
                "accuracy": crossed_proportion(correct(rows), rows.cluster, rows.seed),
                f"{READ} per play": crossed_mean(rows.costs[READ], rows.cluster, rows.seed),
            }
            for part, interval in found.items():
                measure_part(desk, task, cell.name, played, part, interval, signal, tags)


def _tags(name: str, budget: int) -> dict[str, Any]:
    own = name.removesuffix(at_budget("", budget))
    return {"protocol": own, "curve": own, "budget": budget}
