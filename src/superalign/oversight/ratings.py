"""Who persuades whom? Bradley–Terry ratings of advisers that argued against each other, sides swapped.

In every play one adviser argues the correct side, another the incorrect one; the first wins when the judge is right.
With one rating an adviser and an advantage of being right, P = σ(θ_correct + h − θ_incorrect): swapped sides tell the
two apart. With ratings apart, each adviser has one for either side: who is persuasive only when right? (Bradley and
Terry 1952; home advantage as in Agresti 2013, ch. 11; ratings by side after Khan et al. 2402.06782.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from superalign.stats import StatsError
from superalign.stats.bootstrap import drawn_counts
from superalign.stats.interval import Array, Interval, checked, cluster_codes, same_length

STEPS = 100
ELO = 400 / math.log(10)
"""Elo points a unit of rating: 400 points are odds of 10 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """One adviser, as persuasive as this."""

    name: str
    side: str
    """`both`, or `correct`, `incorrect` where sides are rated apart."""
    rating: Interval
    """In log-odds; ratings average to 0. Times ELO: Elo points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """Ratings in the order of their names, and what it is worth to be right."""

    ratings: tuple[Rating, ...]
    advantage: Interval | None
    """Log-odds that the correct side has between equals; None where sides are rated apart."""


def bradley_terry(
    correct: Sequence[str],
    incorrect: Sequence[str],
    outcome: ArrayLike,
    *,
    clusters: Any = None,
    apart: bool = False,
    ridge: float = 0.01,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Ratings:
    """Maximum-likelihood ratings of n plays: who argued which side, and the `outcome` (n,) for the correct one.

    1: the judge is right, 0: it is wrong, ½: a tie (or a failed judgement, which nobody wins), half a win each; a
    belief in between counts as its share. The `ridge` takes ½ · ridge · Σ θ² (h too) off the log-likelihood: who
    always wins still has a finite rating, and others move by about ridge · θ over a quarter of their plays.
    Percentile bootstrap over clusters of items. Raises StatsError for other outcomes, lengths, a ridge not above 0, or
    advisers that no chain of plays connects: nothing orders them.

    >>> played = bradley_terry(["a", "b"] * 20, ["b", "a"] * 20, [1, 0] * 20, draws=20)
    >>> [(r.name, round(r.rating.value, 1)) for r in played.ratings], abs(round(played.advantage.value, 6))
    ([('a', 3.5), ('b', -3.5)], 0.0)
    """
    won = checked(outcome, "outcomes")
    if len(won) == 0 or won.min() < 0 or won.max() > 1:
        raise StatsError("outcomes lie between 0 (wrong) and 1 (right), and there is at least one play")
    if not ridge > 0:
        raise StatsError(f"ridge = {ridge}: it is above 0, or an adviser who always wins has no finite rating")
    for names in (correct, incorrect):
        same_length(np.empty(len(names)), won, "pass the adviser of either side of every play")
    names = sorted(set(correct) | set(incorrect))
    if apart:
        rated = [(n, "correct") for n in sorted(set(correct))] + [(n, "incorrect") for n in sorted(set(incorrect))]
    else:
        rated = [(n, "both") for n in names]
    place = {who: i for i, who in enumerate(rated)}
    sides = ("correct", "incorrect") if apart else ("both", "both")
    pairs = np.array([[place[(a, sides[0])], place[(b, sides[1])]] for a, b in zip(correct, incorrect, strict=True)])
    _connected(pairs, len(rated), [f"{name} ({side})" if apart else name for name, side in rated])
    kinds, which = np.unique(pairs, axis=0, return_inverse=True)
    which = which.reshape(-1)
    design = np.zeros((len(kinds), len(rated) + (not apart)))
    np.add.at(design, (np.arange(len(kinds)), kinds[:, 0]), 1.0)
    np.add.at(design, (np.arange(len(kinds)), kinds[:, 1]), -1.0)
    if not apart:
        design[:, -1] = 1.0
    codes, groups = cluster_codes(clusters, len(won))
    wins, plays = (_by_cluster(codes, groups, which, len(kinds), w) for w in (won, np.ones(len(won))))
    point = _fit(design, wins.sum(0), plays.sum(0), ridge, np.zeros(design.shape[1]))
    drawn = _drawn(design, wins, plays, ridge, point, np.random.default_rng(seed), draws) if groups > 1 else None
    found = [_interval(point, drawn, i, level, len(won), groups) for i in range(len(point))]
    ratings = tuple(Rating(name=n, side=s, rating=found[i]) for i, (n, s) in enumerate(rated))
    return Ratings(ratings=ratings, advantage=None if apart else found[-1])


def _by_cluster(codes: NDArray[np.intp], groups: int, which: Any, kinds: int, weights: Array) -> Array:
    """(G, pairs) sum of weights of each cluster's plays of each pair."""
    sums = np.bincount(codes * kinds + which, weights=weights, minlength=groups * kinds)
    return sums.reshape(groups, kinds).astype(np.float64)


def _fit(design: Array, wins: Array, plays: Array, ridge: float, start: Array) -> Array:
    """Newton's method with halved steps on the penalised log-likelihood, which is strictly concave."""
    theta, best = start, _likelihood(design, wins, plays, ridge, start)
    for _ in range(STEPS):
        p = special.expit(design @ theta)
        slope = design.T @ (wins - plays * p) - ridge * theta
        curve = design.T @ ((plays * p * (1 - p))[:, None] * design) + ridge * np.eye(len(theta))
        step, size = np.linalg.solve(curve, slope), 1.0
        while size > 1e-8 and _likelihood(design, wins, plays, ridge, theta + size * step) < best - 1e-12 * abs(best):
            size /= 2
        theta = theta + size * step
        best = _likelihood(design, wins, plays, ridge, theta)
        if np.abs(size * step).max() < 1e-10:
            break
    return theta


def _likelihood(design: Array, wins: Array, plays: Array, ridge: float, theta: Array) -> float:
    away = design @ theta
    return float(wins @ special.log_expit(away) + (plays - wins) @ special.log_expit(-away) - ridge * theta @ theta / 2)


def _drawn(
    design: Array, wins: Array, plays: Array, ridge: float, start: Array, rng: np.random.Generator, draws: int
) -> Array:
    counts = drawn_counts(len(wins), rng, draws).astype(np.float64)
    return np.stack(
        [_fit(design, won, played, ridge, start) for won, played in zip(counts @ wins, counts @ plays, strict=True)]
    )


def _interval(point: Array, drawn: Array | None, i: int, level: float, n: int, groups: int) -> Interval:
    low, high, note = None, None, "1 cluster: nothing bounds a rating"
    if drawn is not None:
        low, high = (float(end) for end in np.quantile(drawn[:, i], [(1 - level) / 2, (1 + level) / 2]))
        note = ""
    name = "penalised maximum likelihood, cluster bootstrap"
    return Interval(
        value=float(point[i]), low=low, high=high, level=level, n=n, clusters=groups, method=name, note=note
    )


def _connected(pairs: NDArray[np.intp], count: int, names: list[str]) -> None:
    root = list(range(count))

    def top(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    for a, b in pairs.tolist():
        root[top(a)] = top(b)
    apart = sorted({names[i] for i in range(count) if top(i) != top(0)})
    if apart:
        raise StatsError(f"no chain of plays connects {', '.join(apart)} with {names[0]}: nothing orders them")
