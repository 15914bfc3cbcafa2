"""Advisers that search: they ask the judge itself what it would believe, and quote what serves their side best.

`depth=1` is greedy, `depth=2` expects the best reply of an opponent (minimax), `width=n` looks at n pieces only
(best-of-n): those that speak most for its side by the knower's own reading, or n at random where it has none. The judge
is the real one: search finds whatever it can be made to believe. Where the knower has evidence, the heaviest place is
also charged to the other side. What a move has asked of the judge is noted in `asked`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from superalign.oversight.advisers.evidence import surest
from superalign.oversight.judges.reader import connected
from superalign.oversight.types import Adviser, Case, Charge, Judge, Message, Position, Quote, View

CHUNK = 8192
"""Views that are judged at once, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAdviser:
    """Quotes one piece a turn: the one after which the judge believes most in the side argued for."""

    judge: Judge
    knower: Adviser
    """Whose own beliefs it has: it chooses its side by them where none is assigned."""
    depth: int = 1
    width: int | None = None
    """Pieces looked at a turn; None: all."""
    near: bool = False
    """Looks only at pieces that can matter (`concerning`)."""
    goal: Literal["win", "move"] = "win"
    """`win`: the judge believes in its side; `move`: the judge's belief changes as much as possible, either way."""
    chunk: int = CHUNK
    """Views that are judged at once, at most."""
    asked: list[int] = field(default_factory=list, repr=False, compare=False)
    """Views that the judge was asked about, a number a move, in the order of the moves."""

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): the knower's beliefs."""
        return self.knower.knows(cases)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """A quote each; a message without one where all pieces are shown. Ties are broken by the position's draw."""
        sides, weights = sides_of(self.knower, positions), weights_of(self.knower, positions)
        options = [self._candidates(p, s, w) for p, s, w in zip(positions, sides, weights, strict=True)]
        depth = [2 if self.depth > 1 and p.replied else 1 for p in positions]
        values = self._values([with_quotes(p, (c,)) for p, cs in zip(positions, options, strict=True) for c in cs])
        out, at = [], 0
        for position, side, weight, candidates, deep in zip(positions, sides, weights, options, depth, strict=True):
            worth = values[at : at + len(candidates), side] if candidates else np.zeros(0)
            at += len(candidates)
            asks = len(candidates)
            if self.goal == "move":
                worth = np.abs(worth - self.judge.beliefs([position.view])[0, side])
                asks += 1
            if deep > 1 and len(candidates) > 1:
                worth = self._after_reply(position, side, candidates)
                asks += len(candidates) * (len(candidates) - 1)
            self.asked.append(asks)
            piece = best_of(position, candidates, worth)
            out.append(said(position, side, weight if candidates else None, piece, asks))
        return out

    def against(self, judge: Judge, **dials: Any) -> SearchAdviser:
        """The same search against another judge, `dials` over its own."""
        return replace(self, judge=judge, **{"asked": [], **dials})

    def _candidates(self, position: Position, side: int, weight: np.ndarray | None) -> list[int]:
        left = concerning(position.case, not_shown(position)) if self.near else not_shown(position)
        return narrowed(position, left, side, weight if self.goal == "win" else None, self.width)

    def _values(self, views: Sequence[View]) -> np.ndarray:
        return judged(self.judge, views, self.chunk)

    def _after_reply(self, position: Position, side: int, candidates: Sequence[int]) -> np.ndarray:
        """What is left of each candidate when an opponent gives the best reply that it looks at."""
        pairs = [(c, r) for c in candidates for r in candidates if r != c]
        values = self._values([with_quotes(position, pair) for pair in pairs])[:, side]
        worst: np.ndarray = values.reshape(len(candidates), -1).min(axis=1)
        return worst


def against(judge: Judge, adviser: Adviser, **dials: Any) -> Any:
    """The adviser as one that works against `judge`, `dials` over its own.

    One that asks or was trained on a judge knows how (`adviser.against`); any other becomes a SearchAdviser's knower.
    """
    aimed = getattr(adviser, "against", None)
    return SearchAdviser(judge=judge, knower=adviser, **dials) if aimed is None else aimed(judge, **dials)


