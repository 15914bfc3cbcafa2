"""A View in words: names for options and speakers, and characters that can be seen."""

from __future__ import annotations

import string
from collections.abc import Sequence

from superalign.evidence.visible import visible
from superalign.oversight.types import View

LETTERS = string.ascii_uppercase


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
