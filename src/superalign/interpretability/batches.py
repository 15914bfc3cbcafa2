"""What sites share of some sequences, and what one reading of a site's values there gives: sums, powers, extremes.

batch = reader.batch(rows)
highest = extreme(values.amax(dim=1), values, batch, 1)     # (B, units) over the tokens that count
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch


class Bags(NamedTuple):
    """The counted tokens of a batch, sorted by word, so that one reading adds up each word's values."""

    words: torch.Tensor
    """(w,) int64, the words that occur."""
    order: torch.Tensor
    """(n,) int32, places among B·T."""
    begins: torch.Tensor
    """(w,) int32, where each word's places begin in `order`."""

    @classmethod
    def of(cls, words: np.ndarray, counted: np.ndarray) -> Bags:
        """Of token ids and which of them count, (B, T) each."""
        places = np.flatnonzero(counted)
        order = places[np.argsort(words.ravel()[places], kind="stable")]
        found = words.ravel()[order]
        begins = np.flatnonzero(np.diff(found, prepend=-1))
        return cls(
            words=torch.from_numpy(found[begins].astype(np.int64)),
            order=torch.from_numpy(order.astype(np.int32)),
            begins=torch.from_numpy(begins.astype(np.int32)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What all sites share of B sequences, cut to their longest, T tokens."""

    rows: np.ndarray
    """(B,) int32, of the corpus."""
    counted: np.ndarray
    """(B, T) bool."""
    ends: np.ndarray
    """(B,) tokens of each."""
    short: tuple[tuple[int, int], ...]
    """Rows of the batch, with their ends, that are shorter than T."""
    skip: int
    length: int
    """Of the corpus' sequences, at least T."""
    ranks: np.ndarray
    """(B,) uint32, priorities."""
    words: torch.Tensor
    """(B·T,) int64, token ids; the vocabulary's size where nothing is counted."""
    bags: Bags
    weights: torch.Tensor
    """(1 + classes, B·T) float32: 1 where a token counts; where it counts for a class."""
    thinned: torch.Tensor
    """(n,) int64, counted tokens of thinned sequences among B·T."""
    labels: torch.Tensor
    """(n,) int64, their classes; the number of classes for none."""
    buckets: torch.Tensor
    """(n,) int64, their buckets of the correlation sketch, those of negative signs after all positive ones."""


class Read(NamedTuple):
    """What one reading of a site's batch gives."""

    sums: np.ndarray
    """(2, 1 + classes, units) float64, of values and of their squares."""
    words: torch.Tensor | None
    """(w, units) float32, sums by word."""
    highest: np.ndarray
    """(B, units) float32, over counted tokens."""
    lowest: np.ndarray | None
    """The same of the values' negatives."""


def weighted(weights: torch.Tensor, flat: torch.Tensor, buffer: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """(1 + classes, units) each: weighted sums of values (n, units), and of their squares; float64 without a buffer."""
    if buffer is None:
        wide, weights = flat.double(), weights.double()
        return (weights @ wide).numpy(), (weights @ (wide * wide)).numpy()
    square = torch.mul(flat, flat, out=buffer[: flat.numel()].view(flat.shape))
    return (weights @ flat).numpy(), (weights @ square).numpy()


def add_squares(squares: torch.Tensor, part: torch.Tensor, batch: Batch, first: int) -> None:
    """Add the squares of some rows' counted tokens, (rows, T, units) from `first` on, to squares of that shape."""
    ends = batch.ends[first : first + len(part)]
    if ends.min() == part.shape[1]:
        inside = part[:, batch.skip :]
        squares[: len(part), batch.skip :].addcmul_(inside, inside)
        return
    for line, end in zip(part, ends.tolist(), strict=True):
        squares[0, batch.skip : end].addcmul_(line[batch.skip : end], line[batch.skip : end])


def powers(values: torch.Tensor) -> torch.Tensor:
    """(4, units) sums of powers 1 to 4 of values (n, units)."""
    ones, square = torch.ones(len(values), dtype=values.dtype), values * values
    high = square * values
    sums = [ones @ values, ones @ square, ones @ high]
    return torch.stack([*sums, ones @ torch.mul(square, square, out=high)])


def extreme(found: torch.Tensor, values: torch.Tensor, batch: Batch, sign: int) -> np.ndarray:
    """(B, units) largest of `sign` · values (B, T, units) over counted tokens; −inf for none.

    `found` is the largest of whole rows, or the smallest: those that are shorter, or hold NaN, are looked at again.
    """
    for row, end in batch.short:
        line = values[row, batch.skip : end]
        found[row] = line.amax(dim=0) if sign > 0 else line.amin(dim=0)
    best: np.ndarray = (found if sign > 0 else found.neg_()).numpy()
    if np.isnan(best).any():
        counted = torch.from_numpy(batch.counted)[..., None]
        best = torch.where(counted & ~values.isnan(), sign * values, -torch.inf).amax(dim=1).numpy()
    return best
