"""Players that are language models asked in words: what they are asked, how answers are read, and what is kept.

from superalign.oversight.judges.spoken import SpokenJudge
from superalign.oversight.spoken import seats_in_words, tallied
players = seats_in_words(PROTOCOLS["debate"], speaker) | {"judge": SpokenJudge(speaker=other)}
tallied(play(PROTOCOLS["debate"], cases, players))
"""

from superalign.oversight.spoken.asynchronous import play_async, side_by_side
from superalign.oversight.spoken.players import SpokenPlayer, noted
from superalign.oversight.spoken.seats import PROMPTS, seats_in_words
from superalign.oversight.spoken.tallies import heard_by, replies_by, tallied

__all__ = [
    "PROMPTS",
    "SpokenPlayer",
    "heard_by",
    "noted",
    "play_async",
    "replies_by",
    "seats_in_words",
    "side_by_side",
    "tallied",
]
