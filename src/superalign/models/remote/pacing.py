"""When the next request may go out: so many a minute, and when again after a failure.

    pace = Pace(requests=60, tokens=None)
    pace.delay(now, tokens=400)          # seconds to wait; 0.0: it is booked, send it

Time comes in as an argument, so that tests need none.
"""

from __future__ import annotations

import random
from collections import deque
from threading import Lock

MINUTE = 60.0
LONGEST = 60.0
"""Seconds: the bound of a backoff doubles up to here."""
IN_A_ROW = 3
"""So many refusals for the rate, with no answer between them, stop every request, not only those refused."""


class Pace:
    """A sliding window: in any 60 seconds at most so many requests, and at most so many tokens."""

    def __init__(self, *, requests: int | None, tokens: int | None) -> None:
        self.requests, self.tokens = requests, tokens
        self._sent: deque[list[float]] = deque()  # [when, tokens], oldest first
        self._total = 0.0
        self._until = 0.0
        self._limited = 0
        self._lock = Lock()

    def delay(self, now: float, *, tokens: int) -> float:
        """Seconds until a request of so many tokens may go out; 0.0 books it as sent now.

        A request larger than a whole minute's tokens goes out when nothing else did for a minute.
        """
        with self._lock:
            if now < self._until:
                return self._until - now
            if self.requests is None and self.tokens is None:
                return 0.0
            while self._sent and self._sent[0][0] <= now - MINUTE:
                self._total -= self._sent.popleft()[1]
            full = self.requests is not None and len(self._sent) >= self.requests
            heavy = self.tokens is not None and bool(self._sent) and self._total + tokens > self.tokens
            if full or heavy:
                return max(self._sent[0][0] + MINUTE - now, 1e-3)
            self._sent.append([now, float(tokens)])
            self._total += tokens
            return 0.0

    def limited(self, now: float, after: float) -> None:
        """The server refused one for the rate, and asks for so many seconds; several in a row hold up all."""
        with self._lock:
            self._limited += 1
            if self._limited >= IN_A_ROW:
                self._until = max(self._until, now + after)

    def answered(self) -> None:
        """The server took one."""
        self._limited = 0


def backoff(tries: int, rng: random.Random, *, base: float) -> float:
    """Seconds to wait after so many tries: full jitter under a bound that doubles (Brooker, AWS, 2015)."""
    return rng.uniform(0.0, min(LONGEST, base * 2.0 ** min(tries - 1, 30)))
