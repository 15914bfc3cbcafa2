"""An operating point chosen on other data: the rate of hits at a stated false-alarm rate, threshold and all refitted.

A threshold fitted once and then held fixed in a bootstrap hides its own noise. Here every draw takes the calibration
negatives anew, refits the threshold to them, and applies it to drawn positives and negatives of the test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superalign.stats.bootstrap import drawn_rows
from superalign.stats.interval import Array, Interval, StatsError, checked, checked_rate, cluster_codes, refused


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
    """The lowest threshold at which at most `fpr` of these negatives (n,) lie above it.

    >>> threshold_at([1, 2, 3, 4], fpr=0.25)
    3.0
    """
    scores = np.sort(checked(negatives, "negatives"))
    if len(scores) == 0:
        raise StatsError("a threshold needs negatives to be fitted on: there are none")
    allowed = int(np.floor(checked_rate(fpr, "fpr") * len(scores) + 1e-9))
    return float(scores[len(scores) - 1 - allowed])


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
    for NaN, an empty part, or fewer calibration negatives than 1/fpr (no threshold could be told from the maximum).

    >>> point = operating_point(range(100), [150, 50], [3, 99], fpr=0.05, draws=20)
    >>> point.threshold, point.tpr.value, point.fpr.value
    (94.0, 0.5, 0.5)
    """
    parts = [
        checked(x, n) for x, n in ((calibration, "calibration"), (positives, "positives"), (negatives, "negatives"))
    ]
    if min(map(len, parts)) == 0:
        raise StatsError("an operating point needs calibration negatives, positives and negatives: one part is empty")
    if len(parts[0]) * checked_rate(fpr, "fpr") < 1:
        raise StatsError(
            f"{len(parts[0])} calibration negatives can't tell a rate of {fpr}: bring {int(np.ceil(1 / fpr))}"
        )
    coded = [cluster_codes(c, len(x)) for c, x in zip(clusters, parts, strict=True)]
    cut = threshold_at(parts[0], fpr=fpr)
    rates = [float((x > cut).mean()) for x in parts[1:]]
    rng, found = np.random.default_rng(seed), np.empty((draws, 2))
    for i in range(draws):
        drawn = [x[drawn_rows(codes, groups, rng)] for x, (codes, groups) in zip(parts, coded, strict=True)]
        again = threshold_at(drawn[0], fpr=fpr)
        found[i] = [(x > again).mean() for x in drawn[1:]]
    tails = (1 - level) / 2, (1 + level) / 2
    tpr, real = (
        _interval(rates[i], np.quantile(found[:, i], tails), len(parts[i + 1]), coded[0][1], coded[i + 1][1], level)
        for i in (0, 1)
    )
    return Operating(threshold=cut, tpr=tpr, fpr=real, asked=fpr)


def _interval(value: float, ends: Array, n: int, calibrated: int, groups: int, level: float) -> Interval:
    method = "cluster bootstrap, threshold refitted"
    if min(calibrated, groups) < 2:
        return refused("fewer than two clusters in a part", n=n, clusters=groups, method=method, level=level)
    return Interval(
        value=value, low=float(ends[0]), high=float(ends[1]), level=level, n=n, clusters=groups, method=method
    )
