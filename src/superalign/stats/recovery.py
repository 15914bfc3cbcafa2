"""PGR as an object: what was recovered, with the three accuracies that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.interval import Interval, refused
from superalign.stats.pgr import Sample, Spread, by_cluster, fieller, freedom, pgr, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class PGR:
    """Performance gap recovered, and all it rests on; `value.value` None is a refusal, and its note says why."""

    weak: Interval
    student: Interval
    ceiling: Interval
    value: Interval
    """By hierarchical bootstrap over seeds and clusters."""
    fieller: Interval
    """The closed form, over seeds and clusters too: it needs no draws, and with few seeds it is the safer one."""
    seeds: int

    @property
    def quotable(self) -> bool:
        """May it be quoted? Not where the gap itself is noise."""
        return self.value.value is not None


def recovered(
    weak: Sequence[ArrayLike],
    student: Sequence[ArrayLike],
    ceiling: Sequence[ArrayLike],
    *,
    clusters: Sequence[Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> PGR:
    """PGR as an object, from one array of per-item correctness a seed; clusters as in `pgr`.

    The three accuracies are means over seeds of means over items, their errors over seeds and clusters too.

    >>> recovered([[0, 0, 1, 0] * 50], [[1, 0, 1, 0] * 50], [[1, 1, 1, 0] * 50]).value.value
    0.5
    """
    sample = by_cluster(weak, student, ceiling, clusters)
    found = spread(sample)
    accuracies = [_accuracy(sample, found, side, level) for side in range(3)]
    return PGR(
        weak=accuracies[0],
        student=accuracies[1],
        ceiling=accuracies[2],
        value=pgr(weak, student, ceiling, clusters=clusters, level=level, seed=seed, draws=draws),
        fieller=fieller(sample, level),
        seeds=len(weak),
    )


def _accuracy(sample: Sample, found: Spread, side: int, level: float) -> Interval:
    """The mean of one side, with a t interval over clusters and seeds."""
    value, alone, name = float(sample.means[:, side].mean()), np.eye(3)[side], "t over seeds and clusters"
    if sample.sizes.shape[1] < 2:
        why = "1 clusters: an interval needs two"
        return refused(why, n=sample.n, clusters=sample.clusters, method=name, level=level)
    error = np.sqrt(found.by_cluster[side, side] + found.excess(alone))
    half = float(scipy_stats.t.ppf(0.5 + level / 2, freedom(found, alone, sample)) * error)
    return Interval(
        value=value,
        low=value - half,
        high=value + half,
        level=level,
        n=sample.n,
        clusters=sample.clusters,
        method=name,
    )
