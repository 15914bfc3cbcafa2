"""What weak supervision is worth in true labels, over seeds and clusters (cf. `stats.ground_truth_equivalent`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import optimize
from scipy import stats as scipy_stats

from superalign.stats.bootstrap import drawn_counts
from superalign.stats.interval import Array, Interval, StatsError, cluster_codes, refused
from superalign.stats.pgr import Sample, freedom, spread

HOW = "labels read off the monotone curve, bootstrap over seeds and clusters"


def worth(
    student: np.ndarray,
    curve: Mapping[int, np.ndarray],
    clusters: np.ndarray,
    *,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """How many true labels the student's supervision is worth: where its accuracy meets the curve of true labels.

    `student` (seeds, n) and each `curve[k]` (seeds, n), the strong model fitted on k true labels, are correctness of
    the same seeds on the same items. The curve is made monotone (pool adjacent violators) and read off linearly in
    log k. A draw resamples clusters and seeds, the same for student and curve, the seeds only for what clusters do not
    explain. A student below the curve, or above it, is a result: the value is the curve's own end, that end is open,
    and the note begins with "< k" or "> k". Refuses where the curve is flat or with one cluster; raises StatsError for
    fewer than two numbers of labels, and where shapes differ.

    >>> right = lambda k, n=40: np.array([[1.0] * k + [0.0] * (n - k)] * 2)
    >>> worth(right(25), {100: right(20), 400: right(30)}, np.arange(40), draws=50).value
    200.0
    """
    counts = sorted(curve)
    if len(counts) < 2 or counts[0] < 1:
        raise StatsError(f"label counts {counts}: give two or more, from 1")
    table = [np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (student, *(curve[k] for k in counts))]
    if shapes := {x.shape for x in table} - {table[0].shape}:
        raise StatsError(f"the student has shape {table[0].shape} and the curve {shapes}: the same seeds and items")
    sample, logs = _sample(np.stack(table, axis=2), clusters), np.log(np.array(counts, dtype=np.float64))
    groups, point = sample.sizes.shape[1], sample.means.mean(0)

    def no(why: str) -> Interval:
        return refused(why, n=sample.n, clusters=groups, method=HOW, level=level)

    if groups < 2:
        return no("1 clusters: an interval needs two")
    rising = optimize.isotonic_regression(point[1:]).x
    if rising[0] == rising[-1]:
        return no(f"the curve is flat: {counts[0]} labels do as well as {counts[-1]}")
    drawn = _drawn(sample, _contrast(point[0], rising), level, np.random.default_rng(seed), draws)
    ends = np.quantile(read_off(drawn, logs), ((1 - level) / 2, (1 + level) / 2), method="inverted_cdf")
    return _said(float(read_off(point[None, :], logs)[0]), ends, counts, point, no("x"))


def _said(at: float, ends: Array, counts: list[int], point: Array, frame: Interval) -> Interval:
    """The result in the curve's range; an end outside it is open, and the note says so."""
    least, most = counts[0], counts[-1]
    low = float(ends[0]) if 0 < ends[0] < np.inf else None if ends[0] == 0 else float(most)
    high = float(ends[1]) if 0 < ends[1] < np.inf else None if ends[1] == np.inf else float(least)
    note = "" if low is not None and high is not None else "an end lies outside the curve: it is open"
    if at == 0:
        low, note = None, f"< {least}: below the strong model fitted on so many ({point[0]:.3f} and {point[1]:.3f})"
    elif at == np.inf:
        high, note = None, f"> {most}: above the strong model fitted on so many ({point[0]:.3f} and {point[-1]:.3f})"
    value = float(min(max(at, least), most))
    return Interval(
        value=value,
        low=low,
        high=high,
        level=frame.level,
        n=frame.n,
        clusters=frame.clusters,
        method=HOW,
        note=note,
    )


def read_off(means: Array, logs: Array) -> Array:
    """Labels at which each row's monotone curve means[:, 1:] reaches means[:, 0]: 0 below it, infinity above it.

    >>> read_off(np.array([[0.6, 0.5, 0.7], [0.4, 0.5, 0.7], [0.8, 0.5, 0.7]]), np.log([100.0, 400.0])).tolist()
    [200.0, 0.0, inf]
    """
    found: Array = np.empty(len(means))
    for i, row in enumerate(means):
        rising = optimize.isotonic_regression(row[1:]).x
        if row[0] < rising[0] or row[0] > rising[-1]:
            found[i] = 0.0 if row[0] < rising[0] else np.inf
            continue
        at = int(np.searchsorted(rising, row[0], side="left"))
        share = 0.0 if at == 0 else (row[0] - rising[at - 1]) / (rising[at] - rising[at - 1])
        found[i] = round(float(np.exp(logs[max(at - 1, 0)] + share * (logs[at] - logs[max(at - 1, 0)]))), 6)
    return found


def _sample(table: Array, clusters: np.ndarray) -> Sample:
    """Sums over clusters of (seeds, n, sides)."""
    codes, groups = cluster_codes(clusters, table.shape[1])
    one = np.zeros((table.shape[1], groups))
    one[np.arange(len(codes)), codes] = 1.0
    return Sample(np.einsum("snk,ng->sgk", table, one, optimize=True), np.tile(one.sum(0), (len(table), 1)))


def _contrast(value: float, rising: Array) -> Array:
    """Student minus the point of the curve that it meets: what the seeds' part of the spread is judged by."""
    at = int(np.clip(np.searchsorted(rising, value), 1, len(rising) - 1))
    gap = rising[at] - rising[at - 1]
    share = float(np.clip((value - rising[at - 1]) / gap, 0, 1)) if gap > 0 else 0.5
    contrast: Array = np.zeros(len(rising) + 1)
    contrast[0], contrast[at], contrast[at + 1] = 1.0, share - 1.0, -share
    return contrast


def _drawn(sample: Sample, contrast: Array, level: float, rng: np.random.Generator, draws: int) -> Array:
    """(draws, sides) means, as `stats.pgr` draws them."""
    seeds, groups = sample.sizes.shape
    counts = drawn_counts(groups, rng, draws).astype(np.float64)
    point, sizes = sample.means.mean(0), sample.sizes[0]
    again = counts @ sample.sums.mean(0) / np.maximum(counts @ sizes, 1e-9)[:, None]
    out = (again - point) * np.sqrt(groups / (groups - 1))
    df = float(groups - 1)
    if seeds > 1:
        found = spread(sample)
        own, excess = float(contrast @ found.by_seed @ contrast), found.excess(contrast)
        if own > 0 and excess > 0:
            weight = rng.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=draws) / (seeds - 1)
            out += np.sqrt(excess / own) * (weight @ sample.means - point)
            df = freedom(found, contrast, sample)
    wider = scipy_stats.t.ppf(0.5 + level / 2, df) / scipy_stats.norm.ppf(0.5 + level / 2)
    spreaded: Array = point + wider * out
    return spreaded
