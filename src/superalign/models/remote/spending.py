"""What asking costs: an estimate before the first call, a tally after, and a limit that no request is sent across.

    estimate(asks, price=Price(read=2.5, written=10.0, source="terms"))
    purse = Purse(limit_usd=5.0)                     # may be shared by several speakers
    purse.reserve(wanted, kept); purse.settle(wanted, spent, kept)

Before a request goes out, the most it could cost is set aside: a token for each byte of the prompt, and the whole
limit of the answer. So the limit holds whatever the tokenizer; only a provider that bills more than max_tokens could
cross it. Requests that were sent and whose fate is unknown (timeout, connection lost) are booked at that worst case.

Where replies are kept, it is set aside in their index, so that processes that share it share the limit, and so do runs
before and after a kill: what a killed one had under way is booked at the worst, at most twice `concurrency` requests.
Three things are outside: runs without a limit, which set nothing aside (what they pay for counts); a power cut within
moments of sending; and where nothing is kept, other runs and processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event

from superalign.models.errors import ModelError
from superalign.models.remote.keeping import Kept
from superalign.models.remote.reserving import Reservation, Till
from superalign.models.remote.terms import SpendingLimit
from superalign.models.speaker import Ask

MILLION = 1_000_000
CHARACTERS = 3
"""Of an answer, to a token: fewer than the 4 that English usually has."""
_TOKEN = re.compile(r"[A-Za-z]{1,3}|\n+|[^\sA-Za-z]")
"""What may be a token: three letters of a word, a digit (a frame's word is full of them), a sign."""
FRAME = 16
"""Tokens that a chat template may add to a message."""
POLL = 0.1
"""Seconds between two looks at what other processes still have under way."""
ANSWERS_KEPT = "what was answered is kept, and is not asked again"
ANSWERS_GONE = "what was answered is lost, for nothing is kept: name a folder (kept) to go on from there another time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD for a million tokens."""

    read: float
    written: float
    source: str
    """Who says so: "terms" or "inspect"."""

    def of(self, read: int, written: int) -> float:
        """USD for so many tokens. Cached ones count in full: an upper bound."""
        return (read * self.read + written * self.written) / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Before the first call: of what would be sent."""

    asked: int
    kept: int
    """Of these, how many need not be sent: they are there already, or ask the same as another one."""
    read: int
    """Tokens of prompts, estimated."""
    written: int
    """Tokens of answers, at most."""
    usd: float | None
    """At most, as far as the prompts' estimate holds; None where no price is known."""


def read_estimate(ask: Ask) -> int:
    """Tokens of a prompt, its schema told, for a tokenizer that takes a token for three letters, for each digit and
    sign, and for each byte beyond ASCII. Prompts are full of frames, whose words are hexadecimal: a third of all
    characters would be too few.

    >>> from superalign.models.speaker import Turn
    >>> read_estimate(Ask(messages=(Turn("user", "judge 12 + 5"),), tokens=1)) - FRAME
    6
    """
    texts = [turn.content for turn in ask.messages]
    return len(texts) * FRAME + sum(
        len(_TOKEN.findall(text)) + len(text.encode()) - len(text) for text in (*texts, ask.schema)
    )


def read_bound(ask: Ask) -> int:
    """No tokenizer in use makes more of the prompt: its bytes in UTF-8, and a frame for each message."""
    schema = len(ask.schema.encode())
    return sum(len(turn.content.encode()) + FRAME for turn in ask.messages) + FRAME + schema


def estimate(asks: Iterable[Ask], *, price: Price | None, kept: int = 0) -> Estimate:
    """What sending these would cost at most; `kept`: others of the same batch that need not be sent."""
    listed = list(asks)
    read, written = sum(map(read_estimate, listed)), sum(ask.tokens for ask in listed)
    usd = price.of(read, written) if price else None
    return Estimate(asked=len(listed) + kept, kept=kept, read=read, written=written, usd=usd)


class Purse:
    """Money for one or several speakers. Thread-safe; with an index of replies, between processes, too."""

    def __init__(self, limit_usd: float | None = None) -> None:
        self.limit_usd = limit_usd
        self._till = Till()
        self._index: Path | None = None
        self._joined = False
        self._change = Condition()

    @property
    def spent(self) -> float:
        """USD that are known to be spent; under a limit, and with an index, as it was at the last request."""
        return self._till.paid

    def join(self, identity: str, kept: Kept | None) -> None:
        """This speaker's money counts here, what earlier runs paid for included.

        Raises ModelError for speakers that would share a limit, but no index: it could not be held.
        """
        if self.limit_usd is None:
            return
        with self._change:
            index = kept.path.resolve() if kept else None
            if self._joined and index != self._index:
                raise ModelError(
                    f"{identity}: who shares a limit keeps replies in one folder, or nobody does: {index} is not "
                    f"{self._index}: give all of them the same `kept`"
                )
            self._index, self._joined = index, True
            if index:
                self._till.add(identity)

    def reserve(self, wanted: Reservation, kept: Kept | None = None, *, stopping: Event | None = None) -> bool:
        """Set aside what a request can cost at most, after requests under way if what they cost decides it.

        False where `stopping` was set meanwhile. Raises SpendingLimit if it is too much, whatever those cost.
        """
        if self.limit_usd is None or not wanted.usd:
            return True
        with self._change:
            while not self._fits(wanted, kept, self.limit_usd):
                if self._till.paid + wanted.usd > self.limit_usd:
                    raise SpendingLimit(
                        f"spent {self._till.paid:.4f} of {self.limit_usd:.4f} USD, and the next request could cost "
                        f"{wanted.usd:.4f}: {ANSWERS_KEPT if kept else ANSWERS_GONE}; raise the limit (limit_usd, "
                        "--limit) to go on"
                    )
                if stopping and stopping.is_set():
                    return False
                self._change.wait(POLL if kept else None)  # other processes wake nobody here
            return True

    def settle(self, reserved: Reservation, spent: float, kept: Kept | None = None) -> None:
        """A request is over: what was set aside is free again, what it cost is spent."""
        try:
            if kept and reserved.row is not None:  # it is on record neither as a reply nor as lost
                kept.free(reserved, billed=spent > 0)
        finally:
            with self._change:
                if self.limit_usd is None or not kept:
                    self._till.paid += spent
                if self.limit_usd is not None and not kept:
                    self._till.open -= reserved.usd
                self._change.notify_all()

    def _fits(self, wanted: Reservation, kept: Kept | None, limit: float) -> bool:
        if kept:
            return kept.reserve(wanted, self._till, limit)
        fits = self._till.paid + self._till.open + wanted.usd <= limit
        self._till.open += wanted.usd if fits else 0.0
        return fits


def priced(price: Price | None, limit_usd: float | None, address: str) -> Price | None:
    """The price, refused as missing where a limit needs it. Raises ModelError."""
    if limit_usd is not None and price is None:
        raise ModelError(
            f"{address}: limit_usd is set, but what this model costs is unknown: give price_in and price_out, "
            "in USD for a million tokens (0 for a server of your own)"
        )
    return price
