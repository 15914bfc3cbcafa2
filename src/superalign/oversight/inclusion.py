"""Critique-bug inclusion against hallucination: what a critic's claims catch, and what they cost (2407.00215).

A critic gives every line of a function a score; the lines above a threshold are its claims, best first. On functions
with one fault, planted and executed, and on their sound twins a sweep of the threshold (a length modifier: λ is added
for every claim) draws the curve of inclusion against hallucinated claims per 100 lines. Truth is the place at which the
tests' verdict was made to change; nobody's rating is asked.

    texts = read_lines(load_model("family:l"), sources)                       # features of every line, frozen
    scores = [x[:, SURPRISAL] for x in texts]                           # a critic without any training
    found = pareto(tally(scores_faulty, scores_sound, planted, cuts=cuts_of(scores_sound)))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superalign.oversight.lines import worded
from superalign.stats import Interval, StatsError, bootstrap_interval
from superalign.stats.interval import Array
from superalign.tasks.lexer import lex

if TYPE_CHECKING:
    pass  # torch loads where it is needed

BUDGET = 20.0
"""Hallucinated claims per 100 lines up to which the area under a curve is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Where the one fault of each of n functions is: lines `first` to `last` (n,), counted from 0; and its module."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    cluster: NDArray[Any]


def base_rates(faulty: Sequence[str], spans: Sequence[tuple[int, int]], *, prior: float = 20.0) -> dict[str, float]:
    """How often each word stands in a faulty line, of all its uses, shrunk to the mean by `prior` uses."""
    uses: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for text, (first, last) in zip(faulty, spans, strict=True):
        for token, line in zip(lex(text).tokens, worded(text)[1].tolist(), strict=True):
            uses[token] += 1
            hits[token] += first <= line <= last
    mean = hits.total() / max(1, uses.total())
    return {token: (hits[token] + prior * mean) / (n + prior) for token, n in uses.items()} | {"": mean}


