"""Oversight: how a weak judge is helped to judge, and the gap between what a critic knows and what it tells.

from superalign.oversight import PROTOCOLS, case_of, play
episodes = list(play(PROTOCOLS["debate"], cases, {"judge": judge, "a": adviser, "b": adviser}))
"""

from superalign.oversight.cases import case_of
from superalign.oversight.critique import Checker, Critiques, claim_holds, criticise
from superalign.oversight.play import play
from superalign.oversight.protocols import PROTOCOLS, protocols
from superalign.oversight.table import Lesson, Protocol, Table
from superalign.oversight.types import Adviser, Case, Episode, Judge, Message, Piece, Position, Quote, Referee, View

__all__ = [
    "PROTOCOLS",
    "Adviser",
    "Case",
    "Checker",
    "Critiques",
    "Episode",
    "Judge",
    "Lesson",
    "Message",
    "Piece",
    "Position",
    "Protocol",
    "Quote",
    "Referee",
    "Table",
    "View",
    "case_of",
    "claim_holds",
    "criticise",
    "play",
    "protocols",
]
