"""What a part of `superalign interpret` tells the book, as plain data: columns, lines of pages, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed

TRAINED, UNTRAINED = "trained", "untrained"


class Cited(NamedTuple):
    """A cell that shows one of the part's figures, by name: whoever prints it knows the event that holds it."""

    figure: str


Cell = str | float | Cited | tuple[float | None, float | None, float | None] | None


class Table(NamedTuple):
    """A section of the front page."""

    title: str
    paragraph: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one part has found."""

    sites: np.ndarray
    """(units,) names of sites."""
    units: np.ndarray
    """(units,) numbers within them."""
    columns: Mapping[str, np.ndarray]
    """(units,) each, NaN or "" where nothing was measured."""
    causal: Mapping[int, Sequence[tuple[str, float | None, float | None, float | None, str]]] = field(
        default_factory=dict
    )
    """Row → (name, value, low, high, note)."""
    concepts: Mapping[int, Sequence[tuple[str, float, float, float]]] = field(default_factory=dict)
    """Row → (name, d′, AUROC, q)."""
    tables: Sequence[Table] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    """What columns mean."""


def unit_of(site: str, unit: int) -> str:
    """How a unit is called in a table.

    >>> unit_of("neurons 2", 7)
    'neurons 2 / 7'
    """
    return f"{site} / {unit}"


def networks(address: str, untrained: int | None) -> dict[str, LocalModel]:
    """The model, and where a seed is given a network of its shape that was never trained; one thread."""
    import torch

    from superalign.interpretability.controls import untrained as fresh
    from superalign.models import load_model

    torch.set_num_threads(1)
    model = load_model(address)
    return {TRAINED: model} | ({} if untrained is None else {UNTRAINED: fresh(model, seed=untrained)})


def reads_contexts(model: LocalModel) -> bool:
    """Does it read code word by word, after an author and a cue, as the embedded family does?"""
    from superalign.models.words import one_token_a_word
    from superalign.tasks.lexer import AUTHORS, CUES

    return one_token_a_word(model.tokenizer) and {*AUTHORS, *CUES} <= set(model.tokenizer.get_vocab())


def spread_rows(clusters: np.ndarray, most: int, *, seed: int) -> np.ndarray:
    """Up to `most` row numbers, as evenly over clusters as they allow, drawn by seed; ascending."""
    shuffled = np.random.default_rng([seed, 151]).permutation(len(clusters))
    _, codes = np.unique(clusters[shuffled], return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    turn = np.empty(len(codes), dtype=np.int64)
    turn[order] = np.arange(len(codes)) - starts
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:most]])
