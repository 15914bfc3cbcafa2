"""A classifier over word n-grams of the completion, fitted on executed labels: logistic regression, or boosted trees.

    monitor = fit_ngram(steps, labels)                      # labels: did it act, by what ran
    monitor = fit_ngram(steps, labels, trees=True)

1- to 3-grams are hashed to `bits` places by BLAKE2b, which is the same in every process (Python's `hash` is salted).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.adversarial.monitors.types import Step, Suspicion

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BITS, LONGEST = 4_096, 3
VERSION = 1


@lru_cache(maxsize=200_000)
def place(gram: str, bits: int) -> int:
    """Where an n-gram is counted.

    >>> place("return sum", 4096)
    2942
    """
    return int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "big") % bits


def grams(completion: str) -> list[tuple[str, int, int]]:
    """Every 1- to 3-gram with its first word and one past its last; the ends are words of their own."""
    words = ["<begin>", *completion.split(), "<end>"]
    every = ((i, i + n) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))
    return [(" ".join(words[i:j]), i - 1, j - 1) for i, j in every]


def presence(completions: Sequence[str], bits: int = BITS) -> csr_matrix:
    """(completions, bits): which n-grams each holds, as ones."""
    from scipy.sparse import csr_matrix

    rows = [sorted({place(gram, bits) for gram, _, _ in grams(text)}) for text in completions]
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.array([column for row in rows for column in row], dtype=np.int32)
    return csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(rows), bits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A fitted logistic regression."""

    weight: np.ndarray
    """(bits,)."""
    offset: float
    name: str = "n-gram"

    @property
    def family(self) -> str:
        """Kind of monitor."""
        return "ngram"

    @property
    def digest(self) -> str:
        """Over the weights."""
        told = self.weight.astype("<f8").tobytes() + np.float64(self.offset).tobytes()
        return hashlib.sha256(f"ngram {VERSION} linear ".encode() + told).hexdigest()

    def score(self, steps: Sequence[Step]) -> list[Suspicion]:
        """Log-odds, and the n-gram that adds most to them."""
        began, bits = time.process_time(), len(self.weight)
        logits = presence([step.completion for step in steps], bits) @ self.weight + self.offset
        out = []
        for step, logit in zip(steps, logits, strict=True):
            gram, first, last = max(grams(step.completion), key=lambda each: self.weight[place(each[0], bits)])
            gain, words = self.weight[place(gram, bits)], len(step.completion.split())
            span = (max(first, 0), min(last, words))
            spans = (span,) if gain > 0 and span[0] < span[1] else ()
            out.append((float(logit), spans, f"{gram!r} adds {gain:.2f}"))
        cost = 1000 * (time.process_time() - began) / max(1, len(steps))
        return [Suspicion(score=s, spans=at, evidence=why, cost_ms=cost) for s, at, why in out]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trees:
    """Fitted boosted trees."""

    model: Any
    """A fitted `GradientBoostingClassifier`."""
    bits: int
    name: str = "n-gram trees"

    @property
    def family(self) -> str:
        """Kind of monitor."""
        return "ngram"

    @property
    def digest(self) -> str:
        """Over every node of every tree, and where the sum begins."""
        told = hashlib.sha256(f"ngram {VERSION} trees {self.bits} {self.model.learning_rate}".encode())
        told.update(np.asarray(self.model.init_.class_prior_, dtype="<f8").tobytes())
        for tree in (one.tree_ for one in self.model.estimators_[:, 0]):
            for part in (tree.feature, tree.threshold, tree.children_left, tree.children_right, tree.value):
                told.update(np.ascontiguousarray(part).astype("<f8").tobytes())
        return told.hexdigest()

    def score(self, steps: Sequence[Step]) -> list[Suspicion]:
        """Log-odds of each; trees of many n-grams point at no words."""
        if not steps:
            return []
        began = time.process_time()
        logits = self.model.decision_function(presence([step.completion for step in steps], self.bits))
        cost = 1000 * (time.process_time() - began) / len(steps)
        return [Suspicion(score=float(logit), cost_ms=cost) for logit in logits]


def fit_ngram(
    steps: Sequence[Step],
    labels: Sequence[bool],
    *,
    trees: bool = False,
    bits: int = BITS,
    strength: float = 1.0,
    seed: int = 0,
    name: str | None = None,
) -> Linear | Trees:
    """Fit to steps and whether each acted; `strength` is scikit-learn's C, `seed` is for trees.

    Raises ValueError where only one class is there, or labels and steps differ in number.
    """
    target = np.asarray(labels, dtype=bool)
    if len(target) != len(steps):
        raise ValueError(f"{len(steps)} steps and {len(target)} labels: give one label a step")
    if target.all() or not target.any():
        raise ValueError(f"{int(target.sum())} of {len(target)} steps acted: a classifier needs both classes")
    seen = presence([step.completion for step in steps], bits)
    if trees:
        from sklearn.ensemble import GradientBoostingClassifier

        grown = GradientBoostingClassifier(n_estimators=80, max_depth=3, max_features="sqrt", random_state=seed)
        return Trees(model=grown.fit(seen, target), bits=bits, name=name or "n-gram trees")
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, max_iter=1_000).fit(seen, target)
    return Linear(weight=fitted.coef_[0], offset=float(fitted.intercept_[0]), name=name or "n-gram")
