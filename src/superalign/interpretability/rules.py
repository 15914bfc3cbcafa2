"""Explanations by a few rules, chosen greedily for all units of a site at once.

    found = rules(sample)                             # of all kinds: the bank's parts
    rules(sample, parts=("simple",))                  # regex classes, places, brackets, repeats
    rules(sample, parts=("words", "skips", "counts")) # skip-grams, absence, counting

Orthogonal matching pursuit (Pati et al. 1993) in the space of the rules' covariances: no pass over tokens after the
first. A rule with a negative weight is one of absence. Rules stop where the next one explains too little of the
variance for its bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from superalign.interpretability.bank import PARTS, Bank, bank_of
from superalign.interpretability.conditions import Rule, merged
from superalign.interpretability.explanation import Explanation, Sample
from superalign.interpretability.tables import VALUE_BITS

MOST = 6
"""Rules of one unit."""
LEAST = 0.01
"""Share of a unit's variance that a rule has to explain."""
TOKENS = 40_000
"""Of the sample that rules are chosen on."""
RIDGE = 1e-3
"""Of each rule's own variance: rules that always hold together are told by the first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rules:
    """A unit is its base plus the weights of the rules that hold."""

    name: str
    bank: Bank
    base: np.ndarray
    """(units,)"""
    chosen: np.ndarray
    """(units, most) columns of the bank, in the order in which they were chosen; −1 for none."""
    weights: np.ndarray
    """(units, most)"""

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32"""
        used = np.unique(self.chosen[self.chosen >= 0])
        held = self.bank.matrix(ids, lengths)[:, used]
        found = held @ self.spread()[used] + self.base
        shaped: np.ndarray = found.reshape(*ids.shape, -1).astype(np.float32)
        return shaped

    def spread(self) -> np.ndarray:
        """(rules, units) float32: the weight of each rule of the bank."""
        table = np.zeros((len(self.bank.rules), len(self.base)), dtype=np.float32)
        unit, at = np.nonzero(self.chosen >= 0)
        np.add.at(table, (self.chosen[unit, at], unit), self.weights[unit, at])
        return table

    def told(self, unit: int) -> tuple[tuple[Rule, float], ...]:
        """Of one unit: rules and weights, in the order in which they were chosen."""
        pairs = zip(self.chosen[unit].tolist(), self.weights[unit].tolist(), strict=True)
        return tuple((self.bank.rules[rule], weight) for rule, weight in pairs if rule >= 0)

    def explanation(self, unit: int) -> Explanation:
        """In the language that `compiled` reads."""
        told = self.told(unit)
        bits = len(told) * (float(self.bank.bits()[0]) + VALUE_BITS) + VALUE_BITS
        return Explanation(text=merged(told, self.bank.lexicon) or "does the same everywhere", bits=bits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Of the rules of a bank, and units, over a sample: all that choosing needs."""

    tokens: int
    means: np.ndarray
    """(rules,)"""
    cov: np.ndarray
    """(rules, rules) float64 covariances."""
    base: np.ndarray
    """(units,) means."""
    cross: np.ndarray
    """(rules, units) covariances of rule and unit."""
    variance: np.ndarray
    """(units,)"""


def rules(
    sample: Sample,
    *,
    parts: Sequence[str] = PARTS,
    bank: Bank | None = None,
    most: int = MOST,
    least: float = LEAST,
    tokens: int = TOKENS,
    name: str = "rules",
) -> Rules:
    """Up to `most` rules a unit, each of which explains `least` of its variance, from about `tokens` of a sample.

    A bank made before saves making one. Raises ValueError for sequences that aren't held in, and parts there aren't.
    """
    some = sample.held_in().first(tokens)
    bank = bank_of(some, parts=parts) if bank is None else bank
    return chosen_by(moments(bank, some), bank, most=most, least=least, name=name)


def moments(bank: Bank, sample: Sample, values: np.ndarray | None = None) -> Moments:
    """Of a bank's rules and a sample's activations, or `values` (tokens, units) in their place."""
    return moments_of(held_on(bank, sample), sample.values if values is None else values)


def held_on(bank: Bank, sample: Sample) -> sparse.csr_matrix:
    """(tokens, rules) which rules hold on a sample's counted tokens."""
    return bank.matrix(sample.ids, sample.lengths)[np.flatnonzero(sample.counted.ravel())]


def moments_of(held: sparse.csr_matrix, real: np.ndarray) -> Moments:
    """Of rules (tokens, rules) and units (tokens, units)."""
    n = len(real)
    means, base = np.asarray(held.sum(0, dtype=np.float64)).ravel() / n, real.mean(0, dtype=np.float64)
    cov = _square(held) / n - np.outer(means, means)
    cross = np.asarray(held.T @ real, dtype=np.float64) / n - np.outer(means, base)
    return Moments(tokens=n, means=means, cov=cov, base=base, cross=cross, variance=real.var(0, dtype=np.float64))


def _square(held: sparse.csr_matrix) -> np.ndarray:
    found: np.ndarray = np.asarray((held.T @ held).todense(), dtype=np.float64)
    return found


def chosen_by(found: Moments, bank: Bank, *, most: int, least: float, name: str) -> Rules:
    """Pursue: the rule that goes best with what is left, then all weights anew, unit by unit but all at once."""
    units = len(found.base)
    scale = np.sqrt(np.maximum(np.diag(found.cov), 0))
    usable = scale > np.sqrt(0.5 / max(1, found.tokens))
    chosen = np.full((units, most), -1)
    weights = np.zeros((units, most))
    left, going = found.cross.copy(), np.isfinite(found.variance) & (found.variance > 1e-20)
    explained = np.zeros(units)
    for step in range(most):
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.where(usable[:, None], np.abs(left) / scale[:, None], 0)
        np.put_along_axis(score, np.maximum(chosen[:, :step], 0).T, 0, axis=0)
        best = np.argmax(np.nan_to_num(score), axis=0)
        trial, active = np.c_[chosen[:, :step], best], np.flatnonzero(going)
        if not len(active):
            break
        fitted, r2 = least_squares(found, active, trial[active])
        gained = r2 - explained[active] >= least
        kept = active[gained]
        chosen[kept, : step + 1], weights[kept, : step + 1] = trial[kept], fitted[gained]
        explained[kept] = r2[gained]
        going[active[~gained]] = False
        left[:, kept] = found.cross[:, kept] - _mixed(found.cov, trial[kept], fitted[gained])
    base = found.base - (np.where(chosen >= 0, weights * found.means[np.maximum(chosen, 0)], 0)).sum(1)
    return Rules(name=name, bank=bank, base=base.astype(np.float32), chosen=chosen, weights=weights.astype(np.float32))


def least_squares(found: Moments, units: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((active, terms) weights, (active,) share of variance explained), by least squares."""
    gram = found.cov[chosen[:, :, None], chosen[:, None, :]]
    terms = np.arange(chosen.shape[1])
    gram[:, terms, terms] *= 1 + RIDGE
    cross = found.cross[chosen, units[:, None]]
    weights: np.ndarray = np.linalg.solve(gram, cross[:, :, None])[:, :, 0]
    return weights, (weights * cross).sum(1) / found.variance[units]


def _mixed(cov: np.ndarray, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(rules, units) covariance of each rule with a weighted sum of each unit's rules."""
    found = np.zeros((len(cov), len(chosen)))
    for term in range(chosen.shape[1]):
        found += cov[:, chosen[:, term]] * weights[:, term]
    return found
