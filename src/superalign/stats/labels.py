"""What weak supervision is worth in true labels: where its student meets the curve of students of true labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from superalign.stats.bootstrap import drawn_counts
from superalign.stats.interval import (
    Array,
    Interval,
    StatsError,
    checked,
    cluster_codes,
    cluster_sums,
    refused,
    same_length,
)


def ground_truth_equivalent(
    student: ArrayLike,
    curve: Sequence[tuple[int, ArrayLike]],
    *,
    clusters: Any = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """How many true labels the student's supervision is worth: where its accuracy meets the curve of true labels.

    `student` (n,) is its correctness on the test items; `curve` pairs a number of true labels with the correctness (n,)
    of the same student trained on so many. Between two points it is read off linearly in the logarithm of the labels,
    the curve made monotone first (pool adjacent violators). The interval draws the items' clusters, for the student and
    for the curve at once; it holds the noise of the test, not that of training again. An end beyond the curve is open.
    Refuses outside the curve's range and where the curve is flat; raises StatsError with fewer than two points.

    >>> right = lambda k, n=40: [1] * k + [0] * (n - k)
    >>> ground_truth_equivalent(right(25), [(100, right(20)), (400, right(30))], draws=50).value
    200.0
    """
    values = checked(student, "student")
    counts = [k for k, _ in curve]
    if len(curve) < 2 or sorted(set(counts)) != counts or counts[0] < 1:
        raise StatsError(f"label counts {counts}: give two or more, rising, from 1")
    points = [checked(right, f"curve at {k}") for k, right in curve]
    for k, right in zip(counts, points, strict=True):
        same_length(values, right, f"the student and the curve at {k} need the same items")
    codes, groups = cluster_codes(clusters, len(values))
    name = "labels read off the curve, cluster bootstrap"

    def no(why: str) -> Interval:
        return refused(why, n=len(values), clusters=groups, method=name, level=level)

    if groups < 2:
        return no(f"{groups} clusters: an interval needs two")
    table, logs = np.stack([values, *points]), np.log(np.array(counts, dtype=np.float64))
    means = table.mean(1)
    value = _read_off(means, logs)
    if not 0 < value < np.inf:
        return no(f"the student's {means[0]:.3f} lies outside the curve, {means[1]:.3f} to {means[-1]:.3f}: extend it")
    sums = np.stack([cluster_sums(row, codes, groups) for row in table])
    times = drawn_counts(groups, np.random.default_rng(seed), draws).astype(np.float64)
    drawn = (times @ sums.T) / (times @ np.bincount(codes))[:, None]
    tails = (1 - level) / 2, (1 + level) / 2
    low, high = np.quantile([_read_off(row, logs) for row in drawn], tails, method="inverted_cdf")
    return Interval(
        value=value,
        low=float(low) if low > 0 else None,
        high=float(high) if np.isfinite(high) else None,
        level=level,
        n=len(values),
        clusters=groups,
        method=name,
        note="" if np.isfinite(high) and low > 0 else "an end lies outside the curve: it is open",
    )


def _read_off(means: Array, logs: Array) -> float:
    """Labels at which the monotone curve means[1:] reaches means[0]; 0 below the curve, infinity above it."""
    rising = optimize.isotonic_regression(means[1:]).x
    if means[0] > rising[-1]:
        return np.inf
    if means[0] < rising[0] or rising[0] == rising[-1]:
        return 0.0
    at = int(np.searchsorted(rising, means[0], side="left"))
    share = 0.0 if at == 0 else (means[0] - rising[at - 1]) / (rising[at] - rising[at - 1])
    return round(float(np.exp(logs[max(at - 1, 0)] + share * (logs[at] - logs[max(at - 1, 0)]))), 6)
