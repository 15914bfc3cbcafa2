"""One batch at a time into sketches where the network runs on a GPU: what touches all values stays, in its dtype.

Extremes and sums are read per sequence and unit, three passes over memory; all else works on those. Nothing waits for
the device: what a site's batch asks of the host (how many entries are new) is answered while the next site is computed.
The same sketch as `streaming` makes, its sums to float32 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch

from superalign.interpretability.batches import Batch
from superalign.interpretability.device import Desk, DeviceBatch, Told
from superalign.interpretability.extremes_device import LINES, Arrivals, DeviceStrata, DeviceTop, gate_key
from superalign.interpretability.sketch import BINS, LARGEST, SIGN_UNIT, Sketch, stratum_base
from superalign.interpretability.streaming import Tally

THIN = 4_096
"""Tokens of thinned sequences that are worked on at a time."""


class Pending(NamedTuple):
    """A batch whose new entries have no places yet, and whose odd values are left out so far."""

    batch: DeviceBatch
    values: torch.Tensor
    arrivals: tuple[Arrivals, ...]
    bad: torch.Tensor
    """(B, units) bool: where a sequence holds an odd value of a unit, or is so large that it may."""
    told: Told


@dataclass(slots=True, kw_only=True)
class DeviceTally:
    """One site, or all narrow ones, on the way through one job, as `Tally`, which ends its blocks."""

    desk: Desk
    host: Tally
    tops: tuple[DeviceTop, ...]
    """Highest, then lowest if they are asked for."""
    strata: DeviceStrata | None
    moments: int
    wide: torch.dtype
    """What sums over a sequence are made in."""
    sums: torch.Tensor
    """(2, 1 + classes, units) float64."""
    thin_sums: torch.Tensor
    """(4, units) float64."""
    odd: torch.Tensor
    """(1 + classes + 1, units) int64."""
    base: torch.Tensor
    histogram: torch.Tensor | None
    """(classes + 1, bins, units) int32."""
    table: torch.Tensor | None
    """(vocabulary + 1, units) float64: sums whose order is not fixed, and never shows at the table's unit."""
    signs: torch.Tensor | None
    """(buckets, units) float32."""
    pending: Pending | None = field(default=None)

    @classmethod
    @torch.inference_mode()
    def start(cls, host: Tally, desk: Desk) -> DeviceTally:
        """Nothing yet, behind the gates of `host`."""
        scope, device, units = host.scope, desk.device, host.sketch.units
        tops = [
            DeviceTop.start(
                gate_key(host.gates[sign].values, host.gates[sign].rows, device),
                sign=sign,
                k=scope.top,
                window=scope.window,
            )
            for sign in ((1, -1) if scope.low else (1,))
        ]
        strata = None
        if scope.strata:
            limits = np.searchsorted(desk.priorities[desk.order], host.ranks, side="right")
            scale = torch.from_numpy(stratum_base(host.sketch.scales)).to(device)
            strata = DeviceStrata.start(scale, torch.from_numpy(limits).to(device), scope.strata)
        labels, words = len(host.histogram), 0 if host.table is None else len(host.table)
        binned = torch.zeros(labels, BINS, units, dtype=torch.int32, device=device) if scope.histogram else None
        return cls(
            desk=desk,
            host=host,
            tops=tuple(tops),
            strata=strata,
            moments=scope.moments,
            wide=torch.float64 if host.precise else torch.float32,
            sums=torch.zeros(2, labels, units, dtype=torch.float64, device=device),
            thin_sums=torch.zeros(4, units, dtype=torch.float64, device=device),
            odd=torch.zeros(1 + labels, units, dtype=torch.int64, device=device),
            base=host.base.to(device),
            histogram=binned,
            table=torch.zeros(words, units, dtype=torch.float64, device=device) if words else None,
            signs=torch.zeros(scope.signs, units, device=device) if scope.signs else None,
        )

    @torch.inference_mode()
    def take(self, batch: Batch, values: torch.Tensor) -> None:
        """Add a batch: values (B, T, units) on the device, which must stay as they are until the next one is taken."""
        self.desk.settle()
        given = self.desk.lay(batch)
        total, norm, *extremes = self._read(given, values)
        bad = ~(norm <= LARGEST)
        found = [each.float().masked_fill(bad, torch.nan) for each in extremes]
        self._add(given, torch.stack([total.double(), norm.double().square_()]).masked_fill_(bad, 0))
        arrivals = self._merge(given, found)
        if len(given.thinned) and (self.signs is not None or self.histogram is not None or self.moments > 2):
            self._thin(given, values)
        if self.table is not None:
            self._look_up(given, values)
        told = Told.of(torch.stack([bad.sum(), *(each.slots.count for each in arrivals)]))
        self.pending = Pending(given, values, arrivals, bad, told)
        self.desk.waiting = self

    def _read(self, batch: DeviceBatch, values: torch.Tensor) -> list[torch.Tensor]:
        """(B, units) each, over counted tokens: sums, roots of sums of squares, largest, and smallest if asked for."""
        parts = []
        for first, last, end in batch.spans:
            part = values[first:last, batch.skip : end]
            norm = torch.linalg.vector_norm(part, dim=1, dtype=self.wide)
            parts.append([part.sum(dim=1, dtype=self.wide), norm, part.amax(dim=1)])
            if len(self.tops) > 1:
                parts[-1].append(part.amin(dim=1))
        return parts[0] if len(parts) == 1 else [torch.cat(each) for each in zip(*parts, strict=True)]

    def _add(self, batch: DeviceBatch, sums: torch.Tensor) -> None:
        """Sums and sums of squares, (2, B, units) float64."""
        self.sums += batch.labels @ sums

    def _merge(self, batch: DeviceBatch, extremes: list[torch.Tensor]) -> tuple[Arrivals, ...]:
        if self.strata is not None:
            self.strata.merge(batch, extremes[0])
        return tuple(top.merge(batch, each) for top, each in zip(self.tops, extremes, strict=True))

    @torch.inference_mode()
    def settle(self) -> None:
        """Places and windows of what the last batch brought; its odd values counted, and the rest of their lines."""
        if self.pending is None:
            return
        batch, values, arrivals, bad, told = self.pending
        self.pending = None
        odd, *counts = told.read()
        for top, each, count in zip(self.tops, arrivals, counts, strict=True):
            top.fill(batch, values, each, count)
        if odd:
            arrivals = self._mend(batch, values, bad.view(-1).nonzero()[:, 0])
            for top, each in zip(self.tops, arrivals, strict=True):
                top.fill(batch, values, each, int(each.slots.count))

    def _mend(self, batch: DeviceBatch, values: torch.Tensor, bad: torch.Tensor) -> tuple[Arrivals, ...]:
        """Take in sequences that hold odd values of a unit, `bad` among B · units, without these values."""
        units, lines, shape = values.shape[2], values.transpose(1, 2), (len(values), values.shape[2])
        counts, total, squares = torch.zeros(3, *shape, dtype=torch.float64, device=values.device)
        extremes = [torch.full(shape, torch.nan, device=values.device) for _ in self.tops]
        for first in range(0, len(bad), LINES):
            at = bad[first : first + LINES]
            line = lines[at // units, at % units].float()
            counted = batch.counted(at // units, torch.arange(line.shape[1], device=line.device))
            good = counted & (line.abs() <= LARGEST)
            clean = line.masked_fill(~good, 0).double()
            counts.view(-1)[at] = (counted & ~good).sum(dim=1).double()
            total.view(-1)[at], squares.view(-1)[at] = clean.sum(dim=1), clean.square().sum(dim=1)
            for top, each in zip(self.tops, extremes, strict=True):
                least = (top.sign * line).masked_fill(~good, -torch.inf).amax(dim=1)
                each.view(-1)[at] = top.sign * least
        self._add(batch, torch.stack([total, squares]))
        self.odd += torch.cat([batch.labels @ counts, batch.thin @ counts]).round().long()
        return self._merge(batch, extremes)

    def _thin(self, batch: DeviceBatch, values: torch.Tensor) -> None:
        """Higher moments, the histogram and the correlation sketch, on thinned sequences."""
        flat = values.reshape(-1, values.shape[2])
        for first in range(0, len(batch.thinned), THIN):
            span = slice(first, first + THIN)
            read = flat.index_select(0, batch.thinned[span]).float()
            odd = ~(read.abs() <= LARGEST)
            clean = read.masked_fill_(odd, 0)
            if self.signs is not None and batch.signs is not None:
                self.signs.addmm_(batch.signs[:, span], clean)
            if self.moments > 2:
                wide = clean.to(self.wide)
                square = wide * wide
                powers = (wide, square, square * wide, square * square)
                self.thin_sums += torch.stack([each.sum(dim=0) for each in powers]).double()
            if self.histogram is not None:
                self._count(batch.thin_labels[span], clean, odd)

    def _count(self, labels: torch.Tensor, values: torch.Tensor, odd: torch.Tensor) -> None:
        """Into the histogram, as `Tally` does; odd values count nothing."""
        if self.histogram is None:
            return
        bits, units = values.view(torch.int32), values.shape[1]
        size = (bits >> 22).bitwise_and_(511).sub_(self.base).clamp_(0, BINS // 2 - 1)
        cells = size.bitwise_xor_(bits >> 31).add_(BINS // 2 + BINS * labels.int()[:, None]).long()
        cells = cells.mul_(units).add_(torch.arange(units, device=values.device))
        self.histogram.view(-1).scatter_add_(0, cells.view(-1), (~odd).int().view(-1))

    def _look_up(self, batch: DeviceBatch, values: torch.Tensor) -> None:
        """Sums by token, a few sequences at a time."""
        if self.table is None:
            return
        tokens, rows = values.shape[1], max(1, THIN // values.shape[1])
        for first in range(0, len(values), rows):
            part = values[first : first + rows].float().reshape(-1, values.shape[2])
            clean = part.masked_fill(~(part.abs() <= LARGEST), 0).double()
            self.table.index_add_(0, batch.words[first * tokens : (first + rows) * tokens], clean)

    @torch.inference_mode()
    def close(self, tokens: np.ndarray, class_tokens: np.ndarray, words: np.ndarray, ones: np.ndarray) -> None:
        """End a block, as `Tally.close` does, which turns the sums into whole numbers."""
        self.desk.settle()
        host = self.host
        host.sums[:] = self.sums.cpu().numpy()
        host.odd[:] = self.odd.cpu().numpy()
        host.thin_sums.copy_(self.thin_sums)
        if self.histogram is not None:
            host.histogram.copy_(self.histogram.transpose(1, 2).reshape(host.histogram.shape))
            self.histogram.zero_()
        if self.table is not None:
            host.table = self.table.cpu()
        self._close_signs(ones)
        host.close(tokens, class_tokens, words, ones)
        self.sums.zero_()
        self.odd.zero_()
        self.thin_sums.zero_()
        if self.table is not None:
            self.table.zero_()

    def _close_signs(self, ones: np.ndarray) -> None:
        """Rounded on the device, as they are many."""
        made, self.host.signs = self.host.sketch, None
        if self.signs is None or made.signs is None or made.sign_counts is None:
            return
        scale = torch.from_numpy(np.exp2(-(made.scales.astype(float) + SIGN_UNIT))).to(self.desk.device)
        made.signs[:] += self.signs.double().mul_(scale).round_().int().cpu().numpy()
        made.sign_counts[:] += ones[: len(made.signs)] - ones[len(made.signs) :]
        self.signs.zero_()

    def closed(self) -> Sketch:
        """What all closed blocks hold."""
        high, *low = (top.top() for top in self.tops)
        made = replace(self.host.closed(), high=high, low=low[0] if low else None)
        if self.strata is None:
            return made
        return replace(made, strata=self.strata.strata(self.desk.order, self.desk.priorities))
