"""Tests of hypotheses, and corrections for having made many: McNemar, Holm, Benjamini–Hochberg, equivalence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.interval import (
    Array,
    Interval,
    StatsError,
    checked,
    checked_binary,
    checked_rate,
    same_length,
)
from superalign.stats.mean import paired_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """Two yes-or-no answers to the same items: where they differ, and how surprising that is under no difference."""

    first_only: int
    """Items that only the first has right."""
    second_only: int
    p: float
    """Two-sided; 1 where they never differ."""
    method: str


def mcnemar(a: ArrayLike, b: ArrayLike, *, method: str = "mid-p") -> McNemar:
    """McNemar's test of two binary outcomes (n,) on the same items: `exact` binomial, or its `mid-p` variant.

    Mid-p counts the observed table half: closer to the nominal level (Fagerland, Lydersen and Laake 2013, BMC Med. Res.
    Methodol. 13:91). Items are taken as independent: with clusters use `paired_difference`. Raises StatsError for other
    values than 0 and 1, or other lengths.

    >>> mcnemar([1, 1, 1, 0, 1, 1], [0, 0, 1, 1, 0, 0], method="exact").p
    0.375
    """
    first, second = checked_binary(a, "first answers"), checked_binary(b, "second answers")
    same_length(first, second, "McNemar needs the same items on both sides")
    if method not in ("exact", "mid-p"):
        raise StatsError(f"there is no McNemar {method!r}: use 'exact' or 'mid-p'")
    ahead, behind = int(((first == 1) & (second == 0)).sum()), int(((first == 0) & (second == 1)).sum())
    n, less = ahead + behind, min(ahead, behind)
    p = min(1.0, 2 * float(scipy_stats.binom.cdf(less, n, 0.5))) if n else 1.0
    if method == "mid-p" and n:
        p = (
            1.0
            if ahead == behind
            else 2 * float(scipy_stats.binom.cdf(less, n, 0.5)) - float(scipy_stats.binom.pmf(less, n, 0.5))
        )
    return McNemar(first_only=ahead, second_only=behind, p=p, method=method)


def holm(p_values: ArrayLike) -> Array:
    """Adjusted p-values (m,) that keep the chance of any false rejection under the level (Holm 1979).

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = _p_values(p_values)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _back(np.minimum(raised, 1.0), order)


def benjamini_hochberg(p_values: ArrayLike) -> Array:
    """Adjusted p-values (m,) that keep the expected share of false rejections under the level (1995), if independent
    or positively dependent.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    p = _p_values(p_values)
    order = np.argsort(p, kind="stable")[::-1]
    lowered = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    return _back(np.minimum(lowered, 1.0), order)


def _p_values(p_values: ArrayLike) -> Array:
    p = checked(p_values, "p-values")
    if len(p) and (p.min() < 0 or p.max() > 1):
        raise StatsError(f"p-values from {p.min():g} to {p.max():g}: they lie in [0, 1]")
    return p


def _back(values: Array, order: Any) -> Array:
    out = np.empty_like(values)
    out[order] = values
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Is a difference shown to be too small to matter?"""

    shown: bool
    """True: the interval at 1 − 2α lies inside ±margin. False says *not shown*, never *different*."""
    p: float | None
    """The larger of the two one-sided p-values; None where nothing could be tested."""
    margin: float
    difference: Interval
    """At level 1 − 2α: its place inside the margin is the test."""

    @property
    def verdict(self) -> str:
        """In words: `equivalent` or `not shown`."""
        return "equivalent" if self.shown else "not shown"


def equivalence(a: ArrayLike, b: ArrayLike, *, margin: float, clusters: Any = None, alpha: float = 0.05) -> Equivalence:
    """Two one-sided tests (Schuirmann 1987) of the paired difference a − b (n,) against ±margin, clustered.

    Where every difference is the same there is no spread for a t test: values in [0, 1] are then tested by how many
    clusters could still differ unseen, and for others nothing is shown. Nor is it with fewer than two clusters.
    Raises StatsError for a margin that isn't positive.

    >>> equivalence([0.9, 1.0, 1.1, 1.0], [1.0, 1.0, 1.0, 1.0], margin=0.5).shown
    True
    """
    if not margin > 0:
        raise StatsError(f"margin = {margin}: say by how much two things may differ and still count as equal")
    found = paired_difference(a, b, clusters=clusters, level=1 - 2 * checked_rate(alpha, "alpha"))
    if found.value is None or found.low is None or found.high is None:
        return Equivalence(shown=False, p=None, margin=margin, difference=found)
    if found.high - found.low <= 1e-12 * max(1.0, abs(found.value)):
        p = _alike(checked(a), checked(b), found.value, found.clusters, margin)
        return Equivalence(shown=p is not None and p < alpha, p=p, margin=margin, difference=found)
    df = found.clusters - 1
    error = (found.high - found.low) / (2 * float(scipy_stats.t.ppf(1 - alpha, df)))
    p = float(scipy_stats.t.sf((margin - abs(found.value)) / error, df))
    return Equivalence(shown=p < alpha, p=p, margin=margin, difference=found)


def _alike(a: Array, b: Array, difference: float, clusters: int, margin: float) -> float | None:
    """p where all differences are the same number d, of values in [0, 1]; None for other values: nothing bounds them.

    To move the mean to the margin, a share (margin − |d|)/(1 + |d|) of the clusters must lie elsewhere: p is the chance
    that none of those seen does.
    """
    away = abs(difference)
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) > 1:
        return None
    return float((1 - min(1.0, max(0.0, (margin - away) / (1 + away)))) ** clusters)
