"""A View in words: names for options and speakers, and characters that can be seen."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Sequence

from superalign.oversight.types import View

LETTERS = string.ascii_uppercase
HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
BLANK = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters that look like nothing."""
MARKS = 3
"""Combining marks on one letter; more of them would paint over the lines around."""


def visible(text: str) -> str:
    """The text with every character that can't be seen, or that moves the cursor, spelled out; keeps \\n and \\t.

    >>> visible("abc\\u202ecba\\x1b[2J")
    'abc⟨U+202E⟩cba⟨U+001B⟩[2J'
    """
    out, marks = [], 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        out.append(f"⟨U+{ord(char):04X}⟩" if marks > MARKS or _hidden(char) else char)
    return "".join(out)


def _hidden(char: str) -> bool:
    if char in "\n\t":
        return False
    selector = 0xFE00 <= ord(char) <= 0xFE0F or 0xE0100 <= ord(char) <= 0xE01EF
    return selector or char in BLANK or unicodedata.category(char) in HIDDEN


def only_places(options: Sequence[str]) -> bool:
    """Do the options' names say no more than which text stands first?

    >>> only_places(("a", "b")), only_places(("no", "yes"))
    (True, False)
    """
    return tuple(options) == tuple(string.ascii_lowercase[: len(options)])


def speakers(view: View) -> dict[str, str]:
    """Seat → how it is called: seats of one letter, which could be taken for options, by the order in which they speak.

    >>> from superalign.oversight.types import Message
    >>> said = tuple(Message(speaker=seat) for seat in ("table", "b", "a", "critic"))
    >>> speakers(View(task="", question="", options=("a", "b"), messages=said))
    {'table': 'table', 'b': 'adviser 1', 'a': 'adviser 2', 'critic': 'critic'}
    """
    names: dict[str, str] = {}
    for message in view.messages:
        count = sum(name.startswith("adviser ") for name in names.values())
        short = len(message.speaker) < 2
        names.setdefault(message.speaker, f"adviser {count + 1}" if short else visible(message.speaker))
    return names
