"""Extremes and samples that stay beside the network: one sort a batch, and nothing comes over until a job ends.

An entry is one whole number, its value's bits above and its sequence below, so that sorting follows the same total
order as `extremes` does. Whatever is known only after a look at the counts, places and windows, is filled in later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from superalign.interpretability.device import Compact, DeviceBatch
from superalign.interpretability.extremes import Strata, Top
from superalign.interpretability.sketch import LARGEST, STRATA

NOTHING = -(2**63)
"""The key of no entry, below all others."""
NO_DRAW = (STRATA << 32) + 2**31
"""The key of no draw, above all others."""
LINES = 32_768
"""Sequences of single units that are looked into at a time."""
HALF = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What a batch brought into a top; places and windows are not known yet."""

    slots: Compact
    """Among units · k."""
    sequences: torch.Tensor
    """(units, k) int64: whose entry is new, its sequence in the batch."""


@dataclass(slots=True, kw_only=True)
class DeviceTop:
    """The k best sequences of each unit, as `Top`."""

    sign: int
    gate: torch.Tensor
    """(units,) int64, what a key must beat."""
    keys: torch.Tensor
    """(units, k) int64, best first."""
    places: torch.Tensor
    """(units, k) int64."""
    windows: torch.Tensor | None
    """(units, k, window) float16."""

    @classmethod
    def start(cls, gate: torch.Tensor, *, sign: int, k: int, window: int) -> DeviceTop:
        """No entries, behind a gate."""
        shape, device = (len(gate), k), gate.device
        full = torch.full((*shape, window), torch.nan, dtype=torch.float16, device=device) if window else None
        return cls(
            sign=sign,
            gate=gate,
            keys=torch.full(shape, NOTHING, dtype=torch.int64, device=device),
            places=torch.zeros(shape, dtype=torch.int64, device=device),
            windows=full,
        )

    def merge(self, batch: DeviceBatch, found: torch.Tensor) -> Arrivals:
        """Take in the extremes found (B, units) in a batch; what is not finite is no entry."""
        k = self.keys.shape[1]
        keys = key_of(self.sign * found.float().T, batch.rows)
        keys = torch.where(found.T.isfinite() & (keys > self.gate[:, None]), keys, NOTHING)
        ordered, order = torch.cat([self.keys, keys], dim=1).sort(dim=1, descending=True)
        ordered, order = ordered[:, :k].contiguous(), order[:, :k]
        old, new = order.clamp(max=k - 1), (order >= k) & (ordered > NOTHING)
        self.keys, self.places = ordered, self.places.gather(1, old)
        if self.windows is not None:
            words = self.windows.view(torch.int64) if self.windows.shape[2] % 4 == 0 else self.windows
            words = words.gather(1, old[..., None].expand(-1, -1, words.shape[2]))
            self.windows = words.view(torch.float16)
        return Arrivals(slots=Compact.of(new), sequences=order - k)

    def fill(self, batch: DeviceBatch, values: torch.Tensor, arrivals: Arrivals, count: int) -> None:
        """Find places and windows of `count` arrivals in values (B, T, units)."""
        k, lines = self.keys.shape[1], values.transpose(1, 2)
        for first in range(0, count, LINES):
            slots = arrivals.slots.places[first : min(count, first + LINES)]
            sequences, best = arrivals.sequences.reshape(-1)[slots], value_of_key(self.keys.view(-1)[slots])
            line = lines[sequences, slots // k]
            hits = line == (self.sign * best).to(line.dtype)[:, None]
            if batch.skip or len(batch.spans) > 1 or batch.spans[0][2] < line.shape[1]:
                hits &= batch.counted(sequences, torch.arange(line.shape[1], device=line.device))
            places = hits.view(torch.uint8).argmax(dim=1)
            self.places.view(-1)[slots] = places
            if self.windows is not None:
                own = window_of(batch, line, sequences, places, self.windows.shape[2])
                self.windows.view(-1, self.windows.shape[2])[slots] = own

    def top(self) -> Top:
        """On the host."""
        keys = self.keys.cpu().numpy()
        missing = keys == NOTHING
        values = value_of_key(torch.from_numpy(keys)).numpy()
        rows = np.where(missing, -1, 2**32 - 1 - (keys & 0xFFFFFFFF)).astype(np.int32)
        return Top(
            values=np.where(missing, np.float32(np.nan), self.sign * values).astype(np.float32),
            rows=rows,
            places=np.where(missing, 0, self.places.cpu().numpy()).astype(np.uint16),
            windows=None if self.windows is None else self.windows.cpu().numpy(),
        )


def key_of(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """int64 that grow with the value, and among equals as the row falls; values float32, finite or infinite."""
    bits = (values + 0.0).view(torch.int32)  # −0 is 0
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() * 2**32 + (2**32 - 1 - rows)


def value_of_key(keys: torch.Tensor) -> torch.Tensor:
    """float32 values of keys."""
    bits = (keys >> 32).int()
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)


def gate_key(values: np.ndarray, rows: np.ndarray, device: torch.device) -> torch.Tensor:
    """(units,) keys of a gate; open where no row stands in it."""
    kept = torch.from_numpy(rows.astype(np.int64)).to(device)
    keys = key_of(torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device), kept)
    return torch.where(kept >= 0, keys, NOTHING)


