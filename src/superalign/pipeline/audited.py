"""The pairs of the stress test: windows that nothing else is measured on, and that share no run of words with training.

Kinds of organism and the rule of carrying were chosen on the first pairs of the split. What measures power comes after
them, and is the same for every preset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from superalign.adversarial.items import AuditItem
from superalign.pipeline.desk import Desk
from superalign.tasks.lexer import NAMED, SLOTS
from superalign.tasks.slips import Slip, draw, item_id

ASKED = 3_000
"""Pairs of the validation split, from its start, that are kept for all that is not stress-testing."""
RUN = 13
"""Words in a row, names apart, that a pair of the stress test has in common with no pair of the training split."""

_NAMES = frozenset({*SLOTS, *NAMED, "<unk>"})


def nameless(words: Iterable[str]) -> list[str]:
    """Words with names left out: renaming the variables makes no new item.

    >>> nameless(["return", "v0", "+", "quartz"])
    ['return', 'ID', '+', 'ID']
    """
    return ["ID" if word in _NAMES else word for word in words]


def audit_item(slip: Slip) -> AuditItem:
    """A slip as an auditor is given it."""
    return AuditItem(
        sound=" ".join(slip.sound),
        altered=" ".join(slip.altered),
        alteration=slip.kind,
        cluster=item_id("file", slip.path)[:8],
    )


def threshold_items(desk: Desk) -> tuple[AuditItem, ...]:
    """The pairs of the dev split that fix an organism's threshold."""
    return tuple(audit_item(slip) for slip in draw("dev")[: desk.sizes.dev_pairs])


def behaviour_items(desk: Desk) -> tuple[AuditItem, ...]:
    """The pairs that show whether an organism carries its behaviour."""
    return stress_items(desk)[: desk.sizes.install_pairs]


def audited_items(desk: Desk) -> tuple[AuditItem, ...]:
    """The pairs of the blind audit: none of them showed whether an organism carries its behaviour."""
    return stress_items(desk)[desk.sizes.install_pairs :]


def stress_items(desk: Desk) -> tuple[AuditItem, ...]:
    """All pairs of the stress test, behaviour first."""
    wanted = desk.sizes.install_pairs + desk.sizes.audit_pairs
    fresh = _fresh()
    if wanted > len(fresh):
        raise ValueError(f"the stress test has {len(fresh)} pairs, {wanted} were asked for: ask for fewer")
    return tuple(audit_item(slip) for slip in fresh[:wanted])


@lru_cache(maxsize=1)
def _fresh() -> tuple[Slip, ...]:
    trained = {run for slip in draw("train") for run in _runs(slip)}
    return tuple(slip for slip in draw("validation")[ASKED:] if trained.isdisjoint(_runs(slip)))


def _runs(slip: Slip) -> Iterator[tuple[str, ...]]:
    """Every run of words of both codes; a code that is shorter is one run."""
    for code in (nameless(slip.sound), nameless(slip.altered)):
        yield from _windows(code)


def _windows(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + RUN]) for at in range(max(1, len(words) - RUN + 1)))
