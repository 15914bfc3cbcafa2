"""Plays of a protocol as columns: what every measure of oversight is computed from, with failures kept in.

A judgement that failed (no number, refused, timed out) stays in the denominator and is counted by kind. It is never a
win: it counts as wrong for accuracy, as a wrong conviction where the adviser lied, and as the uniform belief for proper
scores, ratings and incentives, so that a judge gains nothing by falling silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superalign.stats.interval import Array, StatsError, checked, cluster_codes

Strings = NDArray[np.str_]
Whole = NDArray[np.int64]
SIDES = ("honest", "dishonest", "none", "both")
UNREADABLE = "not a number"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRows:
    """n plays of one protocol; made and checked by `episode_rows`."""

    item: Strings
    """(n,)"""
    cluster: Strings
    """(n,) what items share: a file, a passage, a function."""
    seed: Whole
    """(n,) of the play: rows of several protocols are paired by item and seed."""
    side: Strings
    """(n,) what the adviser argued: `honest` (the truth), `dishonest`, `both` (a debate) or `none` (no adviser)."""
    belief: Array
    """(n,) P(truth) over the two claimed options, in [0, 1]; ½ where the judgement failed."""
    options: Array
    """(n, k) belief per option, each row adding up to 1; uniform over the item's own options where it failed."""
    truth: Whole
    """(n,) column of the true option."""
    sizes: Whole
    """(n,) options an item has; columns beyond hold 0."""
    failure: Strings
    """(n,) kind of failure; empty where the judge judged."""
    costs: Mapping[str, Array] = field(default_factory=dict)
    """Name (judge tokens, judge checks, adviser tokens, seconds) → (n,), none below 0."""

    def __len__(self) -> int:
        return len(self.belief)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """(n,) did the judgement fail?"""
        return np.asarray(self.failure != "")

    @property
    def failures(self) -> dict[str, int]:
        """Kind → how many."""
        return dict(sorted(Counter(self.failure[self.failed].tolist()).items()))


def episode_rows(
    *,
    item: Any,
    cluster: Any,
    belief: ArrayLike,
    side: Any = "none",
    seed: Any = 0,
    failure: Any = None,
    options: ArrayLike | None = None,
    truth: Any = 0,
    sizes: Any = None,
    costs: Mapping[str, ArrayLike] | None = None,
) -> EpisodeRows:
    """Columns of n plays, checked; `side`, `seed`, `truth` and `sizes` may be one value for all.

    A NaN among a row's beliefs is a failure of kind `not a number`, unless `failure` names another; a row that failed
    keeps none of its beliefs. Without `options` there are two: truth first. Raises StatsError for no plays, columns of
    other lengths, beliefs outside [0, 1] or not adding up to 1, unknown sides, costs below 0 or NaN, an item in two
    clusters.

    >>> rows = episode_rows(item=["q1", "q2"], cluster=["f", "g"], belief=[0.8, float("nan")])
    >>> rows.failures, rows.belief.tolist()
    ({'not a number': 1}, [0.8, 0.5])
    """
    given = np.asarray(belief, dtype=np.float64)
    if given.ndim != 1 or len(given) == 0:
        raise StatsError(f"beliefs have shape {given.shape}: pass one a play, and at least one play")
    n = len(given)
    per_option = np.column_stack([given, 1 - given]) if options is None else np.asarray(options, dtype=np.float64)
    if per_option.ndim != 2 or per_option.shape[0] != n or per_option.shape[1] < 2:
        raise StatsError(f"beliefs per option have shape {per_option.shape}: pass ({n}, options), two at least")
    width = per_option.shape[1]
    kinds = np.array(["" if kind is None else str(kind) for kind in _column(failure, n, "failure").tolist()])
    unread = np.isnan(given) | np.isnan(per_option).any(1)
    kinds = np.where(unread & (kinds == ""), UNREADABLE, kinds).astype(str)
    failed = kinds != ""
    own = _whole(width if sizes is None else sizes, n, "sizes", 2, width)
    here = np.arange(width) < own[:, None]
    per_option = np.where(failed[:, None], here / own[:, None], per_option)
    given = np.where(failed, 0.5, given)
    _believable(given, per_option, here)
    rows = EpisodeRows(
        item=_labels(item, n, "item"),
        cluster=_labels(cluster, n, "cluster"),
        seed=_whole(seed, n, "seed"),
        side=_sides(side, n),
        belief=given,
        options=per_option,
        truth=_whole(truth, n, "truth", 0, own - 1),
        sizes=own,
        failure=kinds,
        costs={name: _cost(name, cost, n) for name, cost in (costs or {}).items()},
    )
    _one_cluster_an_item(rows)
    return rows


def _column(values: Any, n: int, name: str) -> NDArray[Any]:
    """(n,): one value for all, or one a play."""
    array = np.asarray(values)
    if array.ndim == 0:
        return np.full(n, array[()])
    if array.shape != (n,):
        raise StatsError(f"{name} has shape {array.shape} for {n} plays: pass one a play")
    return array


