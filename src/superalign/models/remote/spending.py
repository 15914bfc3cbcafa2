"""What asking costs: an estimate before the first call, a tally after, and a limit that no request is sent across.

    estimate(asks, price=Price(read=2.5, written=10.0, source="terms"))
    purse = Purse(limit_usd=5.0)                     # may be shared by several speakers
    purse.reserve(worst); purse.settle(worst, spent)

Before a request goes out, the most it could cost is set aside: a token for each byte of the prompt, and the whole
limit of the answer. So the limit holds whatever the tokenizer; only a provider that bills more than max_tokens could
cross it. Requests that were sent and whose fate is unknown (timeout, connection lost) are booked at that worst case.
What a killed process had under way is not booked: at most twice `concurrency` requests each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Condition

from superalign.models.errors import ModelError
from superalign.models.remote.terms import SpendingLimit
from superalign.models.speaker import Ask

MILLION = 1_000_000
CHARACTERS = 3
"""Of a prompt, to a token: fewer than the 4 that English usually has, so that the estimate errs upwards."""
FRAME = 16
"""Tokens that a chat template may add to a message."""


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
    """Tokens of the prompt for an unknown tokenizer: a third of its characters, and a frame for each message."""
    return sum(-(-len(turn.content) // CHARACTERS) + FRAME for turn in ask.messages)


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
    """Money for one or several speakers. Thread-safe."""

    def __init__(self, limit_usd: float | None = None) -> None:
        self.limit_usd = limit_usd
        self.spent = 0.0
        """USD, what earlier runs paid for included."""
        self._reserved = 0.0
        self._under_way = 0
        self._known: set[str] = set()
        self._change = Condition()

    def recall(self, identity: str, usd: float) -> None:
        """Book what earlier runs paid for this speaker; a second call for the same one changes nothing."""
        with self._change:
            if identity not in self._known:
                self._known.add(identity)
                self.spent += usd

    def reserve(self, worst: float) -> None:
        """Set aside so many USD, after requests under way if they decide it. Raises SpendingLimit if it's too much."""
        if self.limit_usd is None:
            return
        with self._change:
            while self.spent + self._reserved + worst > self.limit_usd:
                if not self._under_way:
                    raise SpendingLimit(
                        f"spent {self.spent:.4f} of {self.limit_usd:.4f} USD, and the next request could cost "
                        f"{worst:.4f}: what was answered is kept; raise the limit (limit_usd, --limit) to go on"
                    )
                self._change.wait()
            self._reserved += worst
            self._under_way += 1

    def settle(self, worst: float, spent: float) -> None:
        """A request is over: free what was set aside and book what it cost."""
        with self._change:
            self.spent += spent
            if self.limit_usd is not None:
                self._reserved -= worst
                self._under_way -= 1
            self._change.notify_all()


def priced(price: Price | None, limit_usd: float | None, address: str) -> Price | None:
    """The price, refused as missing where a limit needs it. Raises ModelError."""
    if limit_usd is not None and price is None:
        raise ModelError(
            f"{address}: limit_usd is set, but what this model costs is unknown: give price_in and price_out, "
            "in USD for a million tokens (0 for a server of your own)"
        )
    return price
