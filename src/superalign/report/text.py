"""Text from models, code and users, made harmless and honest: what can't be seen is named, the rest is escaped."""

from __future__ import annotations

import html
import math

from superalign.evidence.visible import visible


def escape(text: object) -> str:
    """The text as HTML, for content and for quoted attributes alike.

    >>> escape('"><img onerror=x>')
    '&quot;&gt;&lt;img onerror=x&gt;'
    """
    return html.escape(visible(text), quote=True)


def clip(text: object, limit: int = 120) -> str:
    """At most `limit` characters, and how many were left off.

    >>> clip("abcdef", 4)
    'abcd… (2 more characters)'
    """
    whole = str(text)
    left = len(whole) - limit
    return whole if left <= 0 else f"{whole[:limit]}… ({left} more characters)"


def short(subject: object) -> str:
    """`name@digest` with the first eight digits of the digest; anything else as it is, clipped.

    >>> short("reviewer@" + "a1" * 32)
    'reviewer@a1a1a1a1'
    """
    name, at, digest = str(subject).rpartition("@")
    return f"{clip(name, 60)}@{digest[:8]}" if at and len(digest) == 64 else clip(subject, 60)


def finite(value: object) -> float | None:
    """The value as a float, or None for whatever isn't a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def figure(value: float | None, *, signed: bool = False) -> str:
    """A number for people: three decimals, a real minus sign; "refused" for None.

    >>> figure(-0.08333), figure(0.5, signed=True), figure(12345.0)
    ('−0.083', '+0.500', '12,345')
    """
    if value is None:
        return "refused"
    size = abs(value)
    if size >= 1e6 or 0 < size < 0.0005:
        text = f"{size:.2e}"
    elif size >= 1000:
        text = f"{size:,.0f}"
    else:
        text = f"{size:.3f}"
    sign = "−" if value < 0 and float(text.replace(",", "")) else "+" if signed and value > 0 else ""
    return sign + text


def count(n: int, one: str, many: str = "") -> str:
    """A count and its noun.

    >>> count(1, "organism"), count(2, "kind")
    ('1 organism', '2 kinds')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def listed(words: list[str]) -> str:
    """Words in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
