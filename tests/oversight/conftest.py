"""Players for tests of the table: calibration fixtures that follow a formula, no models and no substitutes for them."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from superalign.oversight.types import Charge, Message, Quote
from superalign.tasks import traces


@dataclass
class CountingJudge:
    """Believes in option 0 the more, the larger the sum of the numbers of the pieces shown; counts its calls."""

    calls: list = field(default_factory=list)

    def beliefs(self, views):
        self.calls.append(len(views))
        sums = np.array([sum((-1) ** piece * (piece + 1) for piece in view.shown()) for view in views], dtype=float)
        first = 1 / (1 + np.exp(-0.3 * sums))
        return np.stack([first, 1 - first], axis=1)


@dataclass
class FirstPiece:
    """Quotes the first piece that is not shown yet, charges the option it does not argue for there."""

    belief: tuple = (0.8, 0.2)
    calls: list = field(default_factory=list)

    def knows(self, cases):
        return np.tile(np.array(self.belief), (len(cases), 1))

    def moves(self, positions):
        self.calls.append(len(positions))
        out = []
        for p in positions:
            shown = {q.piece for m in p.view.messages for q in m.quotes}
            piece = min(set(range(len(p.case.pieces))) - shown)
            side = 0 if p.side is None else p.side
            said = (Quote(piece, p.case.pieces[piece].texts),)
            out.append(Message(speaker=p.seat, quotes=said, charges=(Charge(1 - side, piece),)))
        return out


@dataclass
class TruthReferee:
    """Holds the truths of a page of calculations."""

    truths: dict

    def holds(self, case, charge):
        truth = self.truths[case.item]
        return charge.option != truth["answer"] and charge.piece == truth["place"]


@pytest.fixture
def page():
    return traces(split="dev", view="pair", n=12, steps=6)


@pytest.fixture
def seated(page):
    adviser = FirstPiece()
    seats = ("adviser", "a", "b", "critic", "second critic", "adversary", "prover", "estimator")
    return {"judge": CountingJudge(), "referee": TruthReferee(dict(page.truths))} | dict.fromkeys(seats, adviser)
