"""How good are stated probabilities? Brier and logarithmic scores.

Conventions, since others differ by a factor or a sign: the Brier score is (p − y)² for one yes-or-no event (0 is best,
1 worst); `multiclass_brier` sums over classes (0 to 2, twice the first for two classes). The logarithmic score is −log₂
of the probability given to what happened, in bits (0 is best, no upper end; other bases on request). A probability of
exactly 0 for what happened costs infinitely much, and is refused unless a `floor` is stated: never clipped in silence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superalign.stats.interval import Array, Interval, StatsError, checked, checked_binary, same_length
from superalign.stats.mean import mean_interval


def brier_score(p: ArrayLike, outcome: ArrayLike, *, clusters: Any = None, level: float = 0.95) -> Interval:
    """Mean of (p − y)² over events (n,) with a clustered t interval (Brier 1950, for one event: halved).

    >>> brier_score([1.0, 0.5], [1, 0]).value
    0.125
    """
    forecast, happened = forecasts(p, outcome)
    return mean_interval((forecast - happened) ** 2, clusters=clusters, level=level)


def multiclass_brier(p: ArrayLike, outcome: ArrayLike, *, clusters: Any = None, level: float = 0.95) -> Interval:
    """Mean over items of Σ_k (p_k − 1[y = k])², p (n, classes), y (n,) class indices: Brier's own convention, 0 to 2.

    >>> multiclass_brier([[1.0, 0.0], [0.5, 0.5]], [0, 1]).value
    0.25
    """
    forecast, truth = _classes(p, outcome)
    hot = np.eye(forecast.shape[1])[truth]
    return mean_interval(((forecast - hot) ** 2).sum(1), clusters=clusters, level=level)


def multiclass_log(
    p: ArrayLike,
    outcome: ArrayLike,
    *,
    clusters: Any = None,
    level: float = 0.95,
    floor: float | None = None,
    base: float = 2.0,
) -> Interval:
    """Mean of −log P(the class that came), p (n, classes), y (n,) class indices; floor and base as in `log_score`.

    With a floor, probabilities under it are raised to it; the row is not scaled again.

    >>> multiclass_log([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], [0, 1]).value
    1.5
    """
    forecast, truth = _classes(p, outcome)
    return _logarithmic(forecast[np.arange(len(truth)), truth], clusters, level, floor, base)


def log_score(
    p: ArrayLike,
    outcome: ArrayLike,
    *,
    clusters: Any = None,
    level: float = 0.95,
    floor: float | None = None,
    base: float = 2.0,
) -> Interval:
    """Mean of −log P(what happened) over events (n,), in bits (or another `base`), with a clustered t interval.

    Raises StatsError when a probability of 0 met what happened, unless a `floor` is given: then a probability of what
    happened under it is raised to it, and the interval's note says how many were.

    >>> log_score([0.5, 0.25], [1, 0], clusters=["a", "b"]).value.__round__(3)
    0.708
    """
    forecast, happened = forecasts(p, outcome)
    return _logarithmic(np.where(happened == 1, forecast, 1 - forecast), clusters, level, floor, base)


def _logarithmic(given: Array, clusters: Any, level: float, floor: float | None, base: float) -> Interval:
    if not base > 1:
        raise StatsError(f"base = {base}: a logarithm needs a base above 1 (2 for bits, math.e for nats)")
    if floor is not None and not 0 < floor < 0.5:
        raise StatsError(f"floor = {floor}: it must lie between 0 and 0.5")
    if floor is None and (given == 0).any():
        count = int((given == 0).sum())
        raise StatsError(f"{count} things happened that were given probability 0: state a `floor`, or count them apart")
    raised = 0 if floor is None else int((given < floor).sum())
    bits = -np.log(given if floor is None else np.maximum(given, floor)) / np.log(base)
    found = mean_interval(bits, clusters=clusters, level=level)
    if not raised:
        return found
    note = f"{raised} of {len(given)} probabilities raised to the floor {floor}"
    return replace(found, note="; ".join(text for text in (found.note, note) if text))


def forecasts(p: ArrayLike, outcome: ArrayLike) -> tuple[Array, Array]:
    """Both (n,), checked: probabilities in [0, 1], outcomes 0 or 1, as many of each."""
    forecast, happened = checked(p, "probabilities"), checked_binary(outcome, "outcomes")
    same_length(forecast, happened, "pass one outcome a probability")
    if len(forecast) and (forecast.min() < 0 or forecast.max() > 1):
        raise StatsError(f"probabilities from {forecast.min():g} to {forecast.max():g}: they lie in [0, 1]")
    return forecast, happened


def _classes(p: ArrayLike, outcome: ArrayLike) -> tuple[Array, Any]:
    forecast = np.asarray(p, dtype=np.float64)
    fits = forecast.ndim == 2 and bool(np.isfinite(forecast).all()) and np.allclose(forecast.sum(-1), 1, atol=1e-6)
    if not fits or (forecast < 0).any():
        raise StatsError("probabilities need shape (n, classes), finite, none below 0, each row adding up to 1")
    truth = checked(outcome, "classes")
    whole = truth.astype(int)
    inside = (whole == truth) & (whole >= 0) & (whole < forecast.shape[1])
    if len(truth) != len(forecast) or not inside.all():
        raise StatsError(
            f"{len(truth)} classes for {len(forecast)} rows: pass one index a row, from 0 to {forecast.shape[1] - 1}"
        )
    return forecast, whole
