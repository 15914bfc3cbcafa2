"""Is a protocol better than its controls? Paired differences, clustered, corrected for how many were looked at.

The family of a leaderboard is named before it is played: `primary`, corrected by Holm, so that the chance of any false
verdict in it stays under the level. What else is compared is exploratory, corrected by Benjamini–Hochberg. "No
difference" is a result of its own: two one-sided tests against a margin, corrected in the same families. Where plays
have several seeds, these are in the interval and in p (`superalign.oversight.twoway`). `benchmarks/oversight_fwer.py`
measures how often protocols that carry no information are called better or worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from superalign.oversight.incentives import arms
from superalign.oversight.rows import EpisodeRows, Pairing, paired
from superalign.oversight.scores import EPSILON, scores
from superalign.oversight.twoway import crossed_mean, spread
from superalign.stats import StatsError, benjamini_hochberg, equivalence, holm, paired_difference
from superalign.stats.interval import Array, Interval, checked_rate, cluster_sums
from superalign.stats.wild import p_value, weights

MEASURES = ("accuracy", "brier", "log", "asd")
VERDICTS = ("better", "worse", "equivalent", "not told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One protocol against one control, on the same plays."""

    protocol: str
    control: str
    measure: str
    """`accuracy`, `brier`, `log` (bits), or `asd` (agent score difference, Brier)."""
    family: str
    """`primary` or `exploratory`."""
    estimate: float
    """Mean of protocol minus control; above 0 the protocol is better."""
    low: float | None
    """None: too few clusters for this end."""
    high: float | None
    level: float
    p: float
    """Two-sided, of no difference; uncorrected, as `low` and `high` are."""
    p_holm: float | None
    """Corrected within the primary family; None for exploratory ones."""
    p_bh: float | None
    """Corrected within the exploratory family; None for primary ones."""
    p_equivalence: float | None
    """The larger p of two one-sided tests against the margin; uncorrected. None: nothing could be tested."""
    p_same: float
    """That p, corrected in the family as the other one is."""
    margin: float
    verdict: str
    """`better` or `worse` by the corrected p; else `equivalent` by the corrected `p_same`; else `not told`."""
    plays: int
    """Pairs (item, seed)."""
    clusters: int
    method: str
    note: str