def rated(text: str, rates: dict[str, float]) -> Array:
    """Scores of the lines of a text by base rates alone, without a model: 1 − Π (1 − rate) over its words; (lines,)."""
    lines = worded(text)[1]
    sound = np.log1p([-rates.get(token, rates[""]) for token in lex(text).tokens])
    return np.asarray(1 - np.exp(np.bincount(lines, weights=sound)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Claims on n functions and their sound twins, at T settings of a sweep."""

    hit: Array
    """(n, T) 1 where a claim names the planted fault."""
    phantom: Array
    """(n, T) 1 where the same place is claimed in the sound twin, in which nothing is wrong."""
    idle: Array
    """(n, T) hallucinated claims: elsewhere in the faulty text, and anywhere in the sound one."""
    lines: Array
    """(n,) lines of both texts that were read: one without a score is no line that was found clean."""
    unread: int
    cluster: NDArray[Any]


def tally(faulty: Sequence[Array], sound: Sequence[Array], planted: Planted, *, cuts: Array, slack: int = 0) -> Tally:
    """Claims above each of `cuts` (T,): scores of the lines of n faulty texts and of their twins, as `tallied`.

    That is also the list that a length modifier picks: of all lists the one with the greatest Σ score + λ · claims
    claims what scores above −λ.
    """
    claims = [[np.asarray(s)[None] > cuts[:, None] for s in side] for side in (faulty, sound)]
    read = [[np.isfinite(s) for s in side] for side in (faulty, sound)]
    return tallied(claims[0], claims[1], planted, read=(read[0], read[1]), slack=slack)


def tallied(
    faulty: Sequence[NDArray[np.bool_]],
    sound: Sequence[NDArray[np.bool_]],
    planted: Planted,
    *,
    read: tuple[Sequence[NDArray[np.bool_]], Sequence[NDArray[np.bool_]]],
    slack: int = 0,
) -> Tally:
    """Claims (T, lines) on n faulty texts and their twins, held against the places of the faults ± `slack` lines.

    A function whose faulty line has no score stays in the denominator of inclusion, and is not included.
    Raises StatsError when the numbers of texts differ.
    """
    n = len(planted.first)
    if not len(faulty) == len(sound) == n:
        raise StatsError(f"{len(faulty)} faulty texts, {len(sound)} twins, {n} places: they must pair")
    width = len(faulty[0])
    hit, phantom, idle, lines, unread = np.zeros((n, width)), np.zeros((n, width)), np.zeros((n, width)), np.zeros(n), 0
    for i, (bad, good) in enumerate(zip(faulty, sound, strict=True)):
        here = slice(max(0, int(planted.first[i]) - slack), int(planted.last[i]) + slack + 1)
        hit[i] = bad[:, here].any(axis=1)
        phantom[i] = good[:, here].any(axis=1)
        idle[i] = bad.sum(axis=1) - bad[:, here].sum(axis=1) + good.sum(axis=1)
        known = int(read[0][i].sum() + read[1][i].sum())
        lines[i], unread = known, unread + bad.shape[1] + good.shape[1] - known
    return Tally(hit=hit, phantom=phantom, idle=idle, lines=lines, unread=unread, cluster=np.asarray(planted.cluster))


def cuts_of(scores: Sequence[Array], *, settings: int = 60) -> Array:
    """Thresholds (settings,) from none to all claimed, by quantiles of all scores, finer where few are claimed."""
    flat = np.concatenate([np.asarray(s, dtype=np.float64) for s in scores])
    flat = flat[np.isfinite(flat)]
    if not len(flat):
        raise StatsError("no line has a score: there is nothing to sweep")
    share = np.geomspace(1 / len(flat), 1, settings - 1)
    return np.concatenate([[flat.max()], np.quantile(flat, 1 - share[:-1]), [flat.min() - 1]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto:
    """A critic's curve, and what is read off it."""

    idle: Array
    """(T,) hallucinated claims per 100 lines, rising."""
    hit: Array
    """(T,) critique-bug inclusion."""
    phantom: Array
    area: Interval
    """Mean inclusion over 0 to `budget` hallucinated claims per 100 lines; at random about budget / 200."""
    seen: Interval
    """The same area of inclusion less phantom: what the fault itself, and not its place, brought on."""


def pareto(found: Tally, *, budget: float = BUDGET, level: float = 0.95, seed: int = 0, draws: int = 1000) -> Pareto:
    """Curve and areas; intervals by the bootstrap over clusters (BCa). Raises StatsError when no line was read."""
    if not found.lines.sum():
        raise StatsError("no line has a score: there is nothing to count claims by")
    sums = _sums(found)
    idle, hit, phantom = _curve(sums, slice(None))

    def area(rows: Any, *, less: bool) -> float:
        x, y, z = _curve(sums, rows)
        return _area(x, y - z if less else y, budget)

    given = {"level": level, "seed": seed, "draws": draws}
    return Pareto(
        idle=idle,
        hit=hit,
        phantom=phantom,
        area=_over(lambda rows: area(rows, less=False), found, **given),
        seen=_over(lambda rows: area(rows, less=True), found, **given),
    )


def inclusion_at(found: Tally, idle: float, *, level: float = 0.95, seed: int = 0) -> tuple[Interval, Interval]:
    """Inclusion, and inclusion less phantom, at `idle` hallucinated claims per 100 lines, between settings by line."""
    sums = _sums(found)

    def at(rows: Any, *, less: bool) -> float:
        x, y, z = _curve(sums, rows)
        return float(np.interp(idle, x, y - z if less else y))

    given = {"level": level, "seed": seed}
    return (
        _over(lambda rows: at(rows, less=False), found, **given),
        _over(lambda rows: at(rows, less=True), found, **given),
    )


def area_difference(a: Tally, b: Tally, *, budget: float = BUDGET, level: float = 0.95, seed: int = 0) -> Interval:
    """Area of `a` less that of `b` on the same functions, clusters drawn for both at once."""
    if len(a.cluster) != len(b.cluster) or (a.cluster != b.cluster).any():
        raise StatsError("two critics are compared on the same functions: these differ")
    sums = _sums(a), _sums(b)

    def difference(rows: Any) -> float:
        one, other = (_area(*_curve(s, rows)[:2], budget) for s in sums)
        return one - other

    return _over(difference, a, level=level, seed=seed)


def _sums(found: Tally) -> tuple[Array, Array, Array, Array, Array]:
    """Hits, phantoms, idle claims (G, T), lines and functions (G, 1) of each cluster."""
    names, codes = np.unique(found.cluster, return_inverse=True)
    parts = [found.hit, found.phantom, found.idle, found.lines[:, None], np.ones((len(codes), 1))]
    out = [np.zeros((len(names), part.shape[1])) for part in parts]
    for total, part in zip(out, parts, strict=True):
        np.add.at(total, codes, part)
    return out[0], out[1], out[2], out[3], out[4]


def _curve(sums: tuple[Array, ...], rows: Any) -> tuple[Array, Array, Array]:
    """Idle claims per 100 lines (rising), inclusion and phantom (T,) of the clusters `rows`."""
    hit, phantom, idle, lines, functions = (part[rows].sum(axis=0) for part in sums)
    x = 100 * idle / lines
    order = np.argsort(x, kind="stable")
    return x[order], (hit / functions)[order], (phantom / functions)[order]


def _area(x: Array, y: Array, budget: float) -> float:
    """Mean height up to the budget; before the first setting the curve is what it is at none, 0."""
    inside = x < budget
    xs = np.concatenate([[0.0], x[inside], [budget]])
    ys = np.concatenate([[0.0], y[inside], [np.interp(budget, x, y)]])
    return float(np.trapezoid(ys, xs) / budget)


def _over(statistic: Callable[[Any], float], found: Tally, **given: Any) -> Interval:
    """The bootstrap over clusters, whose sums are its rows."""
    made = bootstrap_interval(statistic, len(np.unique(found.cluster)), **given)
    return replace(made, n=len(found.cluster))
