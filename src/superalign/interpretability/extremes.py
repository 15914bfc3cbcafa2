"""Extremes and samples of many units at once: the k best entries of each by a total order, merged in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """The best sequences of each unit, best first: by value, then by number, so that ties never matter."""

    values: np.ndarray
    """(units, k) float32, NaN where there are fewer."""
    rows: np.ndarray
    """(units, k) int32, sequences of the corpus; −1 where there are fewer."""
    places: np.ndarray
    """(units, k) uint16, where in the sequence the value stands, the first of equals."""
    windows: np.ndarray | None
    """(units, k, window) float16 from `starts` on; NaN where nothing is counted."""

    def starts(self, length: int) -> np.ndarray:
        """(units, k) where each window begins, in sequences of `length`: three quarters of it before the place."""
        return window_starts(self.places, 0 if self.windows is None else self.windows.shape[2], length)


def window_starts(places: np.ndarray, window: int, length: int) -> np.ndarray:
    """Where windows around places begin in sequences of `length`."""
    return np.clip(places.astype(np.int64) - 3 * window // 4, 0, max(0, length - window))


def empty_top(units: int, k: int, window: int) -> Top:
    """A top without entries."""
    return Top(
        values=np.full((units, k), np.nan, dtype=np.float32),
        rows=np.full((units, k), -1, dtype=np.int32),
        places=np.zeros((units, k), dtype=np.uint16),
        windows=np.broadcast_to(np.float16(np.nan), (units, k, window)) if window else None,  # takes no memory
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """Sequences drawn at random from each octave of a unit's largest value: those of the smallest priorities."""

    rows: np.ndarray
    """(units, strata, m) int32, sequences of the corpus, from the lowest octave up; −1 where there are fewer."""
    values: np.ndarray
    """The same shape, float32: the unit's largest value in each; NaN where there are fewer."""
    ranks: np.ndarray
    """The same shape, uint32: the priority by which they were drawn, smallest first."""


def empty_strata(units: int, strata: int, m: int) -> Strata:
    """A sample without entries."""
    shape = (units, strata, m)
    return Strata(
        rows=np.full(shape, -1, dtype=np.int32),
        values=np.full(shape, np.nan, dtype=np.float32),
        ranks=np.full(shape, np.iinfo(np.uint32).max, dtype=np.uint32),
    )


def merged_strata(one: Strata, other: Strata) -> Strata:
    """The smallest priorities of both."""
    rows, ranks, values = (
        np.concatenate([getattr(each, name) for each in (one, other)], axis=2) for name in ("rows", "ranks", "values")
    )
    keys = np.where(rows < 0, np.iinfo(np.int64).max, ((ranks.astype(np.int64) - 2**31) << 32) + rows)
    order = keys.argsort(axis=2)[:, :, : one.rows.shape[2]]
    rows, ranks, values = (np.take_along_axis(each, order, axis=2) for each in (rows, ranks, values))
    return Strata(rows=rows, values=values, ranks=ranks)


def drawn(strata: Strata, cells: np.ndarray, rows: np.ndarray, values: np.ndarray, ranks: np.ndarray) -> Strata:
    """A sample with candidates, (n,) each; `cells` are unit · strata + stratum."""
    if not len(cells):
        return strata
    m, shape = strata.rows.shape[2], strata.rows.shape
    touched, compact = np.unique(cells, return_inverse=True)
    flat = [each.reshape(-1, m).copy() for each in (strata.rows, strata.values, strata.ranks)]
    own = [each[touched].ravel() for each in flat]
    pool = [np.concatenate(both) for both in zip(own, (rows, values, ranks), strict=True)]
    keys = np.concatenate([np.repeat(np.arange(len(touched)), m), compact])
    kept, key, rank = first_of_each(keys, (pool[0] < 0, pool[2], pool[0]), m)
    for whole, every in zip(flat, pool, strict=True):
        whole[touched[key], rank] = every[kept]
    rows, values, ranks = (each.reshape(shape) for each in flat)
    return Strata(rows=rows, values=values, ranks=ranks)


def merged_top(one: Top, other: Top, *, sign: int = 1) -> Top:
    """The best of both; `sign` −1 where the lowest are best."""
    rows = np.concatenate([one.rows, other.rows], axis=1)
    values = np.concatenate([one.values, other.values], axis=1)
    order = _ordered(values, rows, sign)[:, : one.rows.shape[1]]
    places = np.concatenate([one.places, other.places], axis=1)
    windows = None
    if one.windows is not None and other.windows is not None:
        k = one.rows.shape[1]
        unit, slot = np.nonzero(order >= k)
        windows = one.windows[np.arange(len(order))[:, None], np.minimum(order, k - 1)]
        windows[unit, slot] = other.windows[unit, order[unit, slot] - k]
    values, rows, places = (np.take_along_axis(each, order, axis=1) for each in (values, rows, places))
    return Top(values=values, rows=rows, places=places, windows=windows)


def _ordered(values: np.ndarray, rows: np.ndarray, sign: int) -> np.ndarray:
    """(units, n) order of entries, best first, missing ones last: whole numbers are sorted fastest.

    Their upper halves grow as values fall, their lower halves are the rows.
    """
    bits = (np.float32(-sign) * values + np.float32(0)).view(np.int32)  # −0 is 0
    grown = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    keys = np.where(rows < 0, np.iinfo(np.int64).max, (grown << 32) + rows)
    order: np.ndarray = keys.argsort(axis=1)
    return order


def taken(top: Top, units: np.ndarray, entries: Sequence[np.ndarray], *, sign: int = 1) -> Top:
    """A top with candidates: `units` (n,), and entries' values, rows, places (n,) and windows (n, window) or none."""
    if not len(units):
        return top
    touched, compact = np.unique(units, return_inverse=True)
    k = top.rows.shape[1]
    own = [top.values[touched].ravel(), top.rows[touched].ravel(), top.places[touched].ravel()]
    values, rows, places = (np.concatenate(both) for both in zip(own, entries[:3], strict=True))
    keys = np.concatenate([np.repeat(np.arange(len(touched)), k), compact])
    kept, key, rank = first_of_each(keys, (rows < 0, -sign * values, rows), k)
    changed = replace(top, values=top.values.copy(), rows=top.rows.copy(), places=top.places.copy())
    at = (touched[key], rank)
    changed.values[at], changed.rows[at], changed.places[at] = values[kept], rows[kept], places[kept]
    if top.windows is None:
        return changed
    windows = top.windows.copy()
    windows[at] = np.concatenate([top.windows[touched].reshape(len(touched) * k, -1), entries[3]])[kept]
    return replace(changed, windows=windows)


def first_of_each(keys: np.ndarray, order: Sequence[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the k first of each key, by the columns of `order`; their keys, and their ranks from 0."""
    sequence = np.lexsort((*reversed(order), keys))
    sorted_keys = keys[sequence]
    begins = np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]
    rank = np.arange(len(keys)) - np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))
    chosen = rank < k
    return sequence[chosen], sorted_keys[chosen], rank[chosen]
