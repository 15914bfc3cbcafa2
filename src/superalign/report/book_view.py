"""What the book of units shows: an index of all units, sections of its front page, and one page a unit.

What is missing is None or empty, and the page says that it was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number with its interval, and the ledger event that holds it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    event: int | None = None


Score = Amount | float | tuple[float | None, float | None, float | None] | None
"""A number, one with its interval (value, low, high), one with its event, or none."""


def amount_of(score: Score) -> Amount:
    """Any way of writing a score as an Amount.

    >>> amount_of((0.5, 0.4, 0.6)).high
    0.6
    """
    if isinstance(score, Amount):
        return score
    if isinstance(score, tuple):
        return Amount(value=score[0], low=score[1], high=score[2])
    return Amount(value=score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table of the front page."""

    title: str
    paragraph: str = ""
    head: Sequence[str]
    rows: Sequence[Sequence[str | Score]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Tokens of one place of the corpus with the unit's value at each; `at` is the token that the window is about."""

    tokens: Sequence[str]
    values: Sequence[float]
    at: int
    document: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One explanation of a unit, with its scores and controls."""

    family: str
    text: str
    bits: float | None = None
    r: Score = None
    """Correlation with the unit on random held-out windows."""
    top_and_random: Score = None
    gain: Score = None
    """Over the unigram table."""
    detection: Score = None
    fuzzing: Score = None
    shuffled: Score = None
    untrained: Score = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPage:
    """All that the page of one unit shows beside its row of the index."""

    row: int
    windows: Mapping[str, Sequence[Window]] = field(default_factory=dict)
    """By name: `top`, `low`, then strata."""
    said: Sequence[Said] = ()
    simulated: Sequence[tuple[Sequence[str], Sequence[float], Sequence[float]]] = ()
    """(tokens, real, simulated) of held-out windows."""
    histogram: tuple[Sequence[float], Sequence[float]] | None = None
    """(edges, counts), one edge more than counts."""
    causal: Sequence[tuple[str, float | None, float | None, float | None, str]] = ()
    """(name, value, low, high, note)."""
    neighbours: Sequence[tuple[int, float]] = ()
    """(row of the index, correlation)."""
    concepts: Sequence[tuple[str, float | None, float | None, float | None]] = ()
    """(name, d, AUROC, q)."""
    tokens: Sequence[tuple[str, float]] = ()
    """(token, mean activation): as many of the highest as of the lowest, in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A network's units: what is known of them, and what that is worth."""

    title: str
    identity: str
    facts: Mapping[str, str]
    """Shown on top: corpus, tokens, seeds, machine, digest of the recording, head of the ledger."""
    columns: Mapping[str, Sequence[object]]
    """Arrays of one length by name; `site` and `unit` must be there, NaN or None is what was not measured. Known
    besides: text, family, r, r low, r high, gain, unigram, shuffled, untrained, bits, effect, ablation, q, mean, sd,
    highest, lowest. Others follow under their own names."""
    sections: Sequence[Section] = ()
    units: Callable[[int], UnitPage]
    """From a row of the index to its page: called once a row, in order."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What columns mean, where that isn't what the book says of them by itself."""