def contrasts(
    rows: Mapping[str, EpisodeRows],
    primary: Sequence[tuple[str, str]] | None = None,
    *,
    controls: Sequence[str] = ("unaided",),
    measure: str = "accuracy",
    margin: float = 0.02,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
    epsilon: float = EPSILON,
) -> tuple[Contrast, ...]:
    """Every protocol against every control by `measure`, paired by item and seed; `primary` names the confirmed pairs.

    Sides of a play are averaged, so either counts half. Of one seed: t on G − 1 degrees of freedom, the wild bootstrap
    under 40 clusters, with p from the same (`stats.paired_difference`, method `rule`); of several, t over clusters and
    seeds. Without `primary` all pairs are. Where all plays differ by the same number, p is 2^(1 − G), that of G
    clusters all on one side. Equivalence needs the clustered TOST, and under 40 clusters that of the wild bootstrap as
    well: the larger p of the two counts. Raises StatsError for plays that do not pair, names that aren't there, pairs
    named twice, or fewer than two clusters.

    >>> from superalign.oversight.rows import episode_rows
    >>> items = [f"q{i}" for i in range(40)]
    >>> alone = episode_rows(item=items, cluster=items, belief=[0.4, 0.6] * 20)
    >>> aided = episode_rows(item=items, cluster=items, belief=[0.7, 0.8] * 20)
    >>> (found,) = contrasts({"unaided": alone, "debate": aided})
    >>> found.protocol, found.estimate, found.verdict
    ('debate', 0.5, 'better')
    """
    families = _families(rows, primary, controls)
    used = {name: rows[name] for name in dict.fromkeys(name for pair in [*families[0], *families[1]] for name in pair)}
    pairing = paired(used)
    names, codes = np.unique(pairing.clusters, return_inverse=True)
    if len(names) < 2:
        raise StatsError(f"{len(names)} clusters: a contrast needs two, and says little under ten")
    seeds = pairing.mean(0, next(iter(used.values())).seed)
    values = {name: _values(r, pairing, i, measure, epsilon) for i, (name, r) in enumerate(used.items())}
    out: list[Contrast] = []
    for family, pairs in zip(("primary", "exploratory"), families, strict=True):
        if not pairs:
            continue
        by = _By(codes=codes, seeds=seeds, level=level, margin=margin, seed=seed, draws=draws)
        found = [_compared(values[a], values[b], by) for a, b in pairs]
        correct = holm if family == "primary" else benjamini_hochberg
        corrected = correct([each.p for each in found]).tolist()
        alike = correct([1.0 if each.p_equivalence is None else each.p_equivalence for each in found]).tolist()
        for (a, b), each, q, same in zip(pairs, found, corrected, alike, strict=True):
            known, told = each.interval, q <= 1 - level
            out.append(
                Contrast(
                    protocol=a,
                    control=b,
                    measure=measure,
                    family=family,
                    estimate=each.estimate,
                    low=_within(known.low, measure),
                    high=_within(known.high, measure),
                    level=level,
                    p=each.p,
                    p_holm=q if family == "primary" else None,
                    p_bh=q if family == "exploratory" else None,
                    p_equivalence=each.p_equivalence,
                    p_same=same,
                    margin=margin,
                    verdict=_verdict(each.estimate, told, same <= 1 - level),
                    plays=known.n,
                    clusters=known.clusters,
                    method=known.method,
                    note=known.note,
                )
            )
    return tuple(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    estimate: float
    interval: Interval
    p: float
    p_equivalence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _By:
    """What a difference of plays is compared by."""

    codes: NDArray[np.intp]
    """(K,) cluster of each play."""
    seeds: Array
    """(K,)"""
    level: float
    margin: float
    seed: int
    draws: int


def _families(
    rows: Mapping[str, EpisodeRows], primary: Sequence[tuple[str, str]] | None, controls: Sequence[str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    all_pairs = [(name, control) for control in controls for name in rows if name not in controls]
    first = all_pairs if primary is None else [(a, b) for a, b in primary]
    missing = sorted({name for pair in [*first, *all_pairs] for name in pair} - rows.keys())
    if missing:
        raise StatsError(f"no rows of {', '.join(missing)}: there are those of {', '.join(rows)}")
    if not all_pairs and not first:
        raise StatsError("nothing to compare: there are controls alone")
    if len(set(first)) < len(first) or any(a == b for a, b in first):
        raise StatsError("name each primary pair once, a protocol and another one as its control")
    return first, [pair for pair in all_pairs if pair not in set(first)]


def _values(rows: EpisodeRows, pairing: Pairing, which: int, measure: str, epsilon: float) -> Array:
    """(K,) the measure of each play."""
    if measure == "asd":
        return arms(rows, "brier", pairing=pairing, which=which).difference
    if measure not in MEASURES:
        raise StatsError(f"there is no measure {measure!r}: use one of {', '.join(MEASURES)}")
    return pairing.mean(which, scores(rows, measure, epsilon=epsilon))


def _compared(a: Array, b: Array, by: _By) -> _Found:
    alpha = 1 - checked_rate(by.level, "level")
    same = equivalence(a, b, margin=by.margin, clusters=by.codes, alpha=alpha)
    if len(np.unique(by.seeds)) > 1:
        return _over_seeds(a - b, same.p, by)
    found = paired_difference(a, b, clusters=by.codes, level=by.level, method="rule", seed=by.seed, draws=by.draws)
    estimate, known = float((a - b).mean()), same.p
    if found.method.startswith("wild"):
        p = _p_wild(a - b, 0.0, by, by.level)
        if known is not None and not _constant(a - b, by.codes):
            ends = (_p_wild(a - b, end, by, 1 - 2 * alpha) / 2 for end in (-by.margin, by.margin))
            known = max(known, *ends) if abs(estimate) < by.margin else max(known, 0.5)
    else:
        p = _p_t(estimate, found)
    return _Found(estimate=estimate, interval=found, p=p, p_equivalence=known)


def _over_seeds(difference: Array, p_constant: float | None, by: _By) -> _Found:
    """Both tests from the spread over clusters and seeds; `p_constant` is that of differences without any spread."""
    found = spread(difference, by.codes, by.seeds)
    interval = crossed_mean(difference, by.codes, by.seeds, level=by.level)
    estimate = float(difference.mean())
    if found.error <= 1e-12 * max(1.0, abs(estimate)):
        p = _without_spread(estimate, found.clusters)
        return _Found(estimate=estimate, interval=interval, p=p, p_equivalence=p_constant)
    p = float(2 * scipy_stats.t.sf(abs(estimate) / found.error, found.df))
    same = float(scipy_stats.t.sf((by.margin - abs(estimate)) / found.error, found.df))
    return _Found(estimate=estimate, interval=interval, p=p, p_equivalence=same)


def _p_t(estimate: float, found: Interval) -> float:
    """p of the t interval: from its own half-width."""
    half = ((found.high or 0.0) - (found.low or 0.0)) / 2
    if half <= 1e-12 * max(1.0, abs(estimate)):
        return _without_spread(estimate, found.clusters)
    quantile = scipy_stats.t.ppf(0.5 + found.level / 2, found.clusters - 1)
    return float(2 * scipy_stats.t.sf(abs(estimate) * quantile / half, found.clusters - 1))


def _p_wild(difference: Array, centre: float, by: _By, level: float) -> float:
    """p of the mean being `centre`, from the wild interval's own draws; never under one in as many as there are."""
    groups = int(by.codes.max()) + 1
    sums, sizes = (cluster_sums(x, by.codes, groups) for x in (difference, np.ones(len(difference))))
    if _constant(difference, by.codes):
        return _without_spread(float(difference.mean()) - centre, groups)
    drawn, _ = weights(groups, level, by.draws, np.random.default_rng(by.seed))
    return max(p_value(centre, sums, sizes, drawn), 1 / len(drawn))


def _constant(difference: Array, codes: NDArray[np.intp]) -> bool:
    """Do all clusters differ by the same number?"""
    groups = int(codes.max()) + 1
    sums, sizes = (cluster_sums(x, codes, groups) for x in (difference, np.ones(len(difference))))
    return bool(np.allclose(sums, sizes * float(difference.mean())))


def _without_spread(estimate: float, groups: int) -> float:
    return 1.0 if abs(estimate) < 1e-12 else float(2.0 ** (1 - groups))


def _within(end: float | None, measure: str) -> float | None:
    """The end of an interval, where a difference can lie: two accuracies differ by 1 at most."""
    return end if end is None or measure != "accuracy" else min(1.0, max(-1.0, end))


def _verdict(estimate: float, told: bool, equivalent: bool) -> str:
    if told:
        return "better" if estimate > 0 else "worse"
    return "equivalent" if equivalent else "not told"
