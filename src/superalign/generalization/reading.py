"""What a model makes of questions: features for a head, and a belief without any training.

A question is a pair of texts (which one is right?) or one text (yes or no?). Of a pair a head sees the difference
first − second, so that swapping the two swaps its answer; of one text it sees the features, and learns an offset.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """n questions as one model reads them."""

    first: np.ndarray
    """(n, features) float32, of the first text, or of the only one."""
    second: np.ndarray | None
    """(n, features) of the second text; None for questions about one text."""
    belief: np.ndarray
    """(n,) zero-shot P(yes): that the first text is the right one, or that the answer is yes."""

    @property
    def x(self) -> np.ndarray:
        """(n, features): what a head sees."""
        return self.first if self.second is None else self.first - self.second

    @property
    def paired(self) -> bool:
        """Are these pairs of texts?"""
        return self.second is not None

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: np.ndarray) -> Reading:
        """The same for some of the questions."""
        second = None if self.second is None else self.second[rows]
        return replace(self, first=self.first[rows], second=second, belief=self.belief[rows])


def log_odds(p: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, which are kept 1e-6 away from 0 and 1.

    >>> log_odds(np.array([0.5])).tolist()
    [0.0]
    """
    kept = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(kept / (1 - kept)))


def probability(logits: np.ndarray) -> np.ndarray:
    """σ(logits), without overflow.

    >>> probability(np.array([0.0, 1e9])).tolist()
    [0.5, 0.9999999999999065]
    """
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))


def zero_shot(gap: np.ndarray) -> np.ndarray:
    """P(yes) from any evidence for yes, (n,): σ of twice the evidence in standard deviations, clipped at ±8."""
    return probability(np.clip(2 * gap / (gap.std() + 1e-9), -8, 8))
