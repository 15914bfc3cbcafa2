"""A speaker for tests of boards that are played in words: answers by a rule, counts tokens as a tokenizer would."""

import hashlib
import importlib.util
import json
import math
from pathlib import Path

from superalign.models.speaker import Reply, Token

SPEC = importlib.util.spec_from_file_location(
    "faulty_server", Path(__file__).parent.parent / "models" / "faulty_server.py"
)
faulty = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(faulty)


class Talker:
    """A calibration fixture: quotes and believes by a hash of what it is asked; refuses or garbles a share of it."""

    identity = "talker@1"

    def __init__(self, *, gives=True, refuses=0.0, garbles=0.0):
        self.gives, self.refuses, self.garbles = gives, refuses, garbles

    def ask(self, asks):
        return [self._one(ask) for ask in asks]

    def _one(self, ask):
        text = "\n".join(turn.content for turn in ask.messages)
        draw = int(hashlib.sha256(f"{text}{ask.seed}".encode()).hexdigest()[:8], 16) / 16**8
        read, argues = len(text) // 4, "argument" in ask.schema
        if argues and draw < self.refuses:
            return Reply(kind="refused", text="I will not argue for that.", why="refusal", read=read, written=6)
        if argues and draw < self.refuses + self.garbles:
            return Reply(kind="answer", text="Well, let me think.", read=read, written=5)
        if ask.schema:
            said = json.dumps({name: self._value(name, form, draw) for name, form in _fields(ask).items()})
            return Reply(kind="answer", text=said, read=read, written=len(said) // 4)
        sure = 0.05 + 0.9 * draw
        if not self.gives or not ask.alternatives:
            return Reply(kind="answer", text="A" if draw < 0.6 else "B", read=read, written=1)
        shown = (("A", math.log(sure)), ("B", math.log(1 - sure)))
        return Reply(kind="answer", text="A", tokens=(Token("A", shown[0][1], shown),), read=read, written=1)

    def _value(self, name, form, draw):
        if name == "belief":
            return dict(zip(form["properties"], (round(draw, 3), round(1 - round(draw, 3), 3)), strict=True))
        if name in ("quotes", "charges"):
            place = 1 + int(draw * 997) % 3
            return [place] if name == "quotes" else [{"option": "AB"[place % 2], "place": place}]
        return "A" if name == "verdict" else f"because of draw {draw:.6f}"


def _fields(ask):
    return json.loads(ask.schema)["properties"]
