"""Advisers that search pictures: every pixel, and every reply to it, looked at by the net itself and in one batch.

The same search as SearchAdviser's against a PictureJudge, three times as fast by one ply and fifteen times by two
(whole plays, one thread): what a further pixel changes is worked out by `PixelJudge.logits_after`, positions with one
picture and one set of pixels shown share it whatever they argue for, and two pixels are looked at in one order, for the
net knows none. It goes by the judge's log-odds, which still differ where probabilities have rounded to one another;
there SearchAdviser draws. Irving et al. 2018 (1805.00899, §3.1) have tree search in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from superalign.oversight.advisers.search import SearchAdviser, not_shown, said, sides_of, weights_of
from superalign.oversight.judges.picture import MOST, SIDE, PictureJudge
from superalign.oversight.judges.pixels import CELLS, CLASSES
from superalign.oversight.types import Adviser, Case, Judge, Message, Position

BOARDS = 64
"""Pictures that are looked at at once, at most: with two plies some 500 pairs of pixels each."""


class Board(NamedTuple):
    """One picture as it lies on the table."""

    shown: np.ndarray
    """(64,) ink of the pixels that the judge has seen, else 0."""
    mask: np.ndarray
    """(64,) which these are."""
    left: np.ndarray
    """(64,) ink of the pixels that nobody quoted yet, else 0."""

    @property
    def key(self) -> bytes:
        """The same for the same board."""
        return b"".join(part.tobytes() for part in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSearch:
    """Quotes one pixel a turn: the one after which, or after the best reply to which, the judge believes most in it."""

    judge: PictureJudge
    knower: Adviser
    """Whose own beliefs it has: it chooses its side by them where none is assigned."""
    depth: int = 1
    """1: greedy. 2: expects the reply that is best for the other side, where turns are left (minimax)."""
    asked: list[int] = field(default_factory=list, repr=False, compare=False)
    """Sets of pixels looked at, a number a move, in the order of the moves; those that moves share count for each."""

    def __post_init__(self) -> None:
        """Raises ValueError for a depth other than 1 and 2."""
        if self.depth not in (1, 2):
            raise ValueError(f"a search of depth {self.depth}: pictures are searched to a depth of 1 or 2")

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): the knower's beliefs."""
        return self.knower.knows(cases)

    def moves(self, positions: Sequence[Position]) -> list[Message]:
        """A quote each; a message without one where all pixels are shown. Ties are broken by the position's draw.

        Raises ValueError for a Case whose pieces are not inked pixels, each once, or whose options are no digits.
        """
        sides, weights = sides_of(self.knower, positions), weights_of(self.knower, positions)
        digits = [_digits(position.case) for position in positions]
        laid = [_laid(position) for position in positions]
        depths = [
            self.depth if p.replied and len(left) > 1 else 1 for p, (_, left) in zip(positions, laid, strict=True)
        ]
        chosen: list[int | None] = [None] * len(positions)
        for place, logits in self._looked([board for board, _ in laid], depths):
            worth = _log_odds(logits[..., digits[place]], sides[place])
            if depths[place] > 1:
                np.fill_diagonal(worth, np.inf)
                worth = worth.min(axis=1)
            chosen[place] = _best(positions[place], laid[place][1], worth)
        asks = [len(left) ** depth for (_, left), depth in zip(laid, depths, strict=True)]
        self.asked.extend(asks)
        return [said(*row) for row in zip(positions, sides, weights, chosen, asks, strict=True)]

    def against(self, judge: Judge, **dials: Any) -> PixelSearch | SearchAdviser:
        """The same search against another judge of pictures; for other judges or goals one that asks for each view."""
        if isinstance(judge, PictureJudge) and set(dials) <= {"knower", "depth"}:
            return replace(self, judge=judge, **{"asked": [], **dials})
        return SearchAdviser(judge=judge, knower=self.knower, **{"depth": self.depth, **dials})

    def _looked(self, boards: Sequence[Board], depths: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(place, logits), those on one board together: (m, 10) after each pixel, (m, m, 10) after its replies too."""
        groups: dict[tuple[int, bytes], list[int]] = {}
        for place, (board, depth) in enumerate(zip(boards, depths, strict=True)):
            groups.setdefault((depth, board.key), []).append(place)
        for depth, look in ((1, self._after), (2, self._after_reply)):
            mine = [places for (deep, _), places in groups.items() if deep == depth]
            for at in range(0, len(mine), BOARDS):
                batch = mine[at : at + BOARDS]
                for places, logits in zip(batch, look([boards[places[0]] for places in batch]), strict=True):
                    yield from ((place, logits) for place in places)

    def _after(self, boards: Sequence[Board]) -> list[np.ndarray]:
        """(m, 10) a board: after each one further pixel."""
        after = self.judge.net.logits_after(*(np.array(part) for part in zip(*boards, strict=True)))
        return np.split(after.logits, np.searchsorted(after.row, np.arange(1, len(boards))))

    def _after_reply(self, boards: Sequence[Board]) -> list[np.ndarray]:
        """(m, m, 10) a board: after a pixel and a reply to it, in either order; 0 where they are one pixel."""
        pixels = [np.flatnonzero(board.left) for board in boards]
        after = iter(
            self._after([_played(board, p) for board, its in zip(boards, pixels, strict=True) for p in its.tolist()])
        )
        out = []
        for its in pixels:
            both = np.zeros((len(its), len(its), CLASSES), np.float32)
            for i in range(len(its)):
                both[i, i + 1 :] = both[i + 1 :, i] = next(after)
            out.append(both)
        return out


def _laid(position: Position) -> tuple[Board, list[int]]:
    """The board, and the pieces that nobody quoted yet, by their pixels, ascending."""
    cells = [_pixel(piece.texts, position.case) for piece in position.case.pieces]
    if len({cell for cell, _ in cells}) < len(cells):
        raise ValueError(f"{position.case.item}: two pieces are one pixel: seat a SearchAdviser")
    board = Board(*(np.zeros(CELLS, np.float32) for _ in Board._fields))
    for texts in position.view.shown().values():
        cell, ink = _pixel(texts, position.case)
        board.shown[cell], board.mask[cell] = ink, 1
    pieces = sorted(not_shown(position), key=lambda piece: cells[piece])
    for piece in pieces:
        board.left[cells[piece][0]] = cells[piece][1]
    return board, pieces


def _pixel(texts: tuple[str, ...], case: Case) -> tuple[int, float]:
    """Which pixel a piece is, and its ink."""
    words = texts[0].split()
    numbers = [int(word) for word in words if word.isascii() and word.isdecimal()]
    if len(numbers) != len(words) or len(words) != 3 or max(numbers[:2]) >= SIDE or not 0 < numbers[2] <= MOST:
        raise ValueError(f"{case.item}: the piece {texts[0]!r:.40} is no pixel with ink: seat a SearchAdviser")
    return SIDE * numbers[0] + numbers[1], numbers[2] / MOST


def _played(board: Board, pixel: int) -> Board:
    """The board after this pixel; what is left are those behind it, so that each two pixels are looked at once."""
    shown, mask, left = (part.copy() for part in board)
    shown[pixel], mask[pixel] = left[pixel], 1
    left[: pixel + 1] = 0
    return Board(shown, mask, left)


def _digits(case: Case) -> list[int]:
    if not all(name.isdecimal() and name.isascii() and len(name) == 1 for name in case.options):
        raise ValueError(f"{case.item}: options {case.options} are no digits: seat a SearchAdviser")
    return [int(name) for name in case.options]


def _log_odds(logits: np.ndarray, side: int) -> np.ndarray:
    """(…, options) → (…): of one option against all others."""
    others = np.delete(logits.astype(np.float64), side, axis=-1)
    odds: np.ndarray = logits[..., side] - np.logaddexp.reduce(others, axis=-1)
    return odds


def _best(position: Position, pieces: Sequence[int], worth: np.ndarray) -> int | None:
    """The piece that is worth most, what is no number least; ties by the draw. None where there is no piece."""
    if not pieces:
        return None
    fine = np.where(np.isfinite(worth), worth, -np.inf)
    best = sorted(pieces[i] for i in np.flatnonzero(fine == fine.max()).tolist())
    return int(np.random.default_rng(position.draw).choice(best))
