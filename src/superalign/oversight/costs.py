"""What does oversight cost? Per correct judgement, per point gained, and what it reaches at an equal budget.

Costs are in whatever unit the caller chose, one a play: judge tokens, checks, adviser tokens, seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superalign.oversight.linear import clustered_difference, ratio
from superalign.stats import StatsError, bootstrap_interval, pgr_fieller
from superalign.stats.interval import Array, Interval, checked, cluster_codes, refused, same_length


def cost_per_correct(cost: ArrayLike, correct: ArrayLike, *, clusters: Any = None, level: float = 0.95) -> Interval:
    """Σ cost / Σ correct over plays (n,), clustered; refused, with a note, where nothing is correct: no finite cost.

    >>> cost_per_correct([10.0, 30.0], [1, 1]).value, cost_per_correct([10.0, 30.0], [0, 0]).note
    (20.0, 'nothing is correct: no finite cost')
    """
    spent, right = _plays(cost, correct)
    if right.sum() == 0:
        groups = cluster_codes(clusters, len(right))[1]
        why = "nothing is correct: no finite cost"
        return refused(why, n=len(right), clusters=groups, method="linearised", level=level)
    return ratio(spent, right, clusters=clusters, level=level, least=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What a protocol costs and gains against another, on the same plays."""

    cost: Interval
    """Mean difference in cost."""
    gain: Interval
    """Mean difference in accuracy."""
    ratio: Interval
    """Cost per unit of accuracy gained (ICER); refused where the gain is noise, or none: it has no meaning there."""


def icer(
    cost: ArrayLike,
    correct: ArrayLike,
    control_cost: ArrayLike,
    control_correct: ArrayLike,
    *,
    clusters: Any = None,
    level: float = 0.95,
) -> Exchange:
    """Incremental cost-effectiveness ratio (c_P − c₀)/(acc_P − acc₀), paired by play (n,), with Fieller's interval.

    A negative ratio beside a positive gain: better and cheaper.

    >>> found = icer([3.0] * 8, [1] * 8, [1.0] * 8, [0, 1] * 4)
    >>> found.gain.value, found.ratio.value
    (0.5, 4.0)
    """
    (spent, right), (spent0, right0) = _plays(cost, correct), _plays(control_cost, control_correct)
    same_length(right, right0, "both sides need the same plays")
    more, better = spent - spent0, right - right0
    return Exchange(
        cost=clustered_difference(spent, spent0, clusters, level=level),
        gain=clustered_difference(right, right0, clusters, level=level),
        # a ratio of two means of differences, in the words of the gap recovered: floor 0
        ratio=pgr_fieller(np.zeros(len(more)), more, better, clusters=clusters, level=level),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The best accuracy at one mean budget, and how it is reached."""

    budget: float
    accuracy: Interval
    caps: tuple[float, float]
    """Each play is stopped at the first of these costs, or, with chance `share`, at the second."""
    share: float


def iso_budget(
    cost: ArrayLike,
    correct: ArrayLike,
    budgets: Sequence[float],
    *,
    unaided_correct: ArrayLike,
    unaided_cost: ArrayLike = 0.0,
    clusters: Any = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 500,
) -> tuple[Reach, ...]:
    """Accuracy that a protocol reaches at each mean cost a play, by stopping plays and by mixing.

    A play may be stopped at a cap: if it costs no more it counts as played; if it costs more, the cap is spent, and the
    judge falls back on its unaided belief, whose cost comes on top. Each cap is a point (mean cost, accuracy), from a
    cap of 0 (nobody is helped) to none; a coin between two caps gives any point between theirs. The curve is the upper
    hull of these points; money may be left over, so it never falls. Refused under the unaided judge's own cost.
    Percentile bootstrap over clusters, caps and coin chosen anew in each draw; as a maximum over caps the value is
    optimistic by what such a choice gains from noise.

    >>> found = iso_budget([2.0, 4.0], [1, 1], [0.0, 1.5, 3.0], unaided_correct=[0, 1], draws=20)
    >>> [reach.accuracy.value for reach in found]
    [0.5, 0.875, 1.0]
    """
    spent, right = _plays(cost, correct)
    alone = checked(unaided_correct, "unaided answers")
    same_length(right, alone, "the unaided judge needs the same plays")
    paid = checked(np.broadcast_to(np.asarray(unaided_cost, dtype=np.float64), spent.shape), "unaided costs")
    out = []
    for budget in budgets:

        def reached(picked: Any, budget: float = budget) -> float:
            return _reach(spent[picked], right[picked], alone[picked], paid[picked], budget)[0]

        value, caps, share = _reach(spent, right, alone, paid, budget)
        if np.isnan(value):
            groups, name = cluster_codes(clusters, len(spent))[1], "cluster bootstrap, percentile"
            why = f"a budget of {budget:g} is under what the unaided judge costs"
            found = refused(why, n=len(spent), clusters=groups, method=name, level=level)
        else:
            found = bootstrap_interval(
                reached, len(spent), clusters=clusters, method="percentile", level=level, seed=seed, draws=draws
            )
        out.append(Reach(budget=float(budget), accuracy=found, caps=caps, share=share))
    return tuple(out)


def _reach(
    spent: Array, right: Array, alone: Array, paid: Array, budget: float
) -> tuple[float, tuple[float, float], float]:
    """Accuracy at the budget (NaN: out of reach), the two caps, and the chance of the second."""
    order = np.argsort(spent, kind="stable")
    cost, n = spent[order], len(spent)
    caps = np.unique(np.r_[0.0, cost])
    played = np.searchsorted(cost, caps, side="right")

    def before(values: Array) -> Array:
        return np.asarray(np.r_[0.0, np.cumsum(values[order])][played])

    x = (before(spent) + caps * (n - played) + paid.sum() - before(paid)) / n
    y = (before(right) + alone.sum() - before(alone)) / n
    hull = _hull(x, y)
    x, y, caps = x[hull], y[hull], caps[hull]
    at = int(np.searchsorted(x, budget, side="right")) - 1
    if at < 0:
        return float("nan"), (0.0, 0.0), 0.0
    if at == len(x) - 1:
        return float(y[at]), (float(caps[at]), float(caps[at])), 0.0
    share = float((budget - x[at]) / (x[at + 1] - x[at]))
    return float(y[at] + share * (y[at + 1] - y[at])), (float(caps[at]), float(caps[at + 1])), share


def _hull(x: Array, y: Array) -> list[int]:
    """Points of the upper hull, from the cheapest to the best, rising all the way."""
    kept: list[int] = []
    for i in np.lexsort((-y, x)):
        if kept and y[i] <= y[kept[-1]]:
            continue
        while len(kept) > 1 and (y[kept[-1]] - y[kept[-2]]) * (x[i] - x[kept[-2]]) <= (y[i] - y[kept[-2]]) * (
            x[kept[-1]] - x[kept[-2]]
        ):
            kept.pop()
        kept.append(int(i))
    return kept


def _plays(cost: ArrayLike, correct: ArrayLike) -> tuple[Array, Array]:
    spent, right = checked(cost, "costs"), checked(correct, "answers")
    same_length(spent, right, "pass one cost a play")
    if len(spent) == 0:
        raise StatsError("no plays: nothing was spent, and nothing judged")
    if spent.min() < 0 or right.min() < 0 or right.max() > 1:
        raise StatsError("costs are at least 0, and answers lie between 0 (wrong) and 1 (right)")
    return spent, right
