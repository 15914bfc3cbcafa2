"""Performance gap recovered (Burns et al. 2023, 2312.09390, §3), with an interval, and a refusal when it is noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize
from scipy import stats as scipy_stats

from superalign.stats.interval import Array, Interval, StatsError, checked, cluster_codes, refused
from superalign.stats.mean import mean_interval


def _ratio(weak: Array, student: Array, ceiling: Array) -> Array:
    gap = ceiling - weak
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap > 0, (student - weak) / gap, np.nan)


def pgr(
    weak: Sequence[ArrayLike],
    student: Sequence[ArrayLike],
    ceiling: Sequence[ArrayLike],
    *,
    clusters: Sequence[Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """(student − weak) / (ceiling − weak) of mean correctness, with a hierarchical bootstrap interval.

    Each argument is one array of per-item correctness a seed. A draw resamples seeds and clusters, the same for weak,
    student and ceiling, so that the interval covers seeds, test sampling and the denominator. A cluster with the same
    label in several seeds is one cluster: it is drawn for all of them or for none. Without `clusters` every item of
    every seed is its own.
    Refuses when the ceiling is not above the floor, or when the gap's own interval touches zero.

    >>> pgr([[0, 0, 1, 0] * 50], [[1, 0, 1, 0] * 50], [[1, 1, 1, 0] * 50]).value
    0.5
    """
    if not (len(weak) == len(student) == len(ceiling)) or not weak:
        raise StatsError(f"{len(weak)}, {len(student)}, {len(ceiling)} seeds: pass the same seeds for all three")
    sums, sizes = _by_cluster(weak, student, ceiling, clusters)
    n, groups = int(sizes.sum() / len(sizes)), int((sizes > 0).sum(1).min())
    means = sums.sum(1) / sizes.sum(1)[:, None]
    point = means.mean(0)
    if point[2] <= point[0]:
        why = f"the ceiling ({point[2]:.3f}) is not above the weak floor ({point[0]:.3f}): there is no gap to recover"
        return refused(why, n=n, clusters=groups, method="hierarchical bootstrap", level=level)
    rng = np.random.default_rng(seed)
    mixed = _resampled(sums, sizes, rng, draws)
    tail = (1 - level) / 2
    gap = np.quantile(mixed[:, 2] - mixed[:, 0], [tail, 1 - tail])
    if gap[0] <= 0:
        why = f"the gap between floor and ceiling is noise: its interval [{gap[0]:.3f}, {gap[1]:.3f}] holds zero"
        return refused(why, n=n, clusters=groups, method="hierarchical bootstrap", level=level)
    ratios = _ratio(mixed[:, 0], mixed[:, 1], mixed[:, 2])
    low, high = np.quantile(ratios[np.isfinite(ratios)], [tail, 1 - tail])
    value = float((point[1] - point[0]) / (point[2] - point[0]))
    return Interval(
        value=value,
        low=float(low),
        high=float(high),
        level=level,
        n=n,
        clusters=groups,
        method="hierarchical bootstrap",
    )


def _by_cluster(
    weak: Sequence[ArrayLike],
    student: Sequence[ArrayLike],
    ceiling: Sequence[ArrayLike],
    clusters: Sequence[Any] | None,
) -> tuple[Array, Array]:
    """Sums (seeds, clusters, 3) and sizes (seeds, clusters), over the clusters of all seeds together."""
    for i, lengths in enumerate(zip(map(len, weak), map(len, student), map(len, ceiling), strict=True)):  # type: ignore[arg-type]
        if len(set(lengths)) > 1:
            raise StatsError(f"seed {i} has {lengths} values: weak, student and ceiling need the same items")
    sides = [
        np.stack([checked(side[i], f"values of seed {i}") for side in (weak, student, ceiling)])
        for i in range(len(weak))
    ]
    labels = [
        np.asarray([f"{i}/{j}" for j in range(three.shape[1])] if clusters is None else clusters[i])
        for i, three in enumerate(sides)
    ]
    for three, names in zip(sides, labels, strict=True):
        cluster_codes(names, three.shape[1])
    codes, groups = cluster_codes(np.concatenate(labels), sum(map(len, labels)))
    parts = np.split(codes, np.cumsum([len(names) for names in labels])[:-1])
    sums = [
        np.stack([np.bincount(part, weights=row, minlength=groups) for row in three], axis=1)
        for three, part in zip(sides, parts, strict=True)
    ]
    return np.stack(sums), np.stack([np.bincount(part, minlength=groups) for part in parts]).astype(np.float64)


def _resampled(sums: Array, sizes: Array, rng: np.random.Generator, draws: int) -> Array:
    """(draws, 3) means over resampled seeds and clusters; a cluster drawn twice counts twice in every seed."""
    seeds, groups = sizes.shape
    weight = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws).astype(np.float64)
    out = np.empty((draws, 3))
    for at in range(0, draws, 200):
        counts = rng.multinomial(groups, np.full(groups, 1 / groups), size=len(out[at : at + 200])).astype(np.float64)
        bottom = np.maximum(counts @ sizes.T, 1e-9)
        means = np.stack([counts @ sums[:, :, side].T / bottom for side in range(3)], axis=2)
        out[at : at + 200] = (weight[at : at + 200, :, None] * means).sum(1) / seeds
    return out


def pgr_fieller(
    weak: ArrayLike, student: ArrayLike, ceiling: ArrayLike, *, clusters: Any = None, level: float = 0.95
) -> Interval:
    """PGR of one seed with Fieller's closed-form interval (Fieller 1954) on clustered means.

    Refuses when the denominator is not clearly above zero (Fieller's g ≥ 1).
    """
    w, s, c = checked(weak), checked(student), checked(ceiling)
    top, bottom = s - w, c - w
    codes, groups = cluster_codes(clusters, len(w))
    if groups < 2 or bottom.mean() <= 0:
        return refused("no gap to recover, or one cluster", n=len(w), clusters=groups, method="Fieller", level=level)
    value = float(top.mean() / bottom.mean())
    t = float(scipy_stats.t.ppf(0.5 + level / 2, groups - 1))
    residual = np.stack([np.bincount(codes, weights=x - x.mean(), minlength=groups) for x in (top, bottom)]) / len(w)
    cov = residual @ residual.T * groups / (groups - 1)
    g = t**2 * cov[1, 1] / bottom.mean() ** 2
    if g >= 1:
        return refused("the gap is noise (Fieller's g ≥ 1)", n=len(w), clusters=groups, method="Fieller", level=level)
    inner = cov[0, 0] - 2 * value * cov[0, 1] + value**2 * cov[1, 1] - g * (cov[0, 0] - cov[0, 1] ** 2 / cov[1, 1])
    half = t / bottom.mean() * np.sqrt(max(inner, 0.0))
    centre = value - g * cov[0, 1] / cov[1, 1]
    return Interval(
        value=value,
        low=float((centre - half) / (1 - g)),
        high=float((centre + half) / (1 - g)),
        level=level,
        n=len(w),
        clusters=groups,
        method="Fieller",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PGR:
    """Performance gap recovered, and all it rests on; `value.value` None is a refusal, and its note says why."""

    weak: Interval
    student: Interval
    ceiling: Interval
    value: Interval
    """By hierarchical bootstrap over seeds and clusters."""
    fieller: Interval
    """The closed form on clustered means over the seeds' average: a check on the bootstrap, blind to seed noise."""
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

    Fieller's form needs the same items in every seed; where they differ it is refused, and says so.

    >>> recovered([[0, 0, 1, 0] * 50], [[1, 0, 1, 0] * 50], [[1, 1, 1, 0] * 50]).value.value
    0.5
    """
    value = pgr(weak, student, ceiling, clusters=clusters, level=level, seed=seed, draws=draws)
    sides = [[checked(one, "values") for one in side] for side in (weak, student, ceiling)]
    labels = None if clusters is None else [np.asarray(c) for c in clusters]
    lengths = {len(one) for side in sides for one in side}
    alike = len(lengths) == 1 and (labels is None or all(np.array_equal(labels[0], c) for c in labels))
    if alike:
        means = [np.mean(side, axis=0) for side in sides]
        first = None if labels is None else labels[0]
        closed = pgr_fieller(*means, clusters=first, level=level)
        parts = [mean_interval(mean, clusters=first, level=level) for mean in means]
    else:
        why = "the seeds hold different items: Fieller's form averages them item by item"
        closed = refused(why, n=value.n, clusters=value.clusters, method="Fieller", level=level)
        joined = None if labels is None else np.concatenate(labels)
        parts = [mean_interval(np.concatenate(side), clusters=joined, level=level) for side in sides]
    return PGR(weak=parts[0], student=parts[1], ceiling=parts[2], value=value, fieller=closed, seeds=len(weak))


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
    for the curve at once. Refuses outside the curve's range, and with fewer than two points.

    >>> right = lambda k, n=40: [1] * k + [0] * (n - k)
    >>> ground_truth_equivalent(right(25), [(100, right(20)), (400, right(30))], draws=50).value
    200.0
    """
    values = checked(student, "student")
    counts = [k for k, _ in curve]
    if len(curve) < 2 or sorted(set(counts)) != counts or counts[0] < 1:
        raise StatsError(f"label counts {counts}: give two or more, rising, from 1")
    table = np.stack([values, *(checked(c, f"curve at {k}") for k, c in curve)])
    codes, groups = cluster_codes(clusters, len(values))
    name = "labels read off the curve, cluster bootstrap"
    if groups < 2:
        return refused(
            f"{groups} clusters: an interval needs two", n=len(values), clusters=groups, method=name, level=level
        )
    logs = np.log(np.array(counts, dtype=np.float64))
    value = _read_off(table.mean(1), logs)
    if value is None:
        means = table.mean(1)
        why = f"the student's {means[0]:.3f} lies outside the curve, {means[1]:.3f} to {means[-1]:.3f}: extend it"
        return refused(why, n=len(values), clusters=groups, method=name, level=level)
    sums = np.stack([np.bincount(codes, weights=row, minlength=groups) for row in table])
    sizes = np.bincount(codes, minlength=groups).astype(np.float64)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float64)
    means = (times @ sums.T) / np.maximum(times @ sizes, 1e-9)[:, None]
    found = [_read_off(row, logs) for row in means]
    ends = np.array(
        [
            v if v is not None else (np.inf if row[0] > row[1:].max() else 0.0)
            for v, row in zip(found, means, strict=True)
        ]
    )
    low, high = np.quantile(ends, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    note = "" if np.isfinite(high) and low > 0 else "an end lies outside the curve: it is open"
    return Interval(
        value=round(value, 6),
        low=float(low) if low > 0 else None,
        high=float(high) if np.isfinite(high) else None,
        level=level,
        n=len(values),
        clusters=groups,
        method=name,
        note=note,
    )


def _drawn(means: Array, logs: Array) -> float:
    """Labels that a draw reads off: none where it lies under the curve, infinitely many above it."""
    found = _read_off(means, logs)
    return found if found is not None else np.inf if means[0] > means[1:].max() else 0.0


def _read_off(means: Array, logs: Array) -> float | None:
    """Labels at which the monotone curve means[1:] reaches means[0]; None outside."""
    rising = optimize.isotonic_regression(means[1:]).x
    if not rising[0] <= means[0] <= rising[-1] or rising[0] == rising[-1]:
        return None
    at = int(np.searchsorted(rising, means[0], side="left"))
    if at == 0:
        return float(np.exp(logs[0]))
    share = (means[0] - rising[at - 1]) / (rising[at] - rising[at - 1])
    return float(np.exp(logs[at - 1] + share * (logs[at] - logs[at - 1])))
