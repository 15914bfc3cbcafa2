"""Do adviser and judge err alike? And does anything tell beforehand where a protocol errs?

Where their errors agree beyond chance, the judge is blind where it needs to see (Goel et al. 2502.04313).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superalign.oversight.linear import linearised
from superalign.oversight.rows import EpisodeRows
from superalign.oversight.scores import correct
from superalign.stats import StatsError, auroc
from superalign.stats.interval import Array, Interval, checked, cluster_codes, refused, same_length


def capa(
    first: ArrayLike,
    second: ArrayLike,
    truth: ArrayLike,
    *,
    sizes: Any = None,
    clusters: Any = None,
    level: float = 0.95,
) -> Interval:
    """Chance-adjusted probabilistic agreement κ_p of two beliefs (n, k), truth (n,) the true column (2502.04313, §2.2).

    κ_p = (c_obs − c_exp)/(1 − c_exp), c_obs = mean Σ_a p(a) q(a), and c_exp = p̄ q̄ + (1 − p̄)(1 − q̄) · mean 1/(k − 1),
    with p̄, q̄ the mean belief on the truth and k an item's own number of options (`sizes`; columns beyond hold 0).
    From −1 to 1; 0 where errors are independent. Linearised interval, clustered. Refuses where neither ever errs.

    >>> p, q = [[0.8, 0.2], [0.4, 0.6]], [[0.8, 0.2], [0.4, 0.6]]
    >>> round(capa(p, q, [0, 0]).value, 3)
    0.167
    """
    p, q = _beliefs(first), _beliefs(second)
    if p.shape != q.shape:
        raise StatsError(f"beliefs of shapes {p.shape} and {q.shape}: both see the same items and options")
    n, width = p.shape
    column = np.asarray(truth)
    if column.shape != (n,) or column.dtype.kind not in "iu" or column.min() < 0 or column.max() >= width:
        raise StatsError(f"truth: pass the true column of each of {n} items, from 0 to {width - 1}")
    own = np.broadcast_to(np.asarray(width if sizes is None else sizes), (n,))
    if (own < 2).any() or (own > width).any():
        raise StatsError(f"sizes run from {own.min()} to {own.max()}: an item has 2 to {width} options")
    at = np.arange(n)
    return _kappa((p * q).sum(1), p[at, column], q[at, column], 1 / (own - 1), clusters, level)


def error_kappa(first: ArrayLike, second: ArrayLike, *, clusters: Any = None, level: float = 0.95) -> Interval:
    """Cohen's κ of who errs where, of two answers right (1) or wrong (0) (n,): error consistency (Geirhos et al. 2020).

    c_obs: both right or both wrong; c_exp from the two accuracies. Two that are wrong in different ways still agree
    here: see `capa`. Ties (½) count as a coin. Refuses where neither ever errs, or both always do.

    >>> error_kappa([1, 1, 0, 0], [1, 1, 0, 1]).value
    0.5
    """
    a, b = checked(first, "first answers"), checked(second, "second answers")
    same_length(a, b, "both answer the same items")
    if len(a) == 0 or min(a.min(), b.min()) < 0 or max(a.max(), b.max()) > 1:
        raise StatsError("answers lie between 0 (wrong) and 1 (right), and there is at least one")
    return _kappa(a * b + (1 - a) * (1 - b), a, b, np.ones(len(a)), clusters, level)


def _kappa(seen: Array, p: Array, q: Array, share: Array, clusters: Any, level: float) -> Interval:
    """(o − e)/(1 − e) for o = mean `seen`, e = p̄ q̄ + (1 − p̄)(1 − q̄) · mean `share`, each (n,)."""
    o, mean_p, mean_q, mean_share = (float(x.mean()) for x in (seen, p, q, share))
    missed = (1 - mean_p) * (1 - mean_q)
    e = mean_p * mean_q + missed * mean_share
    if 1 - e < 1e-12:
        groups = cluster_codes(clusters, len(p))[1]
        why = "chance alone agrees everywhere: no errors to compare"
        return refused(why, n=len(p), clusters=groups, method="linearised", level=level)
    value = (o - e) / (1 - e)
    by_chance = (
        (mean_q - mean_share * (1 - mean_q)) * (p - mean_p)
        + (mean_p - mean_share * (1 - mean_p)) * (q - mean_q)
        + missed * (share - mean_share)
    )
    away = (seen - o) / (1 - e) - (1 - o) / (1 - e) ** 2 * by_chance
    return linearised(value, away, clusters, level=level, least=-1.0, most=1.0)


def disagreement(first: ArrayLike, second: ArrayLike) -> Array:
    """(n,) total variation ½ Σ_a |p(a) − q(a)| between two beliefs (n, k): 0 alike, 1 apart.

    >>> disagreement([[0.9, 0.1]], [[0.4, 0.6]]).tolist()
    [0.5]
    """
    p, q = _beliefs(first), _beliefs(second)
    if p.shape != q.shape:
        raise StatsError(f"beliefs of shapes {p.shape} and {q.shape}: both see the same items and options")
    return np.asarray(np.abs(p - q).sum(1) / 2)


def judge_entropy(belief: ArrayLike) -> Array:
    """(n,) −Σ_a p(a) log₂ p(a) in bits of beliefs (n, k): how unsure the judge says it is.

    >>> judge_entropy([[0.5, 0.5], [1.0, 0.0]]).tolist()
    [1.0, 0.0]
    """
    p = _beliefs(belief)
    return np.asarray(np.abs(p * np.log2(np.where(p > 0, p, 1.0))).sum(1))


def errors(rows: EpisodeRows) -> Array:
    """(n,) 1 where the judge was not right: p ≤ ½, or it failed. A tie is no success where errors are to be foretold.

    >>> from superalign.oversight.rows import episode_rows
    >>> errors(episode_rows(item=["a", "b"], cluster=["a", "b"], belief=[0.5, 0.7])).tolist()
    [1.0, 0.0]
    """
    return np.asarray(correct(rows) < 1, dtype=np.float64)


def error_predictors(
    wrong: ArrayLike, predictors: Mapping[str, ArrayLike], *, clusters: Any = None, level: float = 0.95
) -> dict[str, Interval]:
    """AUROC of each predictor (n,), higher where an error is expected, for errors (n,) of 1 and 0; ties half.

    Such as `disagreement`, `judge_entropy`, or the share of a play's claims that failed verification. Refused where
    the judge always, or never, errs; StatsError for NaN: a play without the predictor still needs a value.

    >>> error_predictors([0, 1, 0, 1], {"entropy": [0.1, 0.9, 0.4, 0.4]})["entropy"].value
    0.875
    """
    return {name: auroc(values, wrong, clusters=clusters, level=level) for name, values in predictors.items()}


def _beliefs(belief: ArrayLike) -> Array:
    p = np.asarray(belief, dtype=np.float64)
    fine = p.ndim == 2 and len(p) > 0 and p.shape[1] > 1 and bool(np.isfinite(p).all()) and bool((p >= 0).all())
    if not fine or not np.allclose(p.sum(1), 1, atol=1e-6):
        raise StatsError("beliefs need shape (n, options), two options at least, none below 0, rows adding up to 1")
    return p
