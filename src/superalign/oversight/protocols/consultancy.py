"""Consultancy: one adviser argues, for a side it was given or for the one it believes, and the judge hears nobody else.

Michael et al. 2023 (2311.08702), §3; Khan et al. 2024 (2402.06782), §3; open: Kenton et al. 2024 (2407.04622), §3;
double: Arnesen et al. 2024 (2409.16636), §5.
"""

from __future__ import annotations

from collections.abc import Callable

from superalign.oversight.protocols.controls import QUOTES, pooled
from superalign.oversight.table import Play, Protocol, Table


def consultancy(*, turns: int = QUOTES) -> Protocol:
    """An assigned side, honest or not, half the time each; one quote a turn."""
    return Protocol(
        name="consultancy",
        title=f"one adviser for an assigned side, {turns} turns",
        play=_talk(turns),
        seats=("adviser",),
        sides=1,
        source="Khan et al. 2024, 2402.06782, §3",
    )


def open_consultancy(*, turns: int = QUOTES) -> Protocol:
    """The adviser argues for what it believes itself."""
    return Protocol(
        name="open consultancy",
        title=f"one adviser for the side it believes, {turns} turns",
        play=_talk(turns),
        seats=("adviser",),
        source="Kenton et al. 2024, 2407.04622, §3",
    )


def double_consultancy(*, turns: int = QUOTES // 2) -> Protocol:
    """Two consultancies, one for each side, that never meet; the judge weighs both."""

    def rules(table: Table) -> Play:
        heard = dict.fromkeys(("a", "b"), table.view)
        for turn in range(turns):
            for seat in heard:
                yield from table.say(seat, turns_left=turns - turn - 1, view=heard[seat], replied=False)
                heard[seat] = table.view_by(seat)
        found = []
        for view in heard.values():
            found.append((yield from table.believe(view)))
        return pooled(found)

    return Protocol(
        name="double consultancy",
        title=f"an adviser for either side, heard apart, {turns} turns each",
        play=rules,
        seats=("a", "b"),
        sides=2,
        source="Arnesen et al. 2024, 2409.16636, §5",
    )


def _talk(turns: int) -> Callable[[Table], Play]:
    def rules(table: Table) -> Play:
        belief = None
        for turn in range(turns):
            left = turns - turn - 1
            yield from table.say("adviser", turns_left=left, replied=False)
            belief = yield from table.believe(measured=left > 0)
        return belief

    return rules
