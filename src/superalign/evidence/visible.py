"""Text of strangers, with what can't be seen spelled out: for pages, terminals and prompts alike."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_BLANK_LETTERS = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_PLAIN = re.compile(r"[ -~\n\t]*")
_MOST_MARKS = 3
"""Combining marks on one letter; more of them would paint over the lines around."""


def visible(text: object) -> str:
    """The text with every control, bidirectional, invisible or unassigned character spelled out; keeps \\n and \\t.

    >>> visible("abc\\u202ecba")
    'abc⟨U+202E⟩cba'
    """
    out, marks, told = [], 0, str(text)
    if _PLAIN.fullmatch(told):
        return told
    for char in told:
        marks = marks + 1 if unicodedata.combining(char) else 0
        named = _is_hidden(char) or marks > _MOST_MARKS
        out.append(f"⟨U+{ord(char):04X}⟩" if named else char)
    return "".join(out)


def _is_hidden(char: str) -> bool:
    if char in "\n\t":
        return False
    code = ord(char)
    selector = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
    return selector or char in _BLANK_LETTERS or unicodedata.category(char) in _HIDDEN
