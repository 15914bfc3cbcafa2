"""Is one method better than another? Paired differences over seeds and clusters, corrected for how many were asked.

The pairs that count are named beforehand: `primary`, corrected by Holm. Others are exploratory, by Benjamini–Hochberg.
"Alike" is a result of its own: two one-sided tests against a margin (Schuirmann 1987), corrected in the same families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from superalign.generalization.graded import Mean, mean_over
from superalign.stats import StatsError, benjamini_hochberg, equivalence, holm
from superalign.stats.interval import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One student against another, on the same items and seeds."""

    method: str
    other: str
    family: str
    """`primary` or `exploratory`."""
    difference: Interval
    """Mean of method minus other; uncorrected."""
    p: float
    """Two-sided, of no difference; uncorrected."""
    corrected: float
    """That p, corrected in its family."""
    p_same: float
    """The larger p of two one-sided tests against the margin; 1 where nothing could be tested."""
    same: float
    """That p, corrected in its family."""
    margin: float
    verdict: str
    """`better` or `worse` by the corrected p; else `equivalent` by `same`; else `not told`."""


def contrasts(
    students: Mapping[str, np.ndarray],
    clusters: np.ndarray,
    primary: Sequence[tuple[str, str]],
    *,
    exploratory: Sequence[tuple[str, str]] = (),
    margin: float = 0.01,
    level: float = 0.95,
) -> tuple[Contrast, ...]:
    """Compare students by correctness (seeds, n) on items of `clusters` (n,), pairs (method, other) in order.

    Raises StatsError for names that aren't there, pairs named twice, shapes that differ, and fewer than two clusters.

    >>> right = {"a": np.array([[1.0, 1, 1, 0] * 30]), "b": np.array([[1.0, 0, 0, 0] * 30])}
    >>> (found,) = contrasts(right, np.arange(120), [("a", "b")])
    >>> found.difference.value, found.verdict
    (0.5, 'better')
    """
    pairs = [*primary, *exploratory]
    missing = sorted({name for pair in pairs for name in pair} - students.keys())
    if missing:
        raise StatsError(f"no answers of {', '.join(missing)}: there are those of {', '.join(students)}")
    if len({frozenset(pair) for pair in pairs}) < len(pairs) or any(a == b for a, b in pairs):
        raise StatsError("name each pair once, a method and another one")
    out: list[Contrast] = []
    for family, chosen, correct in (
        ("primary", primary, holm),
        ("exploratory", exploratory, benjamini_hochberg),
    ):
        found = [_compared(students[a], students[b], clusters, margin, level) for a, b in chosen]
        told = correct([p for _, p, _ in found]).tolist()
        alike = correct([same for _, _, same in found]).tolist()
        for (a, b), (mean, p, same), q, s in zip(chosen, found, told, alike, strict=True):
            out.append(
                Contrast(
                    method=a,
                    other=b,
                    family=family,
                    difference=mean.interval,
                    p=p,
                    corrected=q,
                    p_same=same,
                    same=s,
                    margin=margin,
                    verdict=_verdict(mean.interval.value or 0.0, q <= 1 - level, s <= 1 - level),
                )
            )
    return tuple(out)


def _compared(
    a: np.ndarray, b: np.ndarray, clusters: np.ndarray, margin: float, level: float
) -> tuple[Mean, float, float]:
    """The difference, p of none, and p of not being alike."""
    if a.shape != b.shape:
        raise StatsError(f"answers of shapes {a.shape} and {b.shape}: compare the same seeds and items")
    found = mean_over(a - b, clusters, level=level, least=-1.0, most=1.0)
    value, groups = found.interval.value, found.interval.clusters
    if value is None:
        raise StatsError(f"{groups} clusters: a contrast needs two, and says little under ten")
    if found.error <= 1e-12:  # no spread: G clusters all on one side, or, if alike, how many could differ unseen
        p = 1.0 if abs(value) < 1e-12 else float(2.0 ** (1 - groups))
        same = equivalence(a.mean(0), b.mean(0), margin=margin, clusters=clusters, alpha=1 - level).p
        return found, p, 1.0 if same is None else same
    p = float(2 * scipy_stats.t.sf(abs(value) / found.error, found.df))
    return found, p, float(scipy_stats.t.sf((margin - abs(value)) / found.error, found.df))


def _verdict(value: float, told: bool, alike: bool) -> str:
    if told:
        return "better" if value > 0 else "worse"
    return "equivalent" if alike else "not told"
