"""One batch at a time into sketches: what a recording does between two forward passes, at a few per cent of their cost.

Largest and smallest values come first, and places, windows and samples only for the few that enter; moments and class
sums are products with a matrix of weights; token and sign sums are additions by index. Inside a block of batches sums
are floating-point numbers in a fixed order; at its end they become whole numbers (see `sketch`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from superalign.interpretability.batches import Batch, Read, add_squares, extreme, powers, weighted
from superalign.interpretability.extremes import Strata, Top, drawn, taken, window_starts
from superalign.interpretability.sketch import (
    BINS,
    LARGEST,
    SIGN_UNIT,
    STRATA,
    TABLE_UNIT,
    Scope,
    Sketch,
    histogram_base,
    limbs_of,
    stratum_of,
)

NARROW = 32
"""Sites of at most so many units are taken together, and summed in float64: streams have large means."""
CACHED = 1 << 19
"""Bytes of a site's values that are worked on at a time: with as many beside them they fit a core's own cache."""
WAITING = 8
"""Candidates a unit that may wait to be sorted in."""


@dataclass(slots=True, kw_only=True)
class Gate:
    """What an entry must beat: it is no better than what all that was read so far holds, and never decides ties."""

    values: np.ndarray
    """(units,) float32: the least of the kept, −inf while there is room."""
    rows: np.ndarray
    """(units,) int32: its sequence."""

    @classmethod
    def of(cls, units: int) -> Gate:
        """Open to all."""
        return cls(values=np.full(units, -np.inf, dtype=np.float32), rows=np.full(units, -1, dtype=np.int32))

    def tighten(self, top: Top, sign: int) -> None:
        """To the least of `top`, where that is full and better."""
        values, rows = sign * top.values[:, -1], top.rows[:, -1]
        better = (rows >= 0) & ((values > self.values) | ((values == self.values) & (rows < self.rows)))
        self.values, self.rows = np.where(better, values, self.values), np.where(better, rows, self.rows)


@dataclass(slots=True, kw_only=True)
class Tally:
    """One site on the way through one job: the sketch so far, the open block's sums, candidates that wait."""

    scope: Scope
    skip: int
    """Tokens at a sequence's head that do not count."""
    precise: bool
    """Are sums made in float64 from the start?"""
    high: Top
    low: Top | None
    strata: Strata | None
    sketch: Sketch
    """What closed blocks add up to; its extremes are stale until `closed`."""
    gates: dict[int, Gate]
    """By sign: 1 for the highest, −1 for the lowest."""
    ranks: np.ndarray
    """(units, strata) uint32: priorities that an entry of the stratified sample must not exceed."""
    base: torch.Tensor
    cell: torch.Tensor
    """(units,) int32: where each unit's bins begin, in half octaves and in the histogram."""
    sums: np.ndarray
    """(2, 1 + classes, units) float64, of values and of their squares."""
    thin_sums: torch.Tensor
    """(4, units) float64."""
    histogram: torch.Tensor
    """(classes + 1, units · bins) int64."""
    table: torch.Tensor | None
    """(vocabulary + 1, units) float32."""
    signs: torch.Tensor | None
    """(2 · buckets, units) float32."""
    odd: np.ndarray
    """(1 + classes + 1, units) int64: all, by class, on thinned sequences."""
    waiting: dict[int, list[tuple[np.ndarray, ...]]] = field(default_factory=lambda: {1: [], -1: []})
    cells: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    @classmethod
    def start(
        cls, sketch: Sketch, scope: Scope, gates: dict[int, Gate], ranks: np.ndarray, *, skip: int, precise: bool
    ) -> Tally:
        """Nothing yet; `sketch` is empty."""
        units, classes = sketch.units, 0 if sketch.class_tokens is None else len(sketch.class_tokens)
        words = None if sketch.table is None else torch.zeros(len(sketch.table) + 1, units)
        signs = torch.zeros(2 * scope.signs, units) if scope.signs else None
        return cls(
            scope=scope,
            skip=skip,
            precise=precise,
            high=sketch.high,
            low=sketch.low,
            strata=sketch.strata,
            sketch=sketch,
            gates=gates,
            ranks=ranks,
            base=torch.from_numpy(histogram_base(sketch.scales)),
            cell=torch.arange(units, dtype=torch.int32) * BINS + BINS // 2,
            sums=np.zeros((2, 1 + classes, units)),
            thin_sums=torch.zeros(4, units, dtype=torch.float64),
            histogram=torch.zeros(classes + 1, units * BINS, dtype=torch.int64),
            table=words,
            signs=signs,
            odd=np.zeros((2 + classes, units), dtype=np.int64),
        )

    def take(self, batch: Batch, values: torch.Tensor, buffer: torch.Tensor) -> None:
        """Add a batch: values (B, T, units) float32 on the CPU, which stay as they are; `buffer` is for squares."""
        found = self._read(batch, values, values, buffer)
        odd = not bool((found.sums[1, 0] <= LARGEST**2).all())
        if odd:
            values, clean = self._parted(batch, values)
            found = self._read(batch, values, clean, buffer)
        self.sums += found.sums
        if self.table is not None and found.words is not None:
            self.table.index_add_(0, batch.bags.words, found.words)
        self._thin(batch, values, odd=odd)
        self._enter(batch, values, found.highest, 1)
        if found.lowest is not None:
            self._enter(batch, values, found.lowest, -1)
        if self.strata is not None:
            self._draw(batch, found.highest)

    def _parted(self, batch: Batch, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values with NaN where they are odd, and with 0 there; those that count are counted."""
        odd = ~(values.abs() <= LARGEST)
        counts = batch.weights @ odd.reshape(-1, values.shape[2]).float()
        self.odd[:-1] += np.rint(counts.numpy()).astype(np.int64)
        return values.masked_fill(odd, torch.nan), values.masked_fill(odd, 0)

    def _read(self, batch: Batch, values: torch.Tensor, clean: torch.Tensor, buffer: torch.Tensor) -> Read:
        """Extremes of `values`, sums of `clean` ones: the same, with 0 where values are NaN as they are odd.

        A few rows at a time, so that each value is fetched once from memory and then from cache; squares are added up
        in place, as reading them again costs as much as making them.
        """
        count, tokens, units = values.shape
        rows = max(1, CACHED // (4 * tokens * units))
        plain, sums = not self.precise and len(batch.weights) == 1, np.zeros((2, len(batch.weights), units))
        squares = buffer[: min(rows, count) * tokens * units if plain else 0].view(-1, tokens, units).zero_()
        high, low = torch.empty(count, units), torch.empty(count, units) if self.low is not None else None
        for first in range(0, count, rows):
            good, inside = clean[first : first + rows], values[first : first + rows, batch.skip :]
            if plain:
                add_squares(squares, good, batch, first)
            else:
                weights = batch.weights[:, first * tokens : (first + rows) * tokens]
                sums += weighted(weights, good.reshape(-1, units), None if self.precise else buffer)
            torch.amax(inside, dim=1, out=high[first : first + rows])
            if low is not None:
                torch.amin(inside, dim=1, out=low[first : first + rows])
        flat, words = clean.reshape(-1, units), None
        if self.table is not None:
            words = embedding_bag(batch.bags.order, flat, batch.bags.begins, mode="sum")
        if plain:
            sums[0] = batch.weights @ flat if words is None else torch.ones(1, len(words)) @ words
            sums[1] = torch.ones(1, len(squares) * tokens) @ squares.view(-1, units)
        lowest = None if low is None else extreme(low, values, batch, -1)
        return Read(sums, words, extreme(high, values, batch, 1), lowest)

    def _thin(self, batch: Batch, values: torch.Tensor, *, odd: bool) -> None:
        """Higher moments, the histogram and the correlation sketch, on thinned sequences, some tokens at a time."""
        if not len(batch.thinned) or (self.signs is None and self.scope.moments == 2 and not self.scope.histogram):
            return
        flat, size = values.reshape(-1, values.shape[2]), max(1, CACHED // (4 * values.shape[2]))
        for first in range(0, len(batch.thinned), size):
            span = slice(first, first + size)
            read, labels = flat.index_select(0, batch.thinned[span]), batch.labels[span]
            if odd:
                read = self._without_odd(read, labels)
            if self.signs is not None:
                self.signs.index_add_(0, batch.buckets[span], read)
            if self.scope.moments > 2:
                self.thin_sums += powers(read.double() if self.precise else read)
            if self.scope.histogram:
                self._count(labels, read)

    def _without_odd(self, values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(n, units) values with 0 where they are odd, which is counted."""
        odd = ~(values.abs() <= LARGEST)
        self.odd[-1] += odd.sum(dim=0).numpy()
        if self.scope.histogram:  # they will be read as zeros there
            zeros = self.histogram.view(len(self.histogram), -1, BINS)[:, :, BINS // 2]
            zeros.index_add_(0, labels, -odd.long())
        return values.masked_fill(odd, 0)

    def _count(self, labels: torch.Tensor, values: torch.Tensor) -> None:
        """Into the histogram: exponent and first bit of the mantissa, as float32 has them, less the unit's scale."""
        bits, units = values.view(torch.int32), values.shape[1]
        size = (bits >> 22).bitwise_and_(511).sub_(self.base).clamp_(0, BINS // 2 - 1)
        cells = size.bitwise_xor_(bits >> 31).add_(self.cell)
        for label in range(len(self.histogram)):
            some = cells if len(self.histogram) == 1 else cells[labels == label]
            self.histogram[label] += torch.bincount(some.view(-1), minlength=units * BINS)

    def _enter(self, batch: Batch, values: torch.Tensor, best: np.ndarray, sign: int) -> None:
        """Keep the sequences whose `best` value (B, units), times `sign`, passes the gate."""
        gate = self.gates[sign]
        at, units = places_of(best >= gate.values)
        least, found, rows = gate.values[units], best[at, units], batch.rows[at]
        passed = (found > least) | ((found == least) & (rows < gate.rows[units]))
        if not passed.any():
            return
        at, units, found, rows = at[passed], units[passed], found[passed], rows[passed]
        lines = np.full((len(at), batch.length), np.nan, dtype=np.float32)
        lines[:, : values.shape[1]] = values[torch.from_numpy(at), :, torch.from_numpy(units)].numpy()
        self.waiting[sign].append((units, sign * found, rows, lines, batch.ends[at]))
        if sum(len(each[0]) for each in self.waiting[sign]) > WAITING * len(gate.rows):
            self._sort_in(sign)

    def _sort_in(self, sign: int) -> None:
        """Candidates into the extremes; the gate closes further."""
        if not self.waiting[sign]:
            return
        units, values, rows, lines, ends = (np.concatenate(parts) for parts in zip(*self.waiting[sign], strict=True))
        self.waiting[sign] = []
        places, windows = placed(lines, ends, skip=self.skip, window=self.scope.window, sign=sign)
        entries = (values, rows, places, windows)
        old = self.high if sign > 0 or self.low is None else self.low
        top = taken(old, units, entries, sign=sign)
        self.gates[sign].tighten(top, sign)
        if sign > 0:
            self.high = top
        else:
            self.low = top

    def _draw(self, batch: Batch, highest: np.ndarray) -> None:
        """Keep the sequences whose priority is small enough for the octave of each unit's largest value in them."""
        cells = stratum_of(highest, self.sketch.scales)
        cells += np.arange(0, self.ranks.size, STRATA, dtype=cells.dtype)
        at, units = places_of(batch.ranks[:, None] <= self.ranks.take(cells))
        seen = np.isfinite(highest[at, units])
        at, units = at[seen], units[seen]
        self.cells.append((cells[at, units], batch.rows[at], highest[at, units], batch.ranks[at]))
        if sum(len(each[0]) for each in self.cells) > WAITING * len(self.ranks):
            self._sort_drawn()

    def _sort_drawn(self) -> None:
        if self.strata is None or not self.cells:
            return
        cells, rows, values, ranks = (np.concatenate(parts) for parts in zip(*self.cells, strict=True))
        self.cells = []
        self.strata = drawn(self.strata, cells, rows, values, ranks)
        self.ranks = np.minimum(self.ranks, self.strata.ranks[:, :, -1])

    def closed(self) -> Sketch:
        """What all closed blocks hold."""
        return replace(self.sketch, high=self.high, low=self.low, strata=self.strata)

    def close(self, tokens: np.ndarray, class_tokens: np.ndarray, words: np.ndarray, ones: np.ndarray) -> None:
        """End a block: sums into whole numbers, candidates into the extremes.

        `tokens` (2,) counted in it and on thinned sequences; `class_tokens` (classes,); `words` (n,) token ids that
        count; `ones` (2 · buckets,) how often each bucket was used, on thinned sequences.
        """
        made, sums = self.sketch, self.sums
        made.tokens[:] += tokens
        made.sums[:2] += limbs_of(sums[:, 0]).swapaxes(0, 1)
        if len(made.sums) > 2:
            made.sums[2:] += limbs_of(self.thin_sums.numpy()).swapaxes(0, 1)
        made.odd[:] += self.odd[[0, -1]].astype(np.int32)
        self._close_classes(class_tokens, sums[:, 1:].swapaxes(0, 1))
        if made.histogram is not None:
            made.histogram[:] += self.histogram.view(len(self.histogram), -1, BINS).numpy().astype(np.uint32)
        if made.table is not None and made.table_counts is not None and self.table is not None:
            made.table_counts[:] += np.bincount(words, minlength=len(made.table))
            seen = np.flatnonzero(np.bincount(words, minlength=len(made.table)))
            read = self.table[torch.from_numpy(seen)].double()
            made.table[seen] += read.mul_(2.0**-TABLE_UNIT).round_().long().numpy()
            self.table[torch.from_numpy(seen)] = 0
            self.table[-1] = 0
        self._close_signs(ones)
        self.thin_sums.zero_()
        self.histogram.zero_()
        self.sums[:], self.odd[:] = 0, 0
        for sign in (1, -1):
            self._sort_in(sign)
        self._sort_drawn()

    def _close_classes(self, tokens: np.ndarray, sums: np.ndarray) -> None:
        made = self.sketch
        if made.class_sums is None or made.class_tokens is None or made.class_odd is None:
            return
        made.class_tokens[:] += tokens
        made.class_sums[:] += np.moveaxis(limbs_of(sums), 0, 2)
        made.class_odd[:] += self.odd[1:-1].astype(np.int32)

    def _close_signs(self, ones: np.ndarray) -> None:
        made = self.sketch
        if made.signs is None or made.sign_counts is None or self.signs is None:
            return
        r, scale = self.scope.signs, torch.from_numpy(np.exp2(-(made.scales.astype(float) + SIGN_UNIT)))
        signed = (self.signs[:r].double() - self.signs[r:]).mul_(scale).round_()
        made.signs[:] += signed.long().numpy().astype(np.int32)
        made.sign_counts[:] += ones[:r] - ones[r:]
        self.signs.zero_()


def places_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns where a mask holds, as `numpy.nonzero` gives them, and faster where that is seldom."""
    rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return rows, columns


def placed(lines: np.ndarray, ends: np.ndarray, *, skip: int, window: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of lines (n, length) is largest, times `sign`, (n,) uint16; and windows (n, window) float16 around it.

    Only places from `skip` to the lines' `ends` count, and values that are not odd; in windows the others are NaN.
    """
    place, length = np.arange(lines.shape[1]), lines.shape[1]
    counted = (place >= skip) & (place < ends[:, None]) & (np.abs(lines) <= LARGEST)
    places = np.where(counted, sign * lines, -np.inf).argmax(axis=1)
    spots = window_starts(places, window, length)[:, None] + np.arange(window)
    inside = np.minimum(spots, length - 1)
    found = np.take_along_axis(np.where(counted, lines, np.nan), inside, axis=1)
    largest = float(np.finfo(np.float16).max)
    windows = np.where(spots < length, np.clip(found, -largest, largest), np.nan).astype(np.float16)
    return places.astype(np.uint16), windows
