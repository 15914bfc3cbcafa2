"""Decomposition: a question too big for the judge becomes questions that are not.

`decomposition`: halves of halves, down to single pieces; the judge judges each by itself, and log-odds add up on the
way back (Christiano et al. 2018, 1810.08575, §2: factored cognition with a judge of one piece). `bisection`: two
calculations are compared at their middle, then in the half in which they part, down to the first step that differs;
this one step is all that is checked (Irving et al. 2018, 1805.00899, §3).
"""

from __future__ import annotations

import numpy as np

from superalign.oversight.table import Belief, Play, Protocol, Table
from superalign.oversight.types import Charge


def decomposition(*, leaf: int = 1) -> Protocol:
    """The judge reads everything, `leaf` pieces at a time, never two leaves at once."""

    def rules(table: Table) -> Play:
        belief = yield from _part(table, 0, len(table.case.pieces), leaf)
        table.beliefs.append(belief)
        return belief

    return Protocol(
        name="decomposition",
        title=f"everything in bites of {leaf}, log-odds added up",
        play=rules,
        source="Christiano et al. 2018, 1810.08575, §2",
    )


def _part(table: Table, low: int, high: int, leaf: int) -> Play:
    if high - low <= leaf:
        return (yield from table.believe(table.view_of(range(low, high))))
    middle = (low + high) // 2
    first = yield from _part(table, low, middle, leaf)
    second = yield from _part(table, middle, high, leaf)
    return _sum(first, second)


def _sum(first: Belief | None, second: Belief | None) -> Belief | None:
    if first is None or second is None:
        return None
    logits = np.log(np.clip(np.array(first), 1e-9, None)) + np.log(np.clip(np.array(second), 1e-9, None))
    raised = np.exp(logits - logits.max())
    return tuple(float(p) for p in raised / raised.sum())


def bisection() -> Protocol:
    """Binary search for the first step after which two calculations differ; that step of either is checked.

    Values that meet again mislead the search; then neither charge holds, and the judge's own belief stands.
    """

    def rules(table: Table) -> Play:
        pieces = table.case.pieces
        low, high = 0, len(pieces) - 1
        while low < high:
            middle = (low + high) // 2
            table.reveal([middle])
            table.compares([middle])
            agree = len({text.split()[-2] for text in pieces[middle].texts}) == 1
            low, high = (middle + 1, high) if agree else (low, middle)
        belief = yield from table.believe(table.view_of([low]))
        for option in range(2):
            charge = Charge(option, low)
            holds = yield from table.check(charge)
            table.settle(charge._replace(holds=holds))
            if holds:
                belief = (float(option != 0), float(option != 1))
                table.beliefs.append(belief)
                break
        return belief

    return Protocol(
        name="bisection",
        title="binary search for the first difference, which is checked",
        play=rules,
        referee=True,
        source="Irving et al. 2018, 1805.00899, §3",
    )
