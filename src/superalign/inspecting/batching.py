"""Asks that come one by one, put together into batches: a window of a few milliseconds, one worker thread, no polling.

    batches = Batches(speaker.ask, window=0.003)
    replies = await batches.ask([Ask(...)])               # beside whatever others ask just now

What comes while a batch is being answered makes the next one, so that a busy model is never asked in small pieces.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from superalign.models.speaker import Ask, Reply

MOST = 512
"""Asks in one batch."""
WINDOW = (0.001, 0.005)
"""Seconds that a batch stays open for others, at least and at most."""


@dataclass(slots=True)
class _Batch:
    asks: list[Ask] = field(default_factory=list)
    future: Future[list[Reply]] | None = None


class Batches:
    """Everything that is asked of one model."""

    def __init__(self, ask: Callable[[Sequence[Ask]], list[Reply]], *, window: float, waiting: int = 64) -> None:
        """`window` in seconds, `waiting` callers at most. Raises ValueError for a window out of range."""
        import anyio

        if not WINDOW[0] <= window <= WINDOW[1]:
            raise ValueError(f"a window of {window * 1000:g} ms: batches stay open for 1 to 5")
        self._ask, self._window = ask, window
        self._changed = threading.Condition()
        self._open: _Batch | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="superalign-batch")
        self._limiter = anyio.CapacityLimiter(waiting)
        self.sizes: list[int] = []
        """Of the batches so far."""

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """A reply an ask, in their order. Raises what the model raises, to everybody of the batch."""
        import anyio.to_thread

        with self._changed:
            batch = self._open
            if batch is None:
                batch = self._open = _Batch()
                batch.future = self._worker.submit(self._answered, batch)
            start = len(batch.asks)
            batch.asks += asks
            if len(batch.asks) >= MOST:
                self._open = None
                self._changed.notify_all()
        assert batch.future is not None
        replies = await anyio.to_thread.run_sync(batch.future.result, abandon_on_cancel=True, limiter=self._limiter)
        return replies[start : start + len(asks)]

    def _answered(self, batch: _Batch) -> list[Reply]:
        with self._changed:
            self._changed.wait_for(lambda: self._open is not batch, timeout=self._window)
            if self._open is batch:
                self._open = None
        self.sizes.append(len(batch.asks))
        return self._ask(batch.asks)

    def close(self) -> None:
        """End the worker once it has answered what it was asked."""
        self._worker.shutdown(wait=False)