def window_of(
    batch: DeviceBatch, line: torch.Tensor, sequences: torch.Tensor, places: torch.Tensor, window: int
) -> torch.Tensor:
    """(n, window) float16 around places (n,) of lines (n, T); NaN where nothing counts, or what counts is odd."""
    starts = (places - 3 * window // 4).clamp(0, max(0, batch.length - window))
    spots = starts[:, None] + torch.arange(window, device=line.device)
    found = line.gather(1, spots.clamp(max=line.shape[1] - 1)).float()
    kept = batch.counted(sequences, spots) & (spots < line.shape[1]) & (found.abs() <= LARGEST)
    return found.clamp(-HALF, HALF).masked_fill(~kept, torch.nan).half()


@dataclass(slots=True, kw_only=True)
class DeviceStrata:
    """Sequences drawn at random in each octave, as `Strata`: by turn, the priority's rank in the corpus."""

    scale: torch.Tensor
    """(units,) int32: the exponent at which stratum 0 begins."""
    limits: torch.Tensor
    """(units, strata) int64: turns must be below."""
    keys: torch.Tensor
    """(units, strata · m) int64, stratum above and turn below, ascending in each stratum."""
    values: torch.Tensor
    """(units, strata · m) float32."""

    @classmethod
    def start(cls, scale: torch.Tensor, limits: torch.Tensor, m: int) -> DeviceStrata:
        """Nothing drawn."""
        shape = (len(scale), STRATA * m)
        return cls(
            scale=scale,
            limits=limits,
            keys=torch.full(shape, NO_DRAW, dtype=torch.int64, device=scale.device),
            values=torch.full(shape, torch.nan, device=scale.device),
        )

    def merge(self, batch: DeviceBatch, highest: torch.Tensor) -> None:
        """Take in the largest values (B, units) of a batch; what is not finite is not drawn."""
        units, m, device = len(self.scale), self.keys.shape[1] // STRATA, self.keys.device
        best = highest.float().T.contiguous()
        stratum = ((best.view(torch.int32) >> 23) - self.scale[:, None]).clamp(0, STRATA - 1).long()
        passed = best.isfinite() & (batch.turns < self.limits.gather(1, stratum))
        keys = torch.where(passed, stratum * 2**32 + batch.turns, NO_DRAW)
        ordered, order = torch.cat([self.keys, keys], dim=1).sort(dim=1)
        begins = torch.arange(STRATA, device=device) * 2**32
        first = torch.searchsorted(ordered, begins.expand(units, -1).contiguous())
        spots = (first[..., None] + torch.arange(m, device=device)).clamp(max=ordered.shape[1] - 1).view(units, -1)
        found = ordered.gather(1, spots)
        kept = (found >> 32) == torch.arange(STRATA, device=device).repeat_interleave(m)
        values = torch.cat([self.values, best], dim=1).gather(1, order.gather(1, spots))
        self.keys, self.values = torch.where(kept, found, NO_DRAW), torch.where(kept, values, torch.nan)

    def strata(self, order: np.ndarray, priorities: np.ndarray) -> Strata:
        """On the host; `order` lists the corpus' sequences by turn, `priorities` says each one's (n,) uint32."""
        shape = (len(self.scale), STRATA, self.keys.shape[1] // STRATA)
        keys, values = self.keys.cpu().numpy().reshape(shape), self.values.cpu().numpy().reshape(shape)
        missing = keys == NO_DRAW
        rows = order[np.where(missing, 0, keys & 0xFFFFFFFF)]
        most = np.iinfo(np.uint32).max
        return Strata(
            rows=np.where(missing, -1, rows).astype(np.int32),
            values=values,
            ranks=np.where(missing, most, priorities[rows]).astype(np.uint32),
        )