def _labels(values: Any, n: int, name: str) -> Strings:
    array = _column(values, n, name)
    cluster_codes(array, n)  # refuses labels that are missing
    return array.astype(str)


def _whole(values: Any, n: int, name: str, low: int | None = None, high: Any = None) -> Whole:
    array = _column(values, n, name)
    whole = array.astype(np.int64) if array.dtype.kind in "iufb" else None
    if whole is None or not np.array_equal(whole, array):
        raise StatsError(f"{name} holds something else than whole numbers")
    if low is not None and ((whole < low) | (whole > high)).any():
        raise StatsError(f"{name} runs from {whole.min()} to {whole.max()}: outside the options there are")
    return whole


def _sides(values: Any, n: int) -> Strings:
    sides = _column(values, n, "side").astype(str)
    unknown = sorted(set(sides.tolist()) - set(SIDES))
    if unknown:
        raise StatsError(f"there is no side {unknown[0]!r}: use one of {', '.join(SIDES)}")
    return sides


def _cost(name: str, values: ArrayLike, n: int) -> Array:
    cost = checked(_column(values, n, f"cost {name}"), f"costs in {name}")
    if (cost < 0).any():
        raise StatsError(f"costs in {name} fall to {cost.min():g}: a cost is at least 0")
    return cost


def _believable(belief: Array, options: Array, here: NDArray[np.bool_]) -> None:
    if not ((belief >= 0) & (belief <= 1)).all():
        raise StatsError(f"beliefs from {belief.min():g} to {belief.max():g}: they lie in [0, 1]")
    if not ((options >= 0) & (options <= 1)).all() or not np.allclose(options.sum(1), 1, atol=1e-6):
        raise StatsError("beliefs per option lie in [0, 1], and each row adds up to 1")
    if (options[~here] != 0).any():
        raise StatsError("a belief lies on an option that its item does not have: see `sizes`")


def _one_cluster_an_item(rows: EpisodeRows) -> None:
    seen = dict(zip(rows.item.tolist(), rows.cluster.tolist(), strict=True))
    for item, cluster in zip(rows.item.tolist(), rows.cluster.tolist(), strict=True):
        if seen[item] != cluster:
            raise StatsError(f"item {item!r} lies in clusters {cluster!r} and {seen[item]!r}: it has one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Where the rows of several protocols stand among the K plays (item, seed) that all of them share."""

    clusters: Strings
    """(K,)"""
    places: tuple[NDArray[np.intp], ...]
    """A protocol: (n,) which of the K plays each of its rows belongs to."""

    def mean(self, which: int, values: ArrayLike, keep: NDArray[np.bool_] | None = None) -> Array:
        """(K,) mean of that protocol's `values` (n,) over the rows of a play, both sides alike; NaN where none is."""
        place, of = self.places[which], np.asarray(values, dtype=np.float64)
        if keep is not None:
            place, of = place[keep], of[keep]
        plays = len(self.clusters)
        with np.errstate(invalid="ignore"):
            mean: Array = np.bincount(place, weights=of, minlength=plays) / np.bincount(place, minlength=plays)
        return mean


def paired(protocols: Mapping[str, EpisodeRows]) -> Pairing:
    """Pair protocols, by name, on the same items and seeds.

    Raises StatsError where one lacks a play that another has (a failed play is a row too, so nothing may be missing),
    or puts an item into another cluster.

    >>> a = episode_rows(item=["q1", "q2"], cluster=["f", "g"], belief=[0.8, 0.4])
    >>> b = episode_rows(item=["q2", "q1"], cluster=["g", "f"], belief=[0.1, 0.9])
    >>> paired({"a": a, "b": b}).mean(1, b.belief).tolist()
    [0.9, 0.1]
    """
    keys = {name: list(zip(r.item.tolist(), r.seed.tolist(), strict=True)) for name, r in protocols.items()}
    first = next(iter(keys))
    index = {key: i for i, key in enumerate(dict.fromkeys(keys[first]))}
    clusters = [""] * len(index)
    for key, cluster in zip(keys[first], protocols[first].cluster.tolist(), strict=True):
        clusters[index[key]] = cluster
    places = []
    for name, own in keys.items():
        lacking = len(index) - len(index.keys() & set(own)), len(set(own) - index.keys())
        if any(lacking):
            why = f"{first} has {lacking[0]} plays (item, seed) that {name} lacks, and lacks {lacking[1]} that it has"
            raise StatsError(f"{why}: pair the same items and seeds, with failures as rows")
        place = np.array([index[key] for key in own], dtype=np.intp)
        for at, cluster in zip(place.tolist(), protocols[name].cluster.tolist(), strict=True):
            if clusters[at] != cluster:
                raise StatsError(f"{name} and {first} put an item into clusters {cluster!r} and {clusters[at]!r}")
        places.append(place)
    return Pairing(clusters=np.array(clusters), places=tuple(places))
