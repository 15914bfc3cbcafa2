"""Debate: two advisers, each bound to one answer, quote against each other; the judge hears both (Irving et al. 2018).

Irving et al. 2018 (1805.00899), §2; simultaneous turns: Khan et al. 2024 (2402.06782), §3. A judge that also has a
claim checked: Elasky et al. 2026 (2605.27483). How well debaters choose is the players' business: best of n, as Khan et
al. have it, is `SearchAdviser(width=n)`, which plays that of n drafts of its own reading that persuades the judge most.
Propaganda is what is left of a debate when only one side speaks, once.
"""

from __future__ import annotations

from dataclasses import replace

from superalign.oversight.protocols.consultancy import consultancy
from superalign.oversight.protocols.controls import QUOTES
from superalign.oversight.protocols.critique import checked
from superalign.oversight.table import Play, Protocol, Table

SEATS = ("a", "b")


def debate(*, turns: int = QUOTES // 2, simultaneous: bool = True, short: bool = False) -> Protocol:
    """`turns` quotes from each; in one turn both speak unheard, or the second hears the first and answers.

    `short` names it as the debate without a rebuttal.
    """

    def rules(table: Table) -> Play:
        belief = None
        for turn in range(turns):
            left = turns - turn - 1
            if simultaneous:
                yield from table.say(*SEATS, turns_left=left)
            else:
                yield from table.say("a", turns_left=left, replied=True)
                yield from table.say("b", turns_left=left)
            belief = yield from table.believe(measured=left > 0)
        return belief

    name = "debate" if simultaneous else "sequential debate"
    name += " without rebuttal" if short else ""
    how = "at once" if simultaneous else "one after the other"
    return Protocol(
        name=name,
        title=f"two advisers, {turns} quote{'s' * (turns > 1)} each, {how}",
        play=rules,
        seats=SEATS,
        sides=2,
        source="Irving et al. 2018, 1805.00899, §2; Khan et al. 2024, 2402.06782, §3",
    )


def debate_with_checks(*, turns: int = 1, checks: int = 1) -> Protocol:
    """Each also charges the other's answer at one place; the judge has `checks` charges checked, by turns."""

    def rules(table: Table) -> Play:
        for turn in range(turns):
            yield from table.say(*SEATS, turns_left=turns - turn - 1)
        return (yield from checked(table, checks))

    return Protocol(
        name="debate with a check",
        title=f"two advisers, {turns} quote{'s' * (turns > 1)} and a charge each, {checks} of them checked",
        play=rules,
        seats=SEATS,
        sides=2,
        referee=True,
        source="Elasky et al. 2026, 2605.27483",
    )


def propaganda() -> Protocol:
    """One quote for an assigned side, and nobody answers: what a single argument does, as a control."""
    title = "one adviser for an assigned side, one quote, nobody answers"
    return replace(consultancy(turns=1), name="propaganda", title=title, source="")
