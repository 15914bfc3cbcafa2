"""A passage cut into sentences: the pieces that can be quoted to a judge.

sentences("Dr. Abel left. She came back at 3.5 p.m. on Monday!")      # two
"""

from __future__ import annotations

import re

_ENDS = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’»)\]]*(?=\s+[\"'“‘«(\[]*[^\W_a-z])|[。！？]+[」』”]*")
_SHORT = re.compile(
    r"[^\W\d_]|.*\..*|mrs?|ms|dr|prof|st|[sj]r|vs|etc|figs?|eqs?|sec|ch|vol|eds?|al|cf|approx|dept|est|inc|ltd|co|corp|"
    r"gen|col|lt|capt|sgt|rev|hon|gov|sen|rep|jan|feb|mar|apr|ju[nl]|aug|sept?|oct|nov|dec",
    re.IGNORECASE,
)
"""A letter, letters with points between them, or a short form."""
LONGEST = 200
"""Characters of a short form at most: a passage without an end would be looked through at each of its points."""
_LAST = re.compile(r"([^\W\d_]+(?:\.[^\W\d_]+)*)\.$")


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, white space made single; a line's end ends one, too.

    Short forms ("Dr.", "e.g.", initials) end none.

    >>> sentences("Dr. A. Abel left. She came back.\\nThe end")
    ('Dr. A. Abel left.', 'She came back.', 'The end')
    """
    found = []
    for line in text.splitlines():
        began = 0
        for end in _ENDS.finditer(line):
            told = line[began : end.end()].strip()
            if not _is_short(told):
                found.append(" ".join(told.split()))
                began = end.end()
        found.append(" ".join(line[began:].split()))
    return tuple(each for each in found if each)


def _is_short(told: str) -> bool:
    last = _LAST.search(told[-LONGEST:])
    return last is not None and _SHORT.fullmatch(last[1]) is not None
