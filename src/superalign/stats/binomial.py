"""Exact intervals of a proportion (Clopper and Pearson 1934)."""

from __future__ import annotations

from scipy import stats as scipy_stats

from superalign.stats.interval import Interval, StatsError, refused


def binomial_interval(successes: int, n: int, *, level: float = 0.95, clusters: int | None = None) -> Interval:
    """Proportion with its Clopper–Pearson interval; refuses n = 0, raises StatsError when successes do not fit.

    `clusters` is only recorded: the interval treats all n as independent, and the note says so.

    >>> round(binomial_interval(8, 8).low, 3)
    0.631
    """
    if not 0 <= successes <= n:
        raise StatsError(f"{successes} successes of {n}: they must lie between 0 and n")
    groups = n if clusters is None else clusters
    if n == 0:
        return refused("0 trials: nothing was measured", n=0, clusters=groups, method="exact binomial", level=level)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(scipy_stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(scipy_stats.beta.ppf(1 - tail, successes + 1, n - successes))
    note = "" if groups == n else f"trials taken as independent; they come from {groups} clusters"
    return Interval(
        value=successes / n,
        low=low,
        high=high,
        level=level,
        n=n,
        clusters=groups,
        method="exact binomial",
        note=note,
    )
