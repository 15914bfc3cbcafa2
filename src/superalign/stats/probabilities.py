"""How good are stated probabilities? Brier and logarithmic scores, and the expected calibration error.

Conventions, since others differ by a factor or a sign: the Brier score is (p − y)² for one yes-or-no event (0 is best,
1 worst; `multiclass_brier` sums over classes: 0 to 2); the logarithmic score is −log₂ of the probability given to what
happened, in bits (0 is best, no upper end). A probability of exactly 0 for what happened costs infinitely much, and is
refused unless a `floor` is stated: it is never clipped in silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.bootstrap import bootstrap_interval
from superalign.stats.interval import (
    Array,
    Interval,
    StatsError,
    checked,
    checked_binary,
    cluster_codes,
    refused,
    same_length,
)
from superalign.stats.mean import mean_interval


def brier_score(p: ArrayLike, outcome: ArrayLike, *, clusters: Any = None, level: float = 0.95) -> Interval:
    """Mean of (p − y)² over events (n,) with a clustered t interval (Brier 1950, for one event: halved).

    >>> brier_score([1.0, 0.5], [1, 0]).value
    0.125
    """
    forecast, happened = _forecast(p, outcome)
    return mean_interval((forecast - happened) ** 2, clusters=clusters, level=level)


def multiclass_brier(p: ArrayLike, outcome: ArrayLike, *, clusters: Any = None, level: float = 0.95) -> Interval:
    """Mean over items of Σ_k (p_k − 1[y = k])², p (n, classes), y (n,) class indices: Brier's own convention, 0 to 2.

    >>> multiclass_brier([[1.0, 0.0], [0.5, 0.5]], [0, 1]).value
    0.25
    """
    forecast = np.asarray(p, dtype=np.float64)
    if forecast.ndim != 2 or not np.isfinite(forecast).all() or not np.allclose(forecast.sum(1), 1, atol=1e-6):
        raise StatsError("probabilities of classes need shape (n, classes), finite, each row adding up to 1")
    truth = checked(outcome, "classes").astype(int)
    if len(truth) != len(forecast) or (len(truth) and not (truth.min() >= 0 and truth.max() < forecast.shape[1])):
        raise StatsError(
            f"{len(truth)} classes for {len(forecast)} rows: pass one index a row, below {forecast.shape[1]}"
        )
    hot = np.eye(forecast.shape[1])[truth]
    return mean_interval(((forecast - hot) ** 2).sum(1), clusters=clusters, level=level)


def log_score(
    p: ArrayLike, outcome: ArrayLike, *, clusters: Any = None, level: float = 0.95, floor: float | None = None
) -> Interval:
    """Mean of −log₂ P(what happened) over events (n,), in bits, with a clustered t interval.

    Raises StatsError when a probability of 0 met what happened, unless a `floor` is given: then every probability is
    first moved into [floor, 1 − floor], and the interval's note says how many were.

    >>> log_score([0.5, 0.25], [1, 0], clusters=["a", "b"]).value.__round__(3)
    0.708
    """
    forecast, happened = _forecast(p, outcome)
    note = ""
    if floor is not None:
        if not 0 < floor < 0.5:
            raise StatsError(f"floor = {floor}: it must lie between 0 and 0.5")
        moved = int(((forecast < floor) | (forecast > 1 - floor)).sum())
        forecast = np.clip(forecast, floor, 1 - floor)
        note = f"{moved} of {len(forecast)} probabilities moved to {floor} from the ends"
    given = np.where(happened == 1, forecast, 1 - forecast)
    if (given == 0).any():
        count = int((given == 0).sum())
        raise StatsError(f"{count} things happened that were given probability 0: state a `floor`, or count them apart")
    found = mean_interval(-np.log2(given), clusters=clusters, level=level)
    return found if not note else _with_note(found, note)


def calibration_error(
    p: ArrayLike,
    outcome: ArrayLike,
    *,
    bins: int = 10,
    debiased: bool = True,
    clusters: Any = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """Expected calibration error of binary events over `bins` of equal mass, clustered.

    Plain: Σ_b n_b/n |mean p − mean y|. It is biased upwards, the more the fewer items a bin holds, and so is its
    cluster-bootstrap interval. `debiased` takes the root-mean-square form without that part (Kumar, Liang and Ma 2019,
    1909.10155, §4); its interval is a cluster jackknife's t on the square, which is smooth, and then the root.
    Items that share a probability share a bin. Raises StatsError with fewer items than twice the bins.

    >>> round(calibration_error([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1], bins=2, debiased=False, draws=50).value, 3)
    0.0
    """
    forecast, happened = _forecast(p, outcome)
    n = len(forecast)
    if bins < 1 or n < 2 * bins:
        raise StatsError(f"{n} items in {bins} bins: a bin needs two items at least")
    codes = _binned(forecast, bins)
    if debiased:
        return _jackknifed(forecast, happened, codes, clusters, level)

    def statistic(rows: Any) -> float:
        return _plain(forecast[rows], happened[rows], codes[rows])

    return bootstrap_interval(statistic, n, clusters=clusters, method="percentile", level=level, seed=seed, draws=draws)


def _jackknifed(p: Array, y: Array, bins: Any, clusters: Any, level: float) -> Interval:
    codes, groups = cluster_codes(clusters, len(p))
    name = "cluster jackknife of the square, t"
    if groups < 2:
        return refused(f"{groups} clusters: an interval needs two", n=len(p), clusters=groups, method=name, level=level)
    square, most = _square(p, y, bins), min(groups, 400)
    parts = codes if most == groups else codes % most  # many clusters: jackknifed in that many blocks
    without = np.array([_square(p[parts != g], y[parts != g], bins[parts != g]) for g in range(most)])
    error = float(np.sqrt((most - 1) / most * ((without - without.mean()) ** 2).sum()))
    half = float(scipy_stats.t.ppf(0.5 + level / 2, most - 1)) * error
    value, low, high = (float(np.sqrt(max(x, 0.0))) for x in (square, square - half, square + half))
    return Interval(value=value, low=low, high=high, level=level, n=len(p), clusters=groups, method=name)


def _binned(p: Array, bins: int) -> Any:
    """Bin of each item: equal mass, ties together."""
    order = np.sort(p)
    edges = order[np.linspace(0, len(p) - 1, bins + 1)[1:-1].round().astype(int)]
    return np.searchsorted(np.unique(edges), p, side="right")


def _by_bin(p: Array, y: Array, bins: Any) -> tuple[Array, Array, Array]:
    counts = np.bincount(bins).astype(np.float64)
    keep = counts > 0
    mean_p, mean_y = (np.bincount(bins, weights=x)[keep] / counts[keep] for x in (p, y))
    return counts[keep], mean_p, mean_y


def _plain(p: Array, y: Array, bins: Any) -> float:
    counts, mean_p, mean_y = _by_bin(p, y, bins)
    return float((counts * np.abs(mean_p - mean_y)).sum() / counts.sum())


def _square(p: Array, y: Array, bins: Any) -> float:
    """Mean squared gap without the part that noise in the bins adds; it may be negative."""
    counts, mean_p, mean_y = _by_bin(p, y, bins)
    noise = mean_y * (1 - mean_y) / np.maximum(counts - 1, 1)
    return float((counts * ((mean_p - mean_y) ** 2 - noise)).sum() / counts.sum())


def _forecast(p: ArrayLike, outcome: ArrayLike) -> tuple[Array, Array]:
    forecast, happened = checked(p, "probabilities"), checked_binary(outcome, "outcomes")
    same_length(forecast, happened, "pass one outcome a probability")
    if len(forecast) and (forecast.min() < 0 or forecast.max() > 1):
        raise StatsError(f"probabilities from {forecast.min():g} to {forecast.max():g}: they lie in [0, 1]")
    return forecast, happened


def _with_note(found: Interval, note: str) -> Interval:
    from dataclasses import replace

    return replace(found, note="; ".join(text for text in (found.note, note) if text))
