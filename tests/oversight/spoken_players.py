"""Speakers for tests of players in words: calibration fixtures that answer by a rule, and no substitutes for models."""

import json
import math
import re
from dataclasses import dataclass, field

from superalign.models.speaker import Reply, Token

FRAME = re.compile(r"<([0-9a-f]{16})> (.*?) </\1>", re.DOTALL)


def page_of(ask):
    return "\n".join(turn.content for turn in ask.messages)


def split_frames(text):
    """What stands outside of frames, their word taken out, and the framed texts."""
    word = FRAME.search(text)[1]
    return FRAME.sub("«»", text).replace(word, "word"), [found[2] for found in FRAME.finditer(text)]


@dataclass
class RuleSpeaker:
    """Answers what it is asked for: quotes the first place, believes in A by `sure`; with log-probabilities or not."""

    sure: float = 0.7
    gives: bool = True
    """Log-probabilities?"""
    identity: str = "rule@1"
    special: dict = field(default_factory=dict)
    """Number of an ask, counted from 0, → the Reply that it gets in the place of an answer; "all": every one."""
    asked: list = field(default_factory=list)

    def ask(self, asks):
        return [self._one(ask) for ask in asks]

    def _one(self, ask):
        number = len(self.asked)
        self.asked.append(ask)
        given = self.special.get("all", self.special.get(number))
        if given is not None:
            return given
        if ask.schema:
            known = {
                "quotes": [1],
                "charges": [{"option": "B", "place": 2}],
                "belief": {"A": self.sure, "B": round(1 - self.sure, 9)},
                "argument": f"said by draw {ask.seed}",
                "reason": "because",
                "verdict": "A",
            }
            text = json.dumps({name: known[name] for name in json.loads(ask.schema)["properties"]})
            return Reply(kind="answer", text=text, raw=f"raw {number}", read=9, written=3)
        if not self.gives or not ask.alternatives:
            letter = "A" if (ask.seed * 7919 % 100) < 100 * self.sure else "B"
            return Reply(kind="answer", text=letter, raw=f"raw {number}")
        shown = (("A", math.log(self.sure)), ("B", math.log(1 - self.sure - 0.01)))
        return Reply(kind="cut", text="A", tokens=(Token("A", shown[0][1], shown),), raw=f"raw {number}")
