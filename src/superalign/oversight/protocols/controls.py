"""Controls of every comparison: nobody helps, the adviser is believed, or the judge spends the same effort alone."""

from __future__ import annotations

import numpy as np

from superalign.oversight.table import Belief, Play, Protocol, Table

QUOTES = 4
"""Pieces that a judge gets to read in one play, in every protocol alike."""


def unaided(*, quotes: int = QUOTES) -> Protocol:
    """The judge reads as many pieces as a protocol would show it, drawn at random."""

    def rules(table: Table) -> Play:
        table.reveal(table.random_pieces(quotes))
        return (yield from table.believe())

    return Protocol(name="unaided", title=f"{quotes} pieces at random, nobody helps", play=rules)


def oracle() -> Protocol:
    """The judge reads everything: the ceiling of what it can judge by itself."""

    def rules(table: Table) -> Play:
        table.reveal(range(len(table.case.pieces)))
        return (yield from table.believe())

    return Protocol(name="oracle", title="the judge reads everything", play=rules)


def deference() -> Protocol:
    """What the adviser itself believes is believed: a protocol is worth its name when it beats this (Recchia 2025)."""

    def rules(table: Table) -> Play:
        belief = yield from table.knows("adviser")
        table.beliefs.append(belief)
        return belief

    return Protocol(
        name="deference",
        title="the adviser's own belief is taken over",
        play=rules,
        seats=("adviser",),
        source="Recchia 2025, 2507.19486",
    )


def ensemble(*, quotes: int = QUOTES) -> Protocol:
    """The judge judges several times, each time by other pieces, and its log-odds are averaged.

    In all it reads as much as a judge, and an adviser who has read the whole case, do together.
    """

    def rules(table: Table) -> Play:
        found = []
        for k in range(max(2, round((len(table.case.pieces) + quotes) / quotes))):
            view = table.view_of(table.random_pieces(quotes, k))
            found.append((yield from table.believe(view)))
        return pooled(found)

    return Protocol(name="ensemble", title="the judge alone, several times, by other pieces", play=rules)


def pooled(beliefs: list[Belief | None]) -> Belief | None:
    """The normalised geometric mean of beliefs; None when one of them failed.

    >>> pooled([(0.5, 0.5), (0.9, 0.1)]), pooled([(0.5, 0.5), None])
    ((0.75, 0.25), None)
    """
    if any(belief is None for belief in beliefs):
        return None
    mean = np.exp(np.log(np.clip(np.array(beliefs, dtype=float), 1e-9, None)).mean(axis=0))
    return tuple(float(round(p, 12)) for p in mean / mean.sum())
