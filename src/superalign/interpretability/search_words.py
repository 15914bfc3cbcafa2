"""Words as draws: is what a word does to a unit more than one more word would do?

    p = one_more_word(effect_of_trigger, effects_of_six_decoys, floor=noise)

Whoever takes words as given, and draws texts alone, asks of each unit which word it reads most. Some word it is, and
with texts enough that word is beyond chance larger than each of the others, with nothing planted at all.
"""

from __future__ import annotations

import numpy as np
from scipy import stats as scipy_stats

FEWEST_WORDS = 3
"""Decoys, to say what words do: with two, t has one degree of freedom."""


def one_more_word(effect: np.ndarray, others: np.ndarray, *, floor: np.ndarray) -> np.ndarray:
    """(...) two-sided p that `effect` (...) is one more draw of what `others` (words, ...) do, taken as normal.

    t = (x - mean) / (s·√(1 + 1/k)) with k - 1 degrees of freedom: a new observation against a sample of k (Hahn and
    Meeker 1991, Statistical Intervals, ch. 4). Texts count for nothing here, however many. s is at least `floor`, in
    units of activation; effects that are NaN, or do not differ where s and floor are 0, have 1.
    Raises ValueError for fewer than three words.

    >>> one_more_word(np.array([9.0, 2.0]), np.array([[1.0], [2.0], [3.0]]), floor=np.zeros(2)).round(2).tolist()
    [0.03, 1.0]
    """
    if len(others) < FEWEST_WORDS:
        raise ValueError(f"{len(others)} other words, under {FEWEST_WORDS}: bring more, six do")
    spread = np.maximum(others.std(0, ddof=1), floor) * np.sqrt(1 + 1 / len(others))
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(effect - others.mean(0)) / spread
    p: np.ndarray = np.where(np.isnan(t), 1.0, 2 * scipy_stats.t.sf(t, len(others) - 1))
    return p
