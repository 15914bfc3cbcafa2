"""The pixel judge at the table: it reads the pixels that were quoted, and chooses among the item's digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superalign.oversight.judges.pixels import CELLS, PixelJudge
from superalign.oversight.types import Case, View

SIDE, MOST = 8, 16
"""Cells a row of an image, and the value of full ink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureJudge:
    """Belief by a net that was trained on sparse pixels; options are digits."""

    net: PixelJudge
    name: str

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, options): the net's probabilities of the digits asked about, normalised over these.

        Raises ValueError for an item whose options are no digits.
        """
        values = np.zeros((len(views), CELLS), np.float32)
        mask = np.zeros((len(views), CELLS), bool)
        for i, view in enumerate(views):
            for texts in view.shown().values():
                row, column, ink = map(int, texts[0].split())
                values[i, SIDE * row + column], mask[i, SIDE * row + column] = ink / MOST, True
        return _among(self.net.logits(values, mask), [view.options for view in views])

    def knows(self, cases: Sequence[Case]) -> np.ndarray:
        """(cases, options): beliefs after the whole picture."""
        values = np.zeros((len(cases), CELLS), np.float32)
        for i, case in enumerate(cases):
            for piece in case.pieces:
                row, column, ink = map(int, piece.texts[0].split())
                values[i, SIDE * row + column] = ink / MOST
        return _among(self.net.logits(values, values > 0), [case.options for case in cases])


def _among(logits: np.ndarray, options: Sequence[tuple[str, ...]]) -> np.ndarray:
    wrong = [names for names in options if not all(name.isdigit() and len(name) == 1 for name in names)]
    if wrong:
        raise ValueError(f"options {wrong[0]} are no digits: seat another judge")
    chosen = np.array([[row[int(name)] for name in names] for row, names in zip(logits, options, strict=True)])
    raised = np.exp(chosen - chosen.max(axis=1, keepdims=True)) if len(chosen) else chosen
    out: np.ndarray = raised / raised.sum(axis=1, keepdims=True) if len(chosen) else raised
    return out
