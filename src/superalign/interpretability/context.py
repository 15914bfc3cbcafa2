"""Explanations by context: a bag of all tokens before, the nearer ones heavier, over what tables leave unexplained.

context(sample, over=trigram(sample))

The bag of token t is x_t = Σ_{k ≥ 1} decay^(k−1)·onehot(token_{t−k}); its weights are fitted by ridge regression for
all units of a site at once. Prediction never forms x: it runs a recurrence along the sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from superalign.interpretability.explanation import Explainer, Explanation, Sample, before, quoted, residuals
from superalign.interpretability.tables import VALUE_BITS

DECAY = 0.8
RIDGE = 100.0
MOST = 2048
"""Words that a bag holds, the most usual ones: the normal equations are as wide."""
FAR = 32
"""Steps back after which a token weighs less than a thousandth, and is left out of the normal equations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """Adds a decayed bag of the tokens before to another explainer."""

    name: str
    words: tuple[str, ...]
    over: Explainer | None
    base: np.ndarray
    """(units,)"""
    weights: np.ndarray
    """(words, units) float32"""
    usual: np.ndarray
    """(words,) how much of each word a bag of the sample held on average."""
    decay: float

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32"""
        rows, length = ids.shape
        found = np.zeros((rows, length, len(self.base)), dtype=np.float32)
        carried = np.zeros((rows, len(self.base)), dtype=np.float32)
        for place in range(1, length):
            carried = self.decay * carried + self.weights[ids[:, place - 1]]
            found[:, place] = carried
        found += self.base
        return found if self.over is None else found + self.over.predict(ids, lengths)

    def explanation(self, unit: int) -> Explanation:
        """The words before that raise and lower it most."""
        size = self.weights[:, unit] * np.sqrt(self.usual)
        order = np.argsort(-np.abs(size), kind="stable")[:4]
        parts = []
        for sign, verb in ((1, "fires"), (-1, "less")):
            words = [quoted(self.words[i]) for i in order if sign * size[i] > 0]
            if words:
                parts.append(f"{verb} when {', '.join(words)} stands within 5 tokens before")
        bits = int((self.usual > 0).sum()) * (float(np.log2(max(2, len(self.words)))) + VALUE_BITS) + VALUE_BITS
        text = "; ".join(parts) or "no word before it matters"
        if self.over is None:
            return Explanation(text=text, bits=bits)
        under = self.over.explanation(unit)
        return Explanation(text=f"{under.text}; {text}", bits=under.bits + bits)


def context(sample: Sample, *, over: Explainer | None = None, decay: float = DECAY, ridge: float = RIDGE) -> Context:
    """Fit the bag's weights, in `ridge` regression, to what `over` leaves. ValueError unless 0 ≤ decay < 1 ≤ ridge."""
    if not (0 <= decay < 1 <= ridge):
        raise ValueError(f"decay {decay} and ridge {ridge}: give 0 ≤ decay < 1 and ridge ≥ 1")
    sample.held_in()
    left = residuals(over, sample)
    mean = left.mean(0, dtype=np.float64)
    left -= mean.astype(np.float32)
    bag = bags(sample, decay)
    usual = np.asarray(bag.mean(0)).ravel()
    kept = np.sort(np.argsort(-usual, kind="stable")[: min(MOST, int((usual > 0).sum()))])
    bag, usual = bag[:, kept], np.where(np.isin(np.arange(len(usual)), kept), usual, 0)
    gram = np.asarray((bag.T @ bag).todense(), dtype=np.float64) - len(left) * np.outer(usual[kept], usual[kept])
    moments = np.asarray(bag.T @ left, dtype=np.float64)  # residuals are centred, so bags need not be
    weights = np.zeros((len(usual), left.shape[1]))
    weights[kept] = linalg.solve(gram + ridge * np.eye(len(gram)), moments, assume_a="pos")
    return Context(
        name="context" if over is None else f"{over.name}+context",
        words=sample.words,
        over=over,
        base=(mean - usual @ weights).astype(np.float32),
        weights=weights.astype(np.float32),
        usual=usual,
        decay=decay,
    )


def bags(sample: Sample, decay: float) -> sparse.csr_matrix:
    """(tokens, words) float32, sparse: the bag of each counted token."""
    rows, columns, values = [], [], []
    number = np.cumsum(sample.counted.ravel()) - 1
    for step in range(1, min(FAR, sample.ids.shape[1] - 1) + 1):
        token = before(sample.ids, step, nothing=-1)
        there = np.flatnonzero((sample.counted & (token >= 0)).ravel())
        rows.append(number[there])
        columns.append(token.ravel()[there])
        values.append(np.full(len(there), decay ** (step - 1), dtype=np.float32))
        if decay**step < 1e-3:
            break
    shape = (len(sample.values), len(sample.words))
    return sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
