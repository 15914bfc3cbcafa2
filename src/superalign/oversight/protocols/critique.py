"""Critique: an adviser names what is wrong and where; the judge has claims checked as far as its budget goes.

Saunders et al. 2022 (2206.05802), §3; the check that makes a claim worth its price: Leike, AXRP 24. Critique of
critique: a second adviser says which of the claims it would stand by, and only these are checked (2502.04675).
"""

from __future__ import annotations

from superalign.oversight.table import Belief, Play, Protocol, Table
from superalign.oversight.types import Charge


def critique(*, claims: int = 1, checks: int = 1) -> Protocol:
    """The critic says what it believes; the first `checks` of its `claims` are checked."""

    def rules(table: Table) -> Play:
        yield from table.say("critic")
        return (yield from checked(table, checks, most=claims))

    many = f" of {claims}" if claims > 1 else ""
    return Protocol(
        name=f"critique{many}",
        title=f"a critic's claims, {checks} checked",
        play=rules,
        seats=("critic",),
        referee=True,
        source="Saunders et al. 2022, 2206.05802, §3",
    )


def critique_of_critique(*, claims: int = 3, checks: int = 1) -> Protocol:
    """A second critic, who has read the first, picks from its claims what it charges too; that is checked first."""

    def rules(table: Table) -> Play:
        yield from table.say("critic")
        yield from table.say("second critic")
        first, second = (message.charges for message in table.messages[-2:])
        shared = [charge for charge in first[:claims] if charge in second[:claims]]
        table.order = [*shared, *(charge for charge in first if charge not in shared)]
        return (yield from checked(table, checks, most=claims))

    return Protocol(
        name="critique of critique",
        title=f"two critics; what both charge is checked first, {checks} checked",
        play=rules,
        seats=("critic", "second critic"),
        referee=True,
        source="2502.04675",
    )


def checked(table: Table, checks: int, *, most: int | None = None) -> Play:
    """Have charges checked, by turns of their speakers; one that holds settles the item.

    The judge believes by what it was shown. A charge that holds rules its option out; none that fails tells more than
    that its speaker was wrong there, and the judge's own belief stands.
    """
    belief = yield from table.believe()
    for charge in _queue(table, most)[:checks]:
        holds = yield from table.check(charge)
        table.settle(charge._replace(holds=holds))
        if holds:
            belief = _without(charge.option, len(table.case.options))
            table.beliefs.append(belief)
            break
    return belief


def _queue(table: Table, most: int | None) -> list[Charge]:
    """Charges in the order in which they are checked: speakers by turns, each one's weightiest first."""
    if table.order:
        return table.order
    lists = [list(message.charges[:most]) for message in table.messages if message.charges]
    if len(lists) > 1 and table.draw("who is checked first") % 2:
        lists.reverse()
    queue: list[Charge] = []
    for k in range(max(map(len, lists), default=0)):
        queue += [charges[k] for charges in lists if k < len(charges) and charges[k] not in queue]
    return queue


def _without(option: int, options: int) -> Belief:
    return tuple(0.0 if k == option else 1 / (options - 1) for k in range(options))
