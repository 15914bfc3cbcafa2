"""What the sites of a batch share beside a network on a GPU: the batch itself, and who waits for numbers from there.

A question to the device is asked when a site is read and answered while the next one is computed, so that the device
never runs dry: `Desk.waiting` is the site whose answer is on its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
import torch

from superalign.interpretability.batches import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBatch:
    """What all sites share of B sequences of T tokens, on the device."""

    spans: tuple[tuple[int, int, int], ...]
    """Runs of rows of one end: first, last (not included), end."""
    rows: torch.Tensor
    """(B,) int64, of the corpus."""
    ends: torch.Tensor
    """(B,) int64."""
    turns: torch.Tensor
    """(B,) int64: how many sequences of the corpus have a smaller priority."""
    labels: torch.Tensor
    """(1 + classes, B) float64: 1 for all, then where a sequence is of the class."""
    thin: torch.Tensor
    """(1, B) float64: 1 where a sequence is thinned."""
    words: torch.Tensor
    """(B · T,) int64 token ids; the vocabulary's size where nothing is counted."""
    thinned: torch.Tensor
    """(n,) int64, counted tokens of thinned sequences among B · T."""
    thin_labels: torch.Tensor
    """(n,) int64, their classes; the number of classes for none."""
    signs: torch.Tensor | None
    """(buckets, n) float32: 1 or −1 in each token's bucket of the correlation sketch."""
    skip: int
    length: int
    """Of the corpus' sequences, at least T."""

    def counted(self, sequences: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Do places (n, k) or (k,) of some of the batch's sequences (n,) count?"""
        return (places >= self.skip) & (places < self.ends[sequences][:, None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact:
    """Where something is true, found without asking the device how often."""

    places: torch.Tensor
    """(n + 1,) int64, flat; only the first `count` mean something."""
    count: torch.Tensor
    """() int64."""

    @classmethod
    def of(cls, mask: torch.Tensor) -> Compact:
        """Of a mask of any shape."""
        flat = mask.reshape(-1)
        ends, spot = flat.cumsum(0), torch.arange(flat.numel(), device=flat.device)
        places = torch.zeros(flat.numel() + 1, dtype=torch.int64, device=flat.device)
        places.scatter_(0, torch.where(flat, ends - 1, flat.numel()), spot)
        return cls(places=places, count=ends[-1])


class Told(NamedTuple):
    """Numbers on their way to the host."""

    numbers: torch.Tensor
    event: torch.cuda.Event | None

    @classmethod
    def of(cls, numbers: torch.Tensor) -> Told:
        """Begins the way; nobody waits."""
        if numbers.device.type != "cuda":
            return cls(numbers, None)
        host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        host.copy_(numbers, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(numbers.device))
        return cls(host, event)

    def read(self) -> list[int]:
        """Waits until they are there."""
        if self.event is not None:
            self.event.synchronize()
        found: list[int] = self.numbers.tolist()
        return found


class Waits(Protocol):
    """Something that is finished later."""

    def settle(self) -> None:
        """Finish."""


@dataclass(slots=True, kw_only=True)
class Desk:
    """What the tallies of one job share: the batch as it lies on the device, and the one that still waits."""

    device: torch.device
    order: np.ndarray
    """(n,) the corpus' sequences by priority, then by number."""
    turns: np.ndarray
    """(n,) each sequence's place in that order."""
    priorities: np.ndarray
    """(n,) uint32."""
    buckets: int
    batch: Batch | None = None
    given: DeviceBatch | None = None
    waiting: Waits | None = None

    @classmethod
    def of(cls, priorities: np.ndarray, buckets: int, device: torch.device) -> Desk:
        """For a corpus whose sequences have such priorities."""
        order = np.lexsort((np.arange(len(priorities)), priorities))
        turns = np.empty(len(order), dtype=np.int64)
        turns[order] = np.arange(len(order))
        return cls(device=device, order=order, turns=turns, priorities=priorities, buckets=buckets)

    def lay(self, batch: Batch) -> DeviceBatch:
        """A batch on the device; all sites are given the same."""
        if self.given is None or batch is not self.batch:
            self.batch, self.given = batch, self._laid(batch)
        return self.given

    def _laid(self, batch: Batch) -> DeviceBatch:
        shape = (len(batch.weights), *batch.counted.shape)
        runs = [(end, len(list(some))) for end, some in groupby(batch.ends.tolist())]
        lasts = np.cumsum([n for _, n in runs]).tolist()
        thinned, buckets = self._moved(batch.thinned), self._moved(batch.buckets)
        thin = np.zeros((1, len(batch.rows)))
        thin[0, np.unique(batch.thinned.numpy() // batch.counted.shape[1])] = 1
        signs = None
        if self.buckets:
            signs = torch.zeros(self.buckets, len(thinned), device=self.device)
            sign = 1 - 2 * (buckets >= self.buckets).float()
            signs.scatter_(0, (buckets % self.buckets)[None], sign[None])
        return DeviceBatch(
            spans=tuple((last - n, last, end) for (end, n), last in zip(runs, lasts, strict=True)),
            rows=self._moved(batch.rows.astype(np.int64)),
            ends=self._moved(batch.ends.astype(np.int64)),
            turns=self._moved(self.turns[batch.rows]),
            labels=self._moved(batch.weights.view(shape).amax(dim=2).double()),
            thin=self._moved(thin),
            words=self._moved(batch.words),
            thinned=thinned,
            thin_labels=self._moved(batch.labels),
            signs=signs,
            skip=batch.skip,
            length=batch.length,
        )

    def _moved(self, array: np.ndarray | torch.Tensor) -> torch.Tensor:
        """On the device; from pinned memory, so that nobody waits for what the device has still to do."""
        tensor = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
        if self.device.type != "cuda" or not tensor.numel():
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def settle(self) -> None:
        """Finish what waits."""
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting.settle()
