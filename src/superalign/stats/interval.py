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
    """A value with its confidence interval; `value` None is a refusal, and `note` says why.

    An end that is None beside a value is open: nothing bounds it on that side, and `note` says why.
    """

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


def checked_binary(x: ArrayLike, name: str = "labels") -> Array:
    """`x` as a float array of zeros and ones; StatsError when anything else is in it."""
    array = checked(x, name)
    bad = np.flatnonzero((array != 0) & (array != 1))
    if len(bad):
        raise StatsError(
            f"{len(bad)} of {len(array)} {name} are not 0 or 1, the first is {array[bad[0]]:g} at {bad[0]}"
        )
    return array


def checked_rate(x: float, name: str) -> float:
    """`x` when it lies strictly between 0 and 1, as a level, a power or a target must; else StatsError."""
    if not 0 < x < 1:
        raise StatsError(f"{name} = {x}: it must lie strictly between 0 and 1")
    return float(x)


def same_length(first: Array, second: Array, what: str) -> None:
    """StatsError when the two differ in length."""
    if len(first) != len(second):
        raise StatsError(f"{len(first)} and {len(second)} values: {what}")


def cluster_codes(clusters: Any, n: int) -> tuple[NDArray[np.intp], int]:
    """Codes 0..G-1 of n cluster labels, and G; without clusters every value is its own.

    Raises StatsError when a label is missing (None, NaN): a value of unknown cluster is not its own cluster.
    """
    if clusters is None:
        return np.arange(n), n
    labels = np.asarray(clusters)
    if labels.ndim != 1 or len(labels) != n:
        raise StatsError(f"{len(clusters)} cluster labels for {n} values: pass one label a value")
    if labels.dtype.kind in "fcO" and any(label is None or label != label for label in labels.tolist()):
        raise StatsError("a cluster label is None or NaN: name every value's cluster")
    try:
        names, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise StatsError("cluster labels of kinds that do not sort together: make them all strings") from error
    return codes, len(names)


def cluster_sums(values: Array, codes: NDArray[np.intp], groups: int) -> Array:
    """Σ of `values` (n,) over each cluster, (G,)."""
    return np.bincount(codes, weights=values, minlength=groups).astype(np.float64)
