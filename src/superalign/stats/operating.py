"""An operating point chosen on other data: the rate of hits at a stated false-alarm rate, threshold and all refitted.

A threshold fitted once and then held fixed in a bootstrap hides its own noise. Here every draw takes the calibration
negatives anew, refits the threshold to them, and applies it to drawn positives and negatives of the test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superalign.stats.bootstrap import drawn_counts
from superalign.stats.interval import Array, Interval, StatsError, checked, checked_rate, cluster_codes, refused

Codes = NDArray[np.intp]
BLOCK = 100
"""Draws taken at once: their weights are (BLOCK, n)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """What a threshold that was fitted elsewhere does on the test."""

    threshold: float
    """A score above it is flagged."""
    tpr: Interval
    fpr: Interval
    """The false-alarm rate that really came of it."""
    asked: float
    """The false-alarm rate that the threshold was fitted for."""


def threshold_at(negatives: ArrayLike, *, fpr: float) -> float:
    """The lowest of these scores (n,) above which a *new* negative lies with a chance of at most `fpr`.

    It is the k-th highest, k = ⌊fpr · (n + 1)⌋: a new one is equally likely to fall into each of the n + 1 gaps (split
    conformal prediction, Vovk et al. 2005). The plain quantile of these negatives lets more through than it says.
    Raises StatsError when there are too few: under k = 1 every score is too low.

    >>> threshold_at([1, 2, 3, 4], fpr=0.4)
    3.0
    """
    scores = np.sort(checked(negatives, "negatives"))
    rank = int(_rank(checked_rate(fpr, "fpr"), len(scores)))
    if rank < 1:
        needed = int(np.ceil(1 / fpr - 1e-9)) - 1
        raise StatsError(f"{len(scores)} calibration negatives can't tell a rate of {fpr}: bring {needed}")
    return float(scores[-rank])


def _rank(fpr: float, n: Any) -> Any:
    return np.floor(fpr * (n + 1) + 1e-9)


def operating_point(
    calibration: ArrayLike,
    positives: ArrayLike,
    negatives: ArrayLike,
    *,
    fpr: float,
    clusters: tuple[Any, Any, Any] = (None, None, None),
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Operating:
    """Rates on test `positives` and `negatives` at the threshold that `calibration` negatives give for `fpr`.

    `clusters` are those of calibration, positives and negatives. Percentile intervals over draws of all three, the
    threshold refitted in each. Refuses an interval with fewer than two clusters in a part it needs; raises StatsError
    for NaN, an empty part, or fewer calibration negatives than 1/fpr − 1.

    >>> point = operating_point(range(100), [150, 50], [3, 99], fpr=0.05, draws=20)
    >>> point.threshold, point.tpr.value, point.fpr.value
    (95.0, 0.5, 0.5)
    """
    parts = [
        checked(x, n) for x, n in ((calibration, "calibration"), (positives, "positives"), (negatives, "negatives"))
    ]
    if min(map(len, parts)) == 0:
        raise StatsError("an operating point needs calibration negatives, positives and negatives: one part is empty")
    coded = [cluster_codes(c, len(x)) for c, x in zip(clusters, parts, strict=True)]
    cut = threshold_at(parts[0], fpr=fpr)
    rates = [float((x > cut).mean()) for x in parts[1:]]
    found = _draws(parts, coded, fpr, np.random.default_rng(seed), draws)
    tails = (1 - level) / 2, (1 + level) / 2
    tpr, real = (
        _interval(rates[i], np.quantile(found[:, i], tails), len(parts[i + 1]), coded[0][1], coded[i + 1][1], level)
        for i in (0, 1)
    )
    return Operating(threshold=cut, tpr=tpr, fpr=real, asked=fpr)


def _draws(
    parts: list[Array], coded: list[tuple[Codes, int]], fpr: float, rng: np.random.Generator, draws: int
) -> Array:
    """Rates of hits and of false alarms (draws, 2), each draw with clusters and a threshold of its own."""
    ordered = [np.argsort(x, kind="stable") for x in parts]
    found = np.empty((draws, 2))
    for at in range(0, draws, BLOCK):
        size = min(BLOCK, draws - at)
        heavy = [
            drawn_counts(groups, rng, size)[:, codes[order]]
            for order, (codes, groups) in zip(ordered, coded, strict=True)
        ]
        fallen = np.cumsum(heavy[0][:, ::-1], axis=1)  # drawn negatives at or above each score, from the highest down
        rank = np.maximum(_rank(fpr, fallen[:, -1:]), 1)
        cuts = parts[0][ordered[0]][::-1][(fallen >= rank).argmax(axis=1)]
        for side, (x, order, weight) in enumerate(zip(parts[1:], ordered[1:], heavy[1:], strict=True)):
            under = np.pad(np.cumsum(weight, axis=1), ((0, 0), (1, 0)))
            below = np.searchsorted(x[order], cuts, side="right")
            found[at : at + size, side] = 1 - under[np.arange(size), below] / under[:, -1]
    return found


def _interval(value: float, ends: Array, n: int, calibrated: int, groups: int, level: float) -> Interval:
    method = "cluster bootstrap, threshold refitted"
    if min(calibrated, groups) < 2:
        return refused("fewer than two clusters in a part", n=n, clusters=groups, method=method, level=level)
    return Interval(
        value=value, low=float(ends[0]), high=float(ends[1]), level=level, n=n, clusters=groups, method=method
    )
