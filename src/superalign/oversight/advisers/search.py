"""Advisers that search: they ask the judge itself what it would believe, and quote what serves their side best.

`depth=1` is greedy, `depth=2` expects the best reply of an opponent (minimax), `width=n` looks at n pieces only
(best-of-n): those that speak most for its side by the knower's own reading, or n at random where it has none. The judge
is the real one: search finds whatever it can be made to believe. Where the knower has evidence, the heaviest place is
also charged to the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from superalign.oversight.types import Adviser, Case, Charge, Judge, Message, Position, Quote, View


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAdviser:
    """Quotes one piece a turn: the one after which the judge believes most in the side argued for."""

    judge: Judge
    knower: Adviser
    """Whose own beliefs it has: it chooses its side by them where none is assigned."""
    depth: int = 1
    width: int | None = None
    """Pieces looked at a turn; None: all."""
    goal: Literal["win", "move"] = "win"
    """`win`: the judge believes in its side; `move`: the judge's belief changes as much as possible, either way."""
    chunk: int = 8192
    """Views that are judged at once, at most."""

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): the knower's beliefs."""
        return self.knower.knows(cases)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """A quote each; a message without one where all pieces are shown. Ties are broken by the position's draw."""
        sides, weights = self._sides(positions), self._weights(positions)
        options = [self._candidates(p, s, w) for p, s, w in zip(positions, sides, weights, strict=True)]
        depth = [2 if self.depth > 1 and p.turns_left > 0 else 1 for p in positions]
        values = self._values([with_quotes(p, (c,)) for p, cs in zip(positions, options, strict=True) for c in cs])
        out, at = [], 0
        for position, side, weight, candidates, deep in zip(positions, sides, weights, options, depth, strict=True):
            worth = values[at : at + len(candidates), side] if candidates else np.zeros(0)
            at += len(candidates)
            if self.goal == "move":
                worth = np.abs(worth - self.judge.beliefs([position.view])[0, side])
            if deep > 1 and len(candidates) > 1:
                worth = self._after_reply(position, side, candidates)
            out.append(self._message(position, side, weight, candidates, worth))
        return out

    def _sides(self, positions: Sequence[Position]) -> list[int]:
        free = [p.case for p in positions if p.side is None]
        own = iter(self.knower.knows(free).argmax(axis=1).tolist() if free else [])
        return [next(own) if p.side is None else p.side for p in positions]

    def _weights(self, positions: Sequence[Position]) -> list[np.ndarray | None]:
        """What each piece speaks for the first option, by the knower's reading; None where it has none."""
        evidence = getattr(self.knower, "evidence", None)
        return [None] * len(positions) if evidence is None else list(evidence([p.case for p in positions]))

    def _candidates(self, position: Position, side: int, weight: np.ndarray | None) -> list[int]:
        known = {q.piece for m in position.view.messages for q in m.quotes}
        left = [i for i in range(len(position.case.pieces)) if i not in known]
        if self.width is None or len(left) <= self.width:
            return left
        if weight is not None and self.goal == "win":
            return sorted(left, key=lambda i: (-weight[i] if side == 0 else weight[i], i))[: self.width]
        return [int(piece) for piece in np.random.default_rng(position.draw).permutation(left)[: self.width]]

    def _values(self, views: Sequence[View]) -> np.ndarray:
        if not views:
            return np.zeros((0, 0))
        return np.concatenate([self.judge.beliefs(views[i : i + self.chunk]) for i in range(0, len(views), self.chunk)])

    def _after_reply(self, position: Position, side: int, candidates: Sequence[int]) -> np.ndarray:
        """What is left of each candidate when an opponent gives the best reply that it looks at."""
        pairs = [(c, r) for c in candidates for r in candidates if r != c]
        values = self._values([with_quotes(position, pair) for pair in pairs])[:, side]
        worst: np.ndarray = values.reshape(len(candidates), -1).min(axis=1)
        return worst

    def _message(
        self, position: Position, side: int, weight: np.ndarray | None, candidates: Sequence[int], worth: np.ndarray
    ) -> Message:
        if not len(candidates):
            return Message(speaker=position.seat)
        finite = np.where(np.isfinite(worth), worth, -1.0)
        best = np.flatnonzero(finite == finite.max())
        piece = candidates[int(np.random.default_rng(position.draw).choice(best))]
        said = (Quote(piece, position.case.pieces[piece].texts),)
        heaviest = () if weight is None else (Charge(1 - side, int((weight if side == 0 else -weight).argmax())),)
        return Message(speaker=position.seat, quotes=said, charges=heaviest)


def against(judge: Judge, adviser: Adviser, **dials: Any) -> SearchAdviser:
    """The adviser as one that searches against `judge`: its own dials if it searches already, `dials` over them."""
    mine = adviser if isinstance(adviser, SearchAdviser) else SearchAdviser(judge=judge, knower=adviser)
    return replace(mine, judge=judge, **dials)


def with_quotes(position: Position, pieces: Sequence[int]) -> View:
    """What the judge would be shown if these pieces were quoted now."""
    quotes = tuple(Quote(p, position.case.pieces[p].texts, verified=True) for p in pieces)
    said = Message(speaker=position.seat, side=position.side, quotes=quotes)
    return replace(position.view, messages=(*position.view.messages, said))
