"""Advisers that go by their own reading: a language model quotes, and charges, the places that weigh most with it.

With e(p) the log-probability of the first text's words at piece p less that of the second's, each read in full, a large
e(p) speaks for the first text. It never asks the judge: what it says is what it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import minimize_scalar

from superalign.oversight.judges.likelihood import OVERLAP, PREFIX, Scores
from superalign.oversight.types import Case, Charge, Message, Position, Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceAdviser:
    """A strong language model that reads both texts in full."""

    model: Scores
    charges: int = 1
    """Claims a turn, the weightiest first: "this option is wrong, here"."""
    sharpness: float = 40.0
    """Log-odds of its belief a nat a word; to be fitted on pairs that the model was not trained on."""
    read: dict[str, tuple[np.ndarray, int]] = field(init=False, default_factory=dict, repr=False, compare=False)

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, 2): σ of the sharpened difference of mean log-probabilities."""
        first = 1 / (1 + np.exp(-np.clip(self.sharpness * self.differences(cases), -30, 30)))
        return np.stack([first, 1 - first], axis=1)

    def differences(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases,): log-probability of the first text less that of the second, nats a word."""
        self._read(cases)
        return np.array([self.read[case.item][0].sum() / self.read[case.item][1] for case in cases])

    def evidence(self, cases: Sequence[Case]) -> list[np.ndarray]:
        """Per case (pieces,): e, in nats, what each piece speaks for the first text."""
        self._read(cases)
        return [self.read[case.item][0] for case in cases]

    def fitted(self, cases: Sequence[Case], answers: Sequence[int]) -> EvidenceAdviser:
        """This adviser with its sharpness fitted (log loss)."""
        x = self.differences(cases) * (1 - 2 * np.array(answers))
        best = minimize_scalar(lambda u: float(np.logaddexp(0, -u * x).mean()), bounds=(0.0, 1_000.0), method="bounded")
        other = replace(self, sharpness=float(best.x))
        other.read.update(self.read)
        return other

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """Quotes the heaviest piece for its side that is not shown yet, and charges the other option there."""
        beliefs = self.knows([p.case for p in positions])
        return [self._move(p, row) for p, row in zip(positions, beliefs, strict=True)]

    def _move(self, position: Position, belief: np.ndarray) -> Message:
        case, side = position.case, surest(belief, position.draw) if position.side is None else position.side
        weight = np.nan_to_num(self.read[case.item][0] * (1 if side == 0 else -1), nan=-np.inf)
        shown = {q.piece for m in position.view.messages for q in m.quotes}
        left = [p for p in np.argsort(-weight, kind="stable").tolist() if p not in shown]
        order = np.argsort(-weight, kind="stable")[: self.charges].tolist()
        quotes = tuple(Quote(p, case.pieces[p].texts) for p in left[:1])
        charges = tuple(Charge(1 - side, p) for p in order)
        said = () if position.side is not None else tuple(map(float, belief))
        return Message(speaker=position.seat, side=side, quotes=quotes, charges=charges, belief=said)

    def _read(self, cases: Sequence[Case]) -> None:
        new = [case for case in cases if case.item not in self.read]
        texts = [PREFIX + _whole(case, side) for case in new for side in (0, 1)]
        found = iter(self.model.word_logprobs(texts))
        for case in new:
            sides = [_by_piece(case, side, next(found)) for side in (0, 1)]
            words = len(_whole(case, 0).split())
            self.read[case.item] = (sides[0] - sides[1], max(1, words))


def surest(belief: np.ndarray, draw: int) -> int:
    """The option believed in most; what is no number least, ties by the draw.

    >>> surest(np.array([0.2, np.nan]), 0), {surest(np.array([0.5, 0.5]), draw) for draw in range(9)}
    (0, {0, 1})
    """
    worth = np.where(np.isfinite(belief), belief, -1.0)
    return int(np.random.default_rng(draw).choice(np.flatnonzero(worth == worth.max())))


def _spans(case: Case, side: int) -> list[list[str]]:
    skip = OVERLAP.get(case.task, 0)
    texts = [piece.texts[side].split() for piece in case.pieces]
    return [words if i == 0 else words[skip:] for i, words in enumerate(texts)]


def _whole(case: Case, side: int) -> str:
    return " ".join(word for span in _spans(case, side) for word in span)


def _by_piece(case: Case, side: int, logprobs: np.ndarray) -> np.ndarray:
    ends = np.cumsum([len(span) for span in _spans(case, side)])
    words = logprobs[len(PREFIX.split()) :]
    return np.array([part.sum() for part in np.split(words[: ends[-1]], ends[:-1])])
