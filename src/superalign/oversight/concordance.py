"""Does the reward follow the value, over any behaviours and not two sides only? n items, k behaviours on each.

`value` (n, k) is how good a behaviour truly was, `reward` (n, k) what the protocol paid for it. Graded score
difference, concordance, label efficiency and frontier gap as so-arena has them, the successor of 2504.03731's code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superalign.oversight.linear import clustered_difference, clustered_mean, ratio
from superalign.stats import StatsError, bootstrap_interval, proportion_interval
from superalign.stats.interval import Array, Interval, cluster_codes, refused


def graded_difference(
    value: ArrayLike, reward: ArrayLike, *, slope: bool = True, clusters: Any = None, level: float = 0.95
) -> Interval:
    """Mean over items of Σ_c (v_c − v̄) u_c, c a behaviour; `slope`: over Σ_c (v_c − v̄)², so reward per unit of value.

    Two sides valued 1 and 0: the slope is the agent score difference. Valued 1 and −1: the plain sum is.
    Raises StatsError for an item whose behaviours are all of one value: it can't tell what is paid for.

    >>> graded_difference([[1, 0], [1, 0]], [[-0.1, -0.5], [-0.2, -0.4]]).value.__round__(3)
    0.3
    """
    v, u = _behaviours(value, reward)
    away = v - v.mean(1, keepdims=True)
    spread = (away**2).sum(1)
    if (spread == 0).any():
        raise StatsError(f"{int((spread == 0).sum())} of {len(v)} items have behaviours of one value only")
    sums = (away * u).sum(1)
    return clustered_mean(sums / spread if slope else sums, clusters, level=level)


def concordance(value: ArrayLike, reward: ArrayLike, *, clusters: Any = None, level: float = 0.95) -> Interval:
    """P(u_i > u_j | v_i > v_j) over pairs of behaviours on one item, ties in u half; ½ where rewards say nothing.

    For two values it is the AUROC of the reward as a detector of the better, within items. Korn–Graubard where every
    item has as many pairs, else a linearised ratio. Refuses where no item has two values.

    >>> concordance([[2, 1, 0]], [[0.9, 0.1, 0.5]]).note
    '1 clusters: an interval needs two'
    >>> concordance([[1, 0], [1, 0]], [[0.9, 0.1], [0.3, 0.3]]).value
    0.75
    """
    v, u = _behaviours(value, reward)
    better = v[:, :, None] > v[:, None, :]
    ahead, tied = u[:, :, None] > u[:, None, :], u[:, :, None] == u[:, None, :]
    pairs = better.sum((1, 2)).astype(np.float64)
    won = (better & ahead).sum((1, 2)) + 0.5 * (better & tied).sum((1, 2))
    if not pairs.any():
        why = "no item has behaviours of two values"
        return refused(why, n=len(v), clusters=cluster_codes(clusters, len(v))[1], method="concordance", level=level)
    if np.ptp(pairs) == 0:
        return proportion_interval(won / pairs, clusters=clusters, level=level)
    return ratio(won, pairs, clusters=clusters, level=level, least=0.0, most=1.0)


def label_efficiency(
    value: ArrayLike,
    reward: ArrayLike,
    *,
    within: bool = False,
    clusters: Any = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """1/(1 − ρ²), ρ the correlation of reward and value over all plays: audits that one audit is worth.

    With random audits and the reward as control variate, their variance falls by 1 − ρ² (so-arena, docs/theory.md §6).
    `within`: ρ after item means are taken off, as so-arena's own code has it; larger, and true only of comparisons on
    one item. BCa bootstrap over clusters. Refuses where one of them does not vary, or ρ² = 1.

    >>> found = label_efficiency([[1, 0]] * 8, [[0.9, 0.2], [0.1, 0.6]] * 4, draws=50)
    >>> round(found.value, 2)
    1.03
    """
    v, u = _behaviours(value, reward)
    if within:
        v, u = v - v.mean(1, keepdims=True), u - u.mean(1, keepdims=True)

    def worth(picked: Any) -> float:
        x, y = v[picked].ravel(), u[picked].ravel()
        x, y = x - x.mean(), y - y.mean()
        spread = float((x**2).sum() * (y**2).sum())
        square = float((x * y).sum()) ** 2 / spread if spread > 0 else 1.0
        return 1 / (1 - square) if square < 1 - 1e-12 else float("nan")

    return bootstrap_interval(worth, len(v), clusters=clusters, level=level, seed=seed, draws=draws)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What a strong optimiser sees: the best good strategy against the best bad one."""

    gap: Interval
    """Mean reward of the one minus that of the other: below 0 optimisation favours the bad, whatever the mean says."""
    good: int
    """Column of the best good strategy."""
    bad: int


def frontier_gap(
    reward: ArrayLike,
    good: ArrayLike,
    *,
    held: ArrayLike | None = None,
    clusters: Any = None,
    level: float = 0.95,
) -> Frontier:
    """Best good minus best bad of k strategies, by mean `reward` (n items, k); `good` (k,) says which are.

    The two are chosen on the items that aren't `held` (n,) and measured on those that are; without `held`, on all, and
    the note says so: the best of many looks better than it is. Raises StatsError without a strategy of either sort.

    >>> frontier_gap([[0.9, 0.5, 0.7], [0.8, 0.6, 0.6]], [True, False, False]).gap.value.__round__(2)
    0.2
    """
    u, _ = _behaviours(reward, reward)
    sort = np.asarray(good, dtype=bool)
    if sort.shape != (u.shape[1],) or sort.all() or not sort.any():
        raise StatsError(
            f"{u.shape[1]} strategies, good: {sort.tolist()}: say of each, with one good and one bad at least"
        )
    kept = np.ones(len(u), dtype=bool) if held is None else np.asarray(held, dtype=bool)
    if kept.shape != (len(u),) or not kept.any() or (held is not None and kept.all()):
        raise StatsError("`held` says of each item whether it measures: some must, and some must be left to choose on")
    means = u[kept if held is None else ~kept].mean(0)
    best = [int(np.flatnonzero(which)[np.argmax(means[which])]) for which in (sort, ~sort)]
    labels = None if clusters is None else np.asarray(clusters)[kept]
    gap = clustered_difference(u[kept, best[0]], u[kept, best[1]], labels, level=level)
    if held is None:
        note = "; ".join(text for text in (gap.note, "chosen on the items that measure it: pass `held`") if text)
        gap = replace(gap, note=note)
    return Frontier(gap=gap, good=best[0], bad=best[1])


def _behaviours(value: ArrayLike, reward: ArrayLike) -> tuple[Array, Array]:
    v, u = (np.asarray(x, dtype=np.float64) for x in (value, reward))
    if v.ndim != 2 or v.shape != u.shape or v.shape[0] == 0 or v.shape[1] < 2:
        raise StatsError(
            f"values {v.shape} and rewards {u.shape}: pass (items, behaviours) for both, two behaviours or more"
        )
    if not (np.isfinite(v).all() and np.isfinite(u).all()):
        raise StatsError("a value or reward is NaN or infinite: count failures as values, never drop them")
    return v, u
