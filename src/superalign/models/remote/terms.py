"""On what terms a model is asked: how many requests at once, how often again, for how long, for how much money.

    Terms(concurrency=16, price_in=2.5, price_out=10.0, limit_usd=5.0, kept=Path(".superalign/replies"))

What would fail every further request as well is an error of its own here; all else is a Reply of kind "none".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from superalign.evidence.store import ObjectStore
from superalign.models.errors import ModelError, Unaskable


class KeyRefused(Unaskable):
    """The server refused the key (401, 403). The message names the variable it came from, never the key."""


class SpendingLimit(Unaskable):
    """The next request could cost more than is left. The message says whether what was answered is kept."""


class QuotaSpent(Unaskable):
    """The provider says that the account's money or quota is used up."""


class WrongAddress(Unaskable):
    """Nothing answers there, or no such model does."""


class KeptError(ModelError):
    """The index of kept replies cannot be read or written, or lacks a reply that is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Read by every speaker behind an API; a local one heeds `kept` and `store` only."""

    concurrency: int = 8
    """Requests under way at once."""
    requests_per_minute: int | None = None
    """In any 60 seconds, at most; None: as many as the server takes."""
    tokens_per_minute: int | None = None
    """In any 60 seconds, at most: each prompt as `read_estimate` has it, and the answer's limit."""
    retries: int = 6
    """After the first try of a request, at most."""
    backoff: float = 0.5
    """Seconds: the first retry waits up to that long, each further one up to twice as long as the one before."""
    timeout: float = 120.0
    """Seconds that one try may take."""
    longest_wait: float = 600.0
    """Seconds; a server that says to come back later than that (Retry-After) counts as giving no answer."""
    price_in: float | None = None
    """USD for a million tokens of prompt."""
    price_out: float | None = None
    """USD for a million tokens of answer."""
    limit_usd: float | None = None
    """No request is sent that could bring the costs over it: what this model cost in all runs and processes that share
    `kept`, else in this one. Needs prices."""
    kept: Path | None = None
    """Folder of the index of replies (`replies.sqlite`) and, without `store`, of raw responses; None: none is kept."""
    store: ObjectStore | None = None
    """Where raw responses go."""
    key_from: str = ""
    """Name of the environment variable that holds the key; empty: none is sent (`inspect:`: its provider's own)."""

    def __post_init__(self) -> None:
        for name in ("concurrency", "requests_per_minute", "tokens_per_minute", "timeout", "longest_wait"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ModelError(f"{name} is {value}: give a number above 0")
        for name in ("retries", "backoff", "price_in", "price_out", "limit_usd"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ModelError(f"{name} is {value}: give 0 or more")
        if (self.price_in is None) != (self.price_out is None):
            raise ModelError(
                "price_in and price_out belong together, in USD for a million tokens: give both or neither"
            )
        if self.store is not None and self.kept is None:
            raise ModelError("a store for raw responses without an index: give kept, the folder of replies.sqlite, too")


def key_of(terms: Terms) -> str:
    """The key itself, read from the environment now; empty where none is named.

    Raises KeyRefused if it is not set, or holds what no header can carry.
    """
    if not terms.key_from:
        return ""
    key = os.environ.get(terms.key_from, "").strip()
    if not key:
        raise KeyRefused(f"the environment variable {terms.key_from} holds no key: set it, or leave key_from out")
    if not all("!" <= each <= "~" for each in key):  # sent, it would fail with words that quote it
        raise KeyRefused(
            f"the environment variable {terms.key_from} holds a space, a line break or a letter beyond ASCII, which "
            "no key has: set it to the key alone"
        )
    return key
