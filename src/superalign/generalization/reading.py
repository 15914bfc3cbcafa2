"""What a model makes of questions: features for a head, and a belief without any training.

A question is a pair of texts (which one is right?) or one text (yes or no?). Of a pair a head sees the difference
first − second, so that swapping the two swaps its answer; of one text it sees the features, and learns an offset.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a reading was made of, for methods that change the network itself."""

    model: LocalModel
    texts: tuple[tuple[str, ...], ...]
    """All first texts and, of pairs, all second ones, (n,) each, as the model is given them."""
    skip: int = 0
    """Tokens at the head of each text, its context, that do not count as features."""

    def __len__(self) -> int:
        return len(self.texts[0])

    def take(self, rows: np.ndarray) -> Source:
        """The same for some of the questions."""
        return replace(self, texts=tuple(tuple(side[row] for row in rows.tolist()) for side in self.texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """n questions as one model reads them."""

    first: np.ndarray
    """(n, features) float32, of the first text, or of the only one."""
    second: np.ndarray | None
    """(n, features) of the second text; None for questions about one text."""
    belief: np.ndarray
    """(n,) zero-shot P(yes): that the first text is the right one, or that the answer is yes."""
    source: Source | None = None
    """The network and the texts, where methods may change the one by the others."""

    def __post_init__(self) -> None:
        if self.source is None:
            return
        if {len(side) for side in self.source.texts} != {len(self)}:
            raise ValueError(f"{len(self)} questions and {len(self.source)} texts a side: bring one of each a question")
        if len(self.source.texts) != 1 + self.paired:
            raise ValueError(f"{len(self.source.texts)} texts a question, and features of {1 + self.paired}")

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
        source = None if self.source is None else self.source.take(np.arange(len(self))[rows])
        return replace(self, first=self.first[rows], second=second, belief=self.belief[rows], source=source)


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
