"""Which prompt a seat has, and a protocol's advisers in words.

players = seats_in_words(PROTOCOLS["debate"], speaker) | {"judge": judge}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superalign.models.speaker import Speaker
from superalign.oversight.prompts.chat import load_chat_prompt
from superalign.oversight.table import Protocol

if TYPE_CHECKING:
    from superalign.oversight.advisers.spoken import SpokenAdviser

HELPFUL, CONSULTANT = "helpful", "consultant"
PROMPTS: Mapping[str, str] = {
    "a": "debater",
    "b": "debater",
    "adviser": CONSULTANT,
    "critic": "critic",
    "second critic": "second-critic",
    "adversary": "adversary",
    "prover": "prover",
}
"""Seat → the prompt that ships for it; any other seat's, and an adviser's who has no side, is "helpful"."""
APART = ("double consultancy",)
"""Protocols in which nobody answers those who sit at "a" and "b": each consults, and neither is told of a debate."""


def prompt_of(protocol: Protocol, seat: str) -> str:
    """The name of the prompt for a seat of a protocol.

    >>> from superalign.oversight.protocols import consultancy, double_consultancy, open_consultancy
    >>> prompt_of(consultancy(), "adviser"), prompt_of(open_consultancy(), "adviser")
    ('consultant', 'helpful')
    >>> prompt_of(double_consultancy(), "b")
    'consultant'
    """
    if protocol.name in APART:
        return CONSULTANT
    assigned = seat in protocol.seats[: protocol.sides]
    return HELPFUL if seat == "adviser" and not assigned else PROMPTS.get(seat, HELPFUL)


def seats_in_words(
    protocol: Protocol, speaker: Speaker, *, prompts: Mapping[str, str | Path] | None = None, **dials: Any
) -> dict[str, SpokenAdviser]:
    """Every adviser that a protocol needs, played by one speaker. `prompts`: seat → prompt, in the place of ours;
    `dials` are those of SpokenAdviser. Seats of one prompt share a player. Raises PromptError, and
    ValueError for a prompt of a seat that there is not.
    """
    from superalign.oversight.advisers.spoken import SpokenAdviser  # which imports this package

    if nobody := set(prompts or {}) - set(protocol.seats):
        raise ValueError(f"{protocol.name} has no seat {', '.join(sorted(nobody))}: {', '.join(protocol.seats)}")
    made: dict[str, SpokenAdviser] = {}
    names = {seat: str((prompts or {}).get(seat, prompt_of(protocol, seat))) for seat in protocol.seats}
    for name in dict.fromkeys(names.values()):
        made[name] = SpokenAdviser(speaker=speaker, prompt=load_chat_prompt(name), **dials)
    return {seat: made[name] for seat, name in names.items()}
