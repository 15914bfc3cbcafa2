"""Advisers that plan: they look for a set of quotes for all turns they have left, and play it piece by piece.

Where no single quote moves a judge (a proof of five lines says nothing until it is whole) greedy search is blind. A
plan is a set of pieces, worth what the judge believes once all of them are shown; sets are grown by beam search from
what is on the table, for all positions in one batch a size. With `replies=k` the k best plans are each held against the
k best answers of an opponent (maximin). Plans are made anew every turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from superalign.oversight.advisers.search import (
    CHUNK,
    after,
    concerning,
    judged,
    narrowed,
    not_shown,
    said,
    sides_of,
    weights_of,
)
from superalign.oversight.types import Adviser, Case, Judge, Message, Position, View

Pieces = tuple[int, ...]
"""In ascending order."""
RIVAL = "rival"
"""Seat of an opponent who has not spoken yet."""


class Start(NamedTuple):
    """What sets are grown from: a view, who would speak, of which pieces, how many at most, and for whom."""

    view: View
    case: Case
    seat: str
    told: int | None
    """The side that the judge is told of."""
    side: int
    """Whose belief counts."""
    pieces: list[int]
    most: int

    def shown(self, pieces: Pieces) -> View:
        """What the judge would be shown after these pieces."""
        return after(self.view, self.case, pieces, seat=self.seat, side=self.told) if pieces else self.view


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAdviser:
    """Quotes one piece a turn: of the best set that it finds for its turns left, the one that is best shown first.

    Where nothing that it finds is better than silence it is silent.
    """

    judge: Judge
    knower: Adviser
    """Whose own beliefs it has: it chooses its side by them where none is assigned."""
    beam: int = 6
    """Sets of each size that are grown further."""
    width: int | None = None
    """Pieces looked at; None: all. Of rules only those are looked at that names connect with the question."""
    replies: int = 0
    """Plans, and an opponent's answers, that are held against each other; 0: as if nobody answered."""
    goal: Literal["win", "move"] = "win"
    """`win`: the judge believes in its side; `move`: the judge's belief changes as much as possible, either way."""
    chunk: int = CHUNK
    """Views that are judged at once, at most."""
    asked: list[int] = field(default_factory=list, repr=False, compare=False)
    """Views that the judge was asked about, a number a move, in the order of the moves."""

    def __post_init__(self) -> None:
        """Raises ValueError for a beam under 1, or answers where nobody is to win."""
        if self.beam < 1 or self.replies < 0 or (self.replies and self.goal != "win"):
            raise ValueError(
                f"beam {self.beam}, replies {self.replies}, goal {self.goal!r}: a planner grows at least one set, and "
                "expects answers only where it means to win"
            )

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): the knower's beliefs."""
        return self.knower.knows(cases)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """A quote each, or a message without one. Ties are broken by the position's draw, silence comes last.

        Raises ValueError where answers are expected and a case has more than two options.
        """
        sides, weights = sides_of(self.knower, positions), weights_of(self.knower, positions)
        starts = [self._start(p, s, w) for p, s, w in zip(positions, sides, weights, strict=True)]
        grown = self._grown(starts)
        plans, asks = grown, [len(worth) for worth in grown]
        if self.replies:
            plans, more = self._answered(positions, starts, grown, weights)
            asks = [a + b for a, b in zip(asks, more, strict=True)]
        self.asked.extend(asks)
        pieces = [_first(*each) for each in zip(positions, plans, grown, strict=True)]
        return [said(*each) for each in zip(positions, sides, weights, pieces, asks, strict=True)]

    def against(self, judge: Judge, **dials: Any) -> PlanAdviser:
        """The same planner against another judge, `dials` over its own."""
        return replace(self, judge=judge, **{"asked": [], **dials})

    def _start(self, position: Position, side: int, weight: np.ndarray | None) -> Start:
        left = concerning(position.case, not_shown(position))
        pieces = narrowed(position, left, side, weight if self.goal == "win" else None, self.width)
        most = min(position.turns_left + 1, len(pieces))
        return Start(position.view, position.case, position.seat, position.side, side, pieces, most)

    def _grown(self, starts: Sequence[Start]) -> list[dict[Pieces, float]]:
        """What each set that was looked at is worth, the empty one among them."""
        found: list[dict[Pieces, float]] = [{} for _ in starts]
        fresh: list[list[Pieces]] = [[()] for _ in starts]
        for size in range(1 + max((start.most for start in starts), default=0)):
            if size:
                grow = zip(starts, found, fresh, strict=True)
                fresh = [self._larger(*each) if size <= each[0].most else [] for each in grow]
            values = iter(self._worth([(start, s) for start, sets in zip(starts, fresh, strict=True) for s in sets]))
            for worth, sets in zip(found, fresh, strict=True):
                worth |= {s: next(values) for s in sets}
        if self.goal == "move":
            return [{s: abs(value - worth[()]) for s, value in worth.items()} for worth in found]
        return found

    def _larger(self, start: Start, worth: Mapping[Pieces, float], last: Sequence[Pieces]) -> list[Pieces]:
        """The best of the last sets, each with one piece more."""
        values = {s: abs(worth[s] - worth[()]) if self.goal == "move" else worth[s] for s in last}
        grown = (tuple(sorted((*s, p))) for s in _best(values, self.beam) for p in start.pieces if p not in s)
        return list(dict.fromkeys(grown))

    def _worth(self, sets: Sequence[tuple[Start, Pieces]]) -> list[float]:
        """The judge's belief in the side after each set, −1 where it can't say. What is alike is asked once."""
        views = [start.shown(pieces) for start, pieces in sets]
        place = {view: i for i, view in enumerate(dict.fromkeys(views))}
        beliefs = judged(self.judge, list(place), self.chunk)
        values = [float(beliefs[place[view], start.side]) for view, (start, _) in zip(views, sets, strict=True)]
        return [value if np.isfinite(value) else -1.0 for value in values]

    def _answered(
        self,
        positions: Sequence[Position],
        starts: Sequence[Start],
        grown: Sequence[Mapping[Pieces, float]],
        weights: Sequence[np.ndarray | None],
    ) -> tuple[list[dict[Pieces, float]], list[int]]:
        """What is left of each of the best plans after its worst answer, and how many views were asked about.

        Answers are an opponent's best plans with the best of these on the table.
        """
        best = [_best(worth, self.replies) for worth in grown]
        rivals = [self._rival(*each) for each in zip(positions, starts, best, weights, strict=True)]
        theirs = self._grown(rivals)
        answers = [_best(worth, self.replies) for worth in theirs]
        table = zip(starts, rivals, best, answers, strict=True)
        values = iter(
            self._worth(
                [
                    (rival._replace(view=start.shown(plan), side=start.side), answer)
                    for start, rival, plans, some in table
                    for plan in plans
                    for answer in some
                ]
            )
        )
        left = [
            {plan: min(next(values) for _ in some) for plan in plans} for plans, some in zip(best, answers, strict=True)
        ]
        return left, [len(w) + len(p) * len(a) for w, p, a in zip(theirs, best, answers, strict=True)]

    def _rival(self, position: Position, start: Start, best: Sequence[Pieces], weight: np.ndarray | None) -> Start:
        if len(position.case.options) != 2:
            raise ValueError(
                f"{len(position.case.options)} options: who answers is told only of two; plan without replies"
            )
        side, seats = 1 - start.side, {m.speaker for m in position.view.messages} - {position.seat, "table", "referee"}
        left = concerning(position.case, [p for p in not_shown(position) if p not in best[0]])
        pieces = narrowed(position, left, side, weight, self.width)
        most = min(position.turns_left + 1, len(pieces))
        told = None if start.told is None else side
        return Start(start.shown(best[0]), position.case, min(seats, default=RIVAL), told, side, pieces, most)


def _best(worth: Mapping[Pieces, float], count: int) -> list[Pieces]:
    """The sets that are worth most, the first found where they are worth the same."""
    return sorted(worth, key=lambda pieces: -worth[pieces])[:count]


def _first(position: Position, plans: Mapping[Pieces, float], worth: Mapping[Pieces, float]) -> int | None:
    """Of the best plan the piece that is worth most alone; None where silence is better."""
    top = max(plans.values())
    best = [pieces for pieces, value in plans.items() if value == top and pieces]
    if not best:
        return None
    chosen = best[int(np.random.default_rng(position.draw).choice(len(best)))]
    return max(chosen, key=lambda piece: worth[piece,])
