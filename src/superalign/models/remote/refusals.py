"""What a server means that does not answer: try again, too long, refused, wrong key, wrong address.

    raise fault_of(429, body, after=2.0)      # Fault("rate limit", again=True, after=2.0)

Only 408, 409, 425, 429, 5xx, lost connections, timeouts and broken JSON are tried again. A message of an error never
quotes what the server said of a key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import AnyStr

from superalign.models.remote.terms import KeyRefused, QuotaSpent, WrongAddress

CONTEXT = (
    "context length", "context_length", "maximum context", "context window", "prompt is too long", "input is too long",
    "input length", "too many tokens", "max_model_len", "exceeds the context", "string_above_max_length",
)  # fmt: skip
FILTER = (
    "content_filter", "content filter", "content management policy", "content_policy", "content policy", "moderation",
    "responsibleaipolicy", "safety system", "flagged",
)  # fmt: skip
MONEY = ("insufficient_quota", "billing_hard_limit", "credit balance")
AGAIN = (408, 409, 425, 429)
GATEWAY = (504, 524)
"""A gateway gave up waiting: whoever it waited for may have answered, and billed."""
PLACEHOLDERS = ("none", "empty", "null", "dummy", "key", "no-key", "not-needed", "sk-no-key-required", "test", "token")
"""What stands for a key where a server wants none, in any case: it may well stand in an answer."""
CONTEXT_WHY, FILTER_WHY = "context", "content filter"


@dataclass(eq=False)
class Fault(Exception):
    """One try that brought no answer."""

    why: str
    """To be counted: "timeout", "rate limit", "server error", "malformed", "connection", "context", "bad request"."""
    again: bool = True
    after: float | None = None
    """Seconds that the server asks to wait."""
    billed: bool = False
    """Whether the provider may have charged for it: it was sent, and what became of it is unknown."""
    refused: bool = False
    """Whether nobody listened at the address at all."""
    said: str = ""
    """By the server, in few words, without the key."""
    raw: bytes = b""
    """What came, without the key, where that is no reply."""


def keyless(text: AnyStr, key: str) -> AnyStr:
    """The text with the key cut out of it."""
    if not key or key.lower() in PLACEHOLDERS:
        return text
    return text.replace(key, "[key]") if isinstance(text, str) else text.replace(key.encode(), b"[key]")


def plain(text: str, key: str) -> str:
    """The text without the key, on one line, at most 300 characters."""
    return " ".join(keyless(text, key).split())[:300]


def seconds_of(header: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header, given as a number or as a date; None where there is none to be read.

    `now`: seconds since 1970.
    """
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, TypeError):
        return None


def too_long(text: str) -> bool:
    """Whether the server says that the prompt does not fit the model's context."""
    return any(word in text.lower() for word in CONTEXT)


def filtered(text: str) -> bool:
    """Whether the server says that it withholds the answer because of what the request or the answer says."""
    return any(word in text.lower() for word in FILTER)


def told_by(body: bytes) -> str:
    """The message, code and type of an error's body, as far as it has them; else its start."""
    text = body[:4000].decode("utf-8", "replace")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return text
    error = told.get("error", told) if isinstance(told, dict) else told
    if isinstance(error, dict):
        return " ".join(str(error[name]) for name in ("message", "code", "type") if error.get(name))
    return str(error)


def fault_of(
    status: int, said: str, *, after: float | None = None, address: str = "", key: str = "", key_from: str = ""
) -> Fault:
    """What a try with that HTTP status amounts to. Raises KeyRefused, QuotaSpent or WrongAddress for what stays so.

    `said`: the server's own words (`told_by`). A filter's 400 or 403 is a Fault whose why is "content filter".
    """
    source = f"the key in {key_from}" if key_from else "the key that the provider's environment variable holds, or none"
    if status in (400, 403, 422) and filtered(said):
        return Fault(FILTER_WHY, again=False, said=plain(said, key))
    if status in (401, 403):
        raise KeyRefused(f"{address}: the server refuses {source} ({status}): is it expired, or for another server?")
    if status == 402 or (status in (400, 429) and any(words in said.lower() for words in MONEY)):
        raise QuotaSpent(f"{address}: the account has no money or quota left ({status}): top it up to go on")
    if status in (404, 405) or 300 <= status < 400:
        raise WrongAddress(f"{address}: no such model or path ({status}): {plain(said, key)}: check URL and model")
    if status in AGAIN or status >= 500:
        why = "rate limit" if status == 429 else "timeout" if status in (408, *GATEWAY) else "server error"
        # told to come back after 0 seconds, wait as if nothing had been told: else all tries are over in no time
        return Fault(why, after=after or None, billed=status in GATEWAY, said=plain(said, key))
    if too_long(said) or status == 413:
        return Fault(CONTEXT_WHY, again=False, said=plain(said, key))
    return Fault("bad request", again=False, said=plain(said, key))
