"""The interval every number is printed with, and what is refused instead of guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class StatsError(ValueError):
    """The input of a statistic cannot be used; the message says what, where and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with its confidence interval; `value` None is a refusal, and `note` says why."""

    value: float | None
    low: float | None
    high: float | None
    level: float = 0.95
    n: int
    clusters: int
    method: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.note:
            raise StatsError("an interval without a value needs a note that says why")


def refused(why: str, *, n: int, clusters: int, method: str, level: float = 0.95) -> Interval:
    """An interval that is not given, with the reason."""
    return Interval(value=None, low=None, high=None, level=level, n=n, clusters=clusters, method=method, note=why)


def checked(x: ArrayLike, name: str = "values") -> Array:
    """`x` as a one-dimensional float array; StatsError when it has another shape, NaN or infinity."""
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 1:
        raise StatsError(f"{name} have shape {array.shape}: pass a one-dimensional array")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise StatsError(f"{bad} of {len(array)} {name} are NaN or infinite: count failures as values, never drop them")
    return array


def cluster_codes(clusters: Any, n: int) -> tuple[NDArray[np.intp], int]:
    """Codes 0..G-1 of n cluster labels, and G; without clusters every value is its own."""
    if clusters is None:
        return np.arange(n), n
    labels = np.asarray(clusters)
    if len(labels) != n:
        raise StatsError(f"{len(labels)} cluster labels for {n} values: pass one label a value")
    names, codes = np.unique(labels, return_inverse=True)
    return codes, len(names)