def with_quotes(position: Position, pieces: Sequence[int]) -> View:
    """What the judge would be shown if these pieces were quoted now."""
    return after(position.view, position.case, pieces, seat=position.seat, side=position.side)


def after(view: View, case: Case, pieces: Sequence[int], *, seat: str, side: int | None) -> View:
    """The view, and these pieces in one more message of a seat."""
    quotes = tuple(Quote(p, case.pieces[p].texts, verified=True) for p in pieces)
    return replace(view, messages=(*view.messages, Message(speaker=seat, side=side, quotes=quotes)))


def judged(judge: Judge, views: Sequence[View], chunk: int = CHUNK) -> np.ndarray:
    """(views, options), asked in chunks."""
    if not views:
        return np.zeros((0, 0))
    return np.concatenate([judge.beliefs(views[i : i + chunk]) for i in range(0, len(views), chunk)])


def sides_of(knower: Adviser, positions: Sequence[Position]) -> list[int]:
    """The side each argues for: the assigned one, or what its knower believes."""
    free = [p for p in positions if p.side is None]
    rows: Sequence[Any] = list(knower.knows([p.case for p in free])) if free else []
    own = iter([surest(row, p.draw) for row, p in zip(rows, free, strict=True)])
    return [next(own) if p.side is None else p.side for p in positions]


def weights_of(knower: Adviser, positions: Sequence[Position]) -> list[np.ndarray | None]:
    """What each piece speaks for the first option, by the knower's reading; None where it has none."""
    evidence = getattr(knower, "evidence", None)
    return [None] * len(positions) if evidence is None else list(evidence([p.case for p in positions]))


def not_shown(position: Position) -> list[int]:
    """Pieces that nobody quoted yet."""
    known = {q.piece for m in position.view.messages for q in m.quotes}
    return [i for i in range(len(position.case.pieces)) if i not in known]


def concerning(case: Case, pieces: Sequence[int]) -> list[int]:
    """Of these pieces, those that can matter: of rules, what names connect with the question; else all."""
    if case.task != "rules":
        return list(pieces)
    near = _near(case.question, tuple(piece.texts[0] for piece in case.pieces))
    return [p for p in pieces if case.pieces[p].texts[0] in near]


@lru_cache(maxsize=1024)
def _near(question: str, lines: tuple[str, ...]) -> frozenset[str]:
    return frozenset(connected(lines, question))


def narrowed(position: Position, left: list[int], side: int, weight: np.ndarray | None, width: int | None) -> list[int]:
    """Up to `width` of these pieces: those that speak most for the side, or, without weights, at random by the draw."""
    if width is None or len(left) <= width:
        return left
    if weight is not None:
        speaks = _speaks(weight, side)
        return sorted(left, key=lambda i: (-speaks[i], i))[:width]
    return [int(piece) for piece in np.random.default_rng(position.draw).permutation(left)[:width]]


def best_of(position: Position, candidates: Sequence[int], worth: np.ndarray) -> int | None:
    """The piece that is worth most, what is no number least; ties by the draw. None where there is no piece."""
    if not len(candidates):
        return None
    finite = np.where(np.isfinite(worth), worth, -1.0)
    best = np.flatnonzero(finite == finite.max())
    return candidates[int(np.random.default_rng(position.draw).choice(best))]


def said(position: Position, side: int, weight: np.ndarray | None, piece: int | None, asked: int = 0) -> Message:
    """A message that quotes the piece, if any, and charges the other side where most weighs against it."""
    heaviest = () if weight is None else (Charge(1 - side, int(_speaks(weight, side).argmax())),)
    quotes = () if piece is None else (Quote(piece, position.case.pieces[piece].texts),)
    return Message(speaker=position.seat, quotes=quotes, charges=heaviest, asked=asked)


def _speaks(weight: np.ndarray, side: int) -> np.ndarray:
    """(pieces,): how much each speaks for a side; what is no number speaks for none."""
    speaks: np.ndarray = np.nan_to_num(weight if side == 0 else -weight, nan=-np.inf)
    return speaks
