"""Is one method better than another? Paired differences over seeds and clusters, corrected for how many were asked.

The pairs that count are named beforehand: `primary`, corrected by Holm. Others are exploratory, by Benjamini–Hochberg.
"Alike" is a result of its own: two one-sided tests against a margin (Schuirmann 1987), corrected in the same families.
Answers that differ nowhere have no spread to test by. They are alike as far as differences worth the margin would have
been seen: how likely at most is it that none was met, if they cluster no more than right answers do?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from superalign.generalization.graded import Mean, mean_over
from superalign.stats import StatsError, benjamini_hochberg, holm
from superalign.stats.interval import Interval
from superalign.stats.unseen import icc_at_most, none_met

FEW = 10
"""Where answers differ in fewer clusters, their spread alone does not make them alike."""
DOUBT = 0.001
"""The correlation within clusters is taken at its one-sided upper end of 1 − DOUBT, and DOUBT added to p."""


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
    """The larger p of two one-sided tests against the margin; where answers differ in few clusters, see `contrasts`."""
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

    Where answers differ nowhere, `p_same` is the largest chance that no item here differs though a share `margin` of
    all items does (`stats.unseen.none_met`). It assumes that differences cluster no more than right answers do, whose
    correlation within clusters is taken at its upper end (Berger and Boos 1994, JASA 89:1012: p over a confidence set,
    plus its doubt). If whole clusters differed, each would be one trial, (1 − margin)^G, and this p too small: so it is
    counted where right answers tell no correlation, and where clusters all differ by one number, whose p of no
    difference is that of G clusters on one side, 2^(1 − G). Nearly the same is no stronger evidence: where answers
    differ in under FEW clusters, `p_same` is at least that chance. Seeds are those given: one in which the two would
    part is not bounded.

    Raises StatsError for names that aren't there, pairs named twice, shapes that differ, fewer than two clusters, and a
    margin that isn't positive.

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
    if not margin > 0:
        raise StatsError(f"margin = {margin}: say by how much two may differ and still count as alike")
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
    apart = clusters[(a != b).any(0)]
    if found.error <= 1e-12:
        p = 1.0 if abs(value) < 1e-12 else float(2.0 ** (1 - groups))
        return found, p, _unseen(a, b, clusters, margin, whole=len(apart) > 0)
    p = float(2 * scipy_stats.t.sf(abs(value) / found.error, found.df))
    same = float(scipy_stats.t.sf((margin - abs(value)) / found.error, found.df))
    return found, p, max(same, _unseen(a, b, clusters, margin)) if len(np.unique(apart)) < FEW else same


def _unseen(a: np.ndarray, b: np.ndarray, clusters: np.ndarray, margin: float, *, whole: bool = False) -> float:
    """The chance, at most, that differences which would move the mean to the margin were met nowhere.

    That takes a share (margin − |d|)/(1 + |d|) of all items that lie elsewhere, d the mean difference seen; `whole`:
    of all clusters.
    """
    away, sizes = abs(float((a - b).mean())), np.unique(clusters, return_counts=True)[1]
    share = min(1.0, max(0.0, (margin - away) / (1 + away)))
    if whole:
        return none_met(sizes, share, 1.0)
    icc = max(icc_at_most(x.mean(0), clusters, level=1 - DOUBT) for x in (a, b))
    return min(1.0, none_met(sizes, share, icc) + DOUBT)


def _verdict(value: float, told: bool, alike: bool) -> str:
    if told:
        return "better" if value > 0 else "worse"
    return "equivalent" if alike else "not told"
