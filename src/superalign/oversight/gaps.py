"""What a model makes, tells apart and can point at: generator, discriminator and critic, in the same units.

Saunders et al. 2022 (2206.05802), §5: G is how often a sample is right; GD what choosing among samples by the
discriminator adds; GC how often the critic names a flaw of the model's own flawed samples. A critic and a discriminator
share units by what a judge makes of them: one who can check nothing but the cited claim, exactly, is right on every
sound text and on those flawed ones of which the claim is true, so BA_C = (1 + validity)/2, and the gap is BA_D − BA_C
on the same texts. Below 0 the critic tells more than the discriminator does.

Rows are flat (n,): one text under one training seed. `clusters` name what texts share, `seeds` the training seed of a
row. With seeds, intervals are two-way: clusters and seeds both vary (`superalign.stats.pgr`, `spread`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.oversight.linear import linearised
from superalign.stats import StatsError, auroc, newcombe_paired, proportion_interval
from superalign.stats.interval import Array, Interval, checked, checked_binary, cluster_codes, refused, same_length
from superalign.stats.pgr import Sample, freedom, spread

LEVEL = 0.95
"""Of every interval."""
ONE_SEED = "1 seed: how training seeds differ is not in the interval"


def crossed(
    value: float, away: ArrayLike, clusters: Any = None, seeds: Any = None, least: float = -np.inf, most: float = np.inf
) -> Interval:
    """`value` with the interval of a mean whose rows lie `away` (n,) from it, clusters and seeds both varying.

    `away` is n times a row's influence and averages to 0. The variance is V_c + (V_s − V_r)₊ with Satterthwaite's
    degrees of freedom, so that texts that all seeds see count once. Without `seeds` it is `linearised`; with one seed
    too, and the note says so. Refuses one cluster. Ends stay within `least` and `most`.

    >>> found = crossed(0.5, np.tile([-0.5, 0.5], 40), np.tile(np.arange(40), 2), np.repeat([0, 1], 40))
    >>> found.value, found.clusters, found.method
    (0.5, 40, 'items × seeds, linearised t')
    """
    x = checked(away, "distances")
    labels, kinds = cluster_codes(seeds, len(x)) if seeds is not None else (np.zeros(len(x), dtype=np.intp), 1)
    if kinds < 2:
        found = linearised(value, x, clusters, least=least, most=most)
        return found if seeds is None or found.note else replace(found, note=ONE_SEED)
    codes, groups = cluster_codes(clusters, len(x))
    method = "items × seeds, linearised t"
    if groups < 2:
        return refused(f"{groups} clusters: an interval needs two", n=len(x), clusters=groups, method=method)
    sums, sizes = np.zeros((kinds, groups, 3)), np.zeros((kinds, groups))
    np.add.at(sums[..., 0], (labels, codes), value + x)
    np.add.at(sizes, (labels, codes), 1.0)
    sample, first = Sample(sums, sizes), np.array([1.0, 0.0, 0.0])
    parts = spread(sample)
    error = math.sqrt(float(first @ parts.by_cluster @ first) + parts.excess(first))
    df = freedom(parts, first, sample) if error > 0 else groups - 1.0
    half = float(scipy_stats.t.ppf(0.5 + LEVEL / 2, df)) * error
    low, high = max(least, min(value, value - half)), min(most, max(value, value + half))
    return Interval(value=value, low=low, high=high, n=len(x), clusters=groups, method=method)


def rate(values: ArrayLike, clusters: Any = None, seeds: Any = None) -> Interval:
    """Mean of `values` (n,) in [0, 1]; where all are 0, or all 1, each cluster is one trial (Clopper–Pearson)."""
    x = checked(values)
    if seeds is None or len(x) == 0 or x.max() == x.min() in (0.0, 1.0):
        return proportion_interval(x, clusters=clusters)
    if x.min() < 0 or x.max() > 1:
        raise StatsError(f"values from {x.min():g} to {x.max():g}: a rate needs values in [0, 1]")
    value = float(x.mean())
    return crossed(value, x - value, clusters, seeds, least=0.0, most=1.0)


def combined(parts: Sequence[Interval], weights: Sequence[float]) -> Interval:
    """Σ w · part by squaring and adding the ends (Newcombe 1998, method 10): for rates that show no spread.

    >>> sure = rate([1.0] * 30)
    >>> found = combined([sure, sure], [0.5, 0.5])
    >>> found.value, round(found.low, 2)
    (1.0, 0.92)
    """
    name, n, groups = "square-and-add of exact ends", sum(p.n for p in parts), max(p.clusters for p in parts)
    known = [(p.value, p.low, p.high) for p in parts]
    if any(end is None for three in known for end in three):
        return refused("a part has no interval", n=n, clusters=groups, method=name)
    (values, lows, highs), w = np.array(known, dtype=np.float64).T, np.array(weights)
    down, up = values - lows, highs - values
    value, above = float(w @ values), np.where(w > 0, up, down)
    low, high = (value - float(np.linalg.norm(w * (down + up - above)))), value + float(np.linalg.norm(w * above))
    return Interval(value=value, low=low, high=high, n=n, clusters=groups, method=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """How often flags are right: each side alone, and both alike."""

    balanced: Interval
    """½(TPR + TNR)."""
    caught: Interval
    """Flawed texts that are flagged."""
    false: Interval
    """Sound texts that are flagged."""


def verdicts(flags: ArrayLike, flawed: ArrayLike, clusters: Any = None, seeds: Any = None) -> Verdicts:
    """Balanced accuracy of `flags` (n,) in [0, 1] (½: a tie) on texts that are `flawed` (n,) or not.

    Refuses what needs a side that is missing; raises StatsError for NaN: a missing verdict is not an acquittal.

    >>> found = verdicts([1, 1, 0, 0, 0], [1, 1, 1, 0, 0])
    >>> round(found.balanced.value, 3), found.false.value
    (0.833, 0.0)
    """
    said, bad = _flags(flags, flawed)
    sides = ((said, bad), (1 - said, ~bad), (said, ~bad))
    caught, passed, false = (_rate_at(values, keep, clusters, seeds) for values, keep in sides)
    value, away = _balanced(np.where(bad, said, 1 - said), bad)
    both = crossed(value, away, clusters, seeds, 0.0, 1.0) if away.any() else combined([caught, passed], [0.5, 0.5])
    return Verdicts(balanced=both, caught=caught, false=false)


def _flags(flags: ArrayLike, flawed: ArrayLike) -> tuple[Array, Any]:
    said, bad = checked(flags, "flags"), checked_binary(flawed, "truths") == 1
    same_length(said, bad.astype(np.float64), "one flag and one truth a text")
    if len(said) and (said.min() < 0 or said.max() > 1):
        raise StatsError(f"flags from {said.min():g} to {said.max():g}: 0 passes, 1 flags, ½ is a tie")
    return said, bad


def _at(labels: Any, keep: Any) -> Any:
    return None if labels is None else np.asarray(labels)[keep]


def _rate_at(values: Array, keep: Any, clusters: Any, seeds: Any) -> Interval:
    return rate(values[keep], _at(clusters, keep), _at(seeds, keep))


def _refused(why: str, clusters: Any, n: int) -> Interval:
    return refused(why, n=n, clusters=cluster_codes(clusters, n)[1], method="linearised")


def _balanced(right: Array, bad: Any) -> tuple[float, Array]:
    """Mean of the two sides' means, and n times each row's influence on it; zeros where a side is missing."""
    if bad.all() or not bad.any():
        return 0.0, np.zeros(len(right))
    means = right[bad].mean(), right[~bad].mean()
    away = np.where(bad, (right - means[0]) / bad.sum(), (right - means[1]) / (~bad).sum())
    return float(sum(means)) / 2, np.asarray(away * len(right) / 2)


def flags_of(doubt: ArrayLike, cut: ArrayLike = 0.0) -> Array:
    """(n,) 1 where doubt is above the cut, ½ on it, 0 below. Raises StatsError for NaN.

    >>> flags_of([0.2, 0.5, 0.9], 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    x, edge = checked(doubt, "doubts"), np.asarray(cut, dtype=np.float64)
    if not np.isfinite(edge).all():
        raise StatsError("a cut is NaN or infinite: fix it on the dev split")
    return np.where(x == edge, 0.5, (x > edge).astype(np.float64))


def area(doubt: ArrayLike, flawed: ArrayLike, clusters: Any = None, seeds: Any = None) -> Interval:
    """AUROC of `doubt` for flawed texts, ties half; with seeds the mean of each seed's own (scales may differ).

    >>> area([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).value
    0.75
    """
    x, bad = checked(doubt, "doubts"), checked_binary(flawed, "truths") == 1
    same_length(x, bad.astype(np.float64), "one doubt and one truth a text")
    if seeds is None:
        return auroc(x, bad.astype(float), clusters=clusters)
    labels, kinds = cluster_codes(seeds, len(x))
    away, areas = np.zeros(len(x)), []
    for one in range(kinds):
        own, other = np.flatnonzero((labels == one) & bad), np.flatnonzero((labels == one) & ~bad)
        if not len(own) or not len(other):
            return _refused("a seed has texts of one kind alone", clusters, len(x))
        above, under = _placements(x[own], x[other]), 1 - _placements(x[other], x[own])
        areas.append(float(above.mean()))
        away[own], away[other] = (above - areas[-1]) / len(own), (under - areas[-1]) / len(other)
    value = float(np.mean(areas))
    if not away.any():
        return rate(np.full(len(x), value), clusters)
    return crossed(value, away * len(x) / kinds, clusters, seeds, least=0.0, most=1.0)


def _placements(values: Array, among: Array) -> Array:
    """(len(values),) share of `among` that lies below each value, ties half."""
    ranked = np.sort(among)
    low, high = (np.searchsorted(ranked, values, side) for side in ("left", "right"))
    return np.asarray((low + high) / (2 * len(ranked)))


def paired_accuracy(sound: ArrayLike, flawed: ArrayLike, clusters: Any = None, seeds: Any = None) -> Interval:
    """P(doubt of the flawed one > doubt of its sound partner), ties half: (n,) doubts of either side of a pair."""
    a, b = checked(sound, "doubts of sound texts"), checked(flawed, "doubts of flawed texts")
    same_length(a, b, "a pair has two sides")
    return rate(flags_of(b - a), clusters, seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Critic:
    """What a critic's claims are worth."""

    validity: Interval
    """Flawed texts of which the place that it points at is the flaw."""
    hallucination: Interval
    """Claims that a check would find false, of all it makes; refused where it makes none."""
    unfounded: Interval
    """Sound texts of which it claims a flaw."""
    equivalent: Interval
    """BA_C: a judge who checks the cited claim exactly, and nothing else. (1 + validity)/2."""


def critic(valid: ArrayLike, claimed: ArrayLike, flawed: ArrayLike, clusters: Any = None, seeds: Any = None) -> Critic:
    """A critic who points somewhere in every text; `valid` (n,): there is the flaw; `claimed` (n,): it stands by it.

    Validity and BA_C take the place it would point at, claimed or not: a check makes a wrong claim harmless. Raises
    StatsError for a valid claim about a sound text.

    >>> found = critic([1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0])
    >>> found.validity.value, round(found.hallucination.value, 2), found.unfounded.value, found.equivalent.value
    (0.5, 0.67, 0.5, 0.75)
    """
    true, stands = checked_binary(valid, "valid claims"), checked_binary(claimed, "claims") == 1
    bad = checked_binary(flawed, "truths") == 1
    for other in (bad, stands):
        same_length(true, other.astype(np.float64), "one place, one claim (made or not) and one truth a text")
    if (true[~bad] == 1).any():
        raise StatsError(f"{int(true[~bad].sum())} valid claims about sound texts: nothing is flawed there")
    return Critic(
        validity=_rate_at(true, bad, clusters, seeds),
        hallucination=_rate_at(1 - true, stands, clusters, seeds),
        unfounded=_rate_at(stands.astype(np.float64), ~bad, clusters, seeds),
        equivalent=verdicts(true, bad, clusters, seeds).balanced,
    )


def dc_gap(
    d: ArrayLike, c: ArrayLike, flawed: ArrayLike, clusters: Any = None, seeds: Any = None, *, blind: Any = None
) -> Interval:
    """BA_D − BA_C on the same texts: flags (n,) of the discriminator, of a judge who checks C's claim.

    A check is worth something by itself: who points at random among k places has BA_C = (1 + 1/k)/2, so that two who
    know nothing have a gap of −1/2k. With `blind` (n,), whether the critic points at the flaw without having seen it
    (shown the sound partner; 0 on sound texts), validity counts beyond luck, as κ does: (v − b)/(1 − b). Refused where
    luck alone is always right.

    >>> dc_gap([1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]).value
    -0.25
    >>> dc_gap([1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0], blind=[1, 0, 0, 0]).value
    0.0
    """
    (tells, bad), (names, _) = _flags(d, flawed), _flags(c, flawed)
    luck, _ = _flags(np.zeros(len(tells)) if blind is None else blind, flawed)
    if bad.any() and luck[bad].min() == 1:
        return _refused("the critic points at every flaw unseen: nothing is left to tell", clusters, len(bad))
    more = np.where(bad, tells - _beyond(names, luck, bad), names - tells)
    value, away = _balanced(more, bad)
    if away.any():
        return crossed(value, away, clusters, seeds, least=-1.0, most=1.0)
    parts = [verdicts(x, bad.astype(float), clusters, seeds).balanced for x in (tells, names)]
    return combined(parts, [1.0, -1.0])


def _beyond(valid: Array, luck: Array, bad: Any) -> Array:
    """(n,) rows with the mean (v − b)/(1 − b) over flawed texts, and that ratio's spread; `valid` where b = 0."""
    if not bad.any():
        return valid
    v, b = float(valid[bad].mean()), float(luck[bad].mean())
    return np.asarray((v - b + valid - v) / (1 - b) + (luck - b) * (v - 1) / (1 - b) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """How often a generator is right, and what the discriminator's choice among its samples adds."""

    one: Interval
    """G: P(a sample is correct)."""
    best: Interval
    """The sample that the discriminator doubts least is correct; ties share."""
    gap: Interval
    """GD = best − one."""
    ceiling: Interval
    """Any of the samples is correct: what a perfect discriminator would reach."""


def generator(correct: ArrayLike, doubt: ArrayLike, clusters: Any = None, seeds: Any = None) -> Generator:
    """K samples of each question: `correct` (n, K) of 0 and 1, the discriminator's `doubt` (n, K); rows are questions.

    >>> found = generator([[1, 0], [0, 1]], [[0.1, 0.9], [0.5, 0.5]])
    >>> found.one.value, found.best.value, found.gap.value, found.ceiling.value
    (0.5, 0.75, 0.25, 1.0)
    """
    right, unsure = np.asarray(correct, dtype=np.float64), np.asarray(doubt, dtype=np.float64)
    if right.ndim != 2 or right.shape != unsure.shape or 0 in right.shape:
        raise StatsError(f"samples of shapes {right.shape} and {unsure.shape}: pass (questions, K) of both")
    checked_binary(right.ravel(), "samples")
    checked(unsure.ravel(), "doubts")
    least = unsure == unsure.min(1, keepdims=True)
    one, best = right.mean(1), (right * least).sum(1) / least.sum(1)
    value = float((best - one).mean())
    return Generator(
        one=rate(one, clusters, seeds),
        best=rate(best, clusters, seeds),
        gap=crossed(value, best - one - value, clusters, seeds, least=-1.0, most=1.0),
        ceiling=rate(right.max(1), clusters, seeds),
    )


def own_flaws(
    valid: ArrayLike, chance: ArrayLike, clusters: Any = None, seeds: Any = None
) -> tuple[Interval, Interval]:
    """GC, and GC beyond chance: rows are the generator's own flawed samples, critic and generator from one base.

    `valid` (n,): the place pointed at is flawed; `chance` (n,): the share of places that are.

    >>> [round(found.value, 2) for found in own_flaws([1, 0, 1], [0.1, 0.1, 0.1])]
    [0.67, 0.57]
    """
    true, by_chance = checked_binary(valid, "valid claims"), checked(chance, "chances")
    same_length(true, by_chance, "one chance a claim")
    over = float((true - by_chance).mean()) if len(true) else 0.0
    beyond = crossed(over, true - by_chance - over, clusters, seeds, least=-1.0, most=1.0)
    return rate(true, clusters, seeds), beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplift:
    """What help does to detection, and what it costs on sound texts."""

    aided: Verdicts
    alone: Verdicts
    difference: Interval
    """RD: flawed texts caught with help, less those caught without."""
    ratio: Interval
    """RR: with help over without; "+50 %" is 1.5."""
    false: Interval
    """Sound texts flagged with help, less those flagged without."""


def uplift(aided: ArrayLike, alone: ArrayLike, flawed: ArrayLike, clusters: Any = None, seeds: Any = None) -> Uplift:
    """The same texts judged with and without help: `aided` and `alone` (n,) flags of 0 and 1, `flawed` (n,).

    Without clusters and seeds RD is Newcombe's for pairs; else linearised. RR is t on the logarithm, and refused where
    a rate is 0. Arms that saw unlike texts: `stats.newcombe`, or `stats.risk_difference`, and `stats.risk_ratio`.

    >>> found = uplift([1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 0, 0])
    >>> round(found.difference.value, 2), round(found.ratio.value, 2), found.false.value
    (0.67, 3.0, 0.0)
    """
    x, y = (checked_binary(flags, "flags") for flags in (aided, alone))
    same_length(x, y, "both judge the same texts")
    bad = _flags(x, flawed)[1]
    sides = [verdicts(flags, bad.astype(float), clusters, seeds) for flags in (x, y)]
    on = _at(clusters, bad), _at(seeds, bad)
    return Uplift(
        aided=sides[0],
        alone=sides[1],
        difference=_difference(x[bad], y[bad], *on),
        ratio=_log_ratio(x[bad], y[bad], *on),
        false=_difference(x[~bad], y[~bad], _at(clusters, ~bad), _at(seeds, ~bad)),
    )


def _difference(x: Array, y: Array, clusters: Any, seeds: Any) -> Interval:
    if len(x) == 0 or (clusters is None and seeds is None):
        return newcombe_paired(x, y)
    value = float((x - y).mean())
    if np.ptp(x - y) == 0:
        return combined([rate(flags, clusters, seeds) for flags in (x, y)], [1.0, -1.0])
    return crossed(value, x - y - value, clusters, seeds, least=-1.0, most=1.0)


def _log_ratio(x: Array, y: Array, clusters: Any, seeds: Any) -> Interval:
    p, q = (float(flags.mean()) if len(flags) else 0.0 for flags in (x, y))
    if p == 0 or q == 0:
        return _refused("a rate of 0 has no logarithm", clusters, len(x))
    found = crossed(math.log(p / q), x / p - y / q, clusters, seeds)
    ends = [None if end is None else math.exp(end) for end in (found.low, found.high)]
    return replace(found, value=p / q, low=ends[0], high=ends[1], method=f"log risk ratio, {found.method}")


def over_reliance(accepted: ArrayLike, valid: ArrayLike, clusters: Any = None, seeds: Any = None) -> Interval:
    """P(the judge accepts a claim | it is false): `accepted`, `valid` (n,) of 0 and 1, one a claim."""
    took, true = checked_binary(accepted, "acceptances"), checked_binary(valid, "valid claims") == 1
    same_length(took, true.astype(np.float64), "one acceptance a claim")
    return _rate_at(took, ~true, clusters, seeds)
