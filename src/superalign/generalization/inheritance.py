"""Whose mistakes are a student's? Those of its supervisor, new ones, and those that everybody makes.

An error rate among the supervisor's errors says little alone: hard questions are hard for all. So each rate stands
beside the ceiling's own, which never met the supervisor, and the correlation of errors beside that with a supervisor
that the student never had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from superalign.generalization.graded import Graded, mean_over
from superalign.generalization.material import score
from superalign.stats.interval import Array, Interval, cluster_codes, refused


def inheritance(
    graded: Graded, *, independent: np.ndarray | None = None, level: float = 0.95
) -> Mapping[str, Interval]:
    """How errors go from supervisor to student, with their baselines; all over seeds and clusters.

    "inherited": P(student wrong | supervisor wrong); "new errors": P(student wrong | supervisor right); both with
    ", ceiling" for the ceiling's own rate. "phi": correlation of student's and supervisor's errors; "phi, independent":
    with the errors of `independent` (seeds, n) log-odds, by default those of the supervisor of another seed, which
    learned from another half. Ties count half an error. Refuses where nobody errs.
    """
    floor, student, ceiling = (1 - side for side in graded.sides)
    codes, found = graded.codes, dict[str, Interval]()
    for name, given, word in (("inherited", floor, "wrong"), ("new errors", 1 - floor, "right")):
        why = f"the supervisor is never {word} here"
        found[name] = rate_among(student, given, codes, why, level=level)
        found[f"{name}, ceiling"] = rate_among(ceiling, given, codes, why, level=level)
    found["phi"] = error_phi(student, floor, codes, level=level)
    if independent is not None:
        found["phi, independent"] = error_phi(student, 1 - score(independent, graded.truth), codes, level=level)
    elif len(floor) > 1:
        found["phi, independent"] = error_phi(student, np.roll(floor, 1, axis=0), codes, level=level)
    else:
        why = "one seed: a supervisor that the student never had needs a second"
        found["phi, independent"] = refused(why, n=len(codes), clusters=int(codes.max()) + 1, method="phi", level=level)
    return MappingProxyType(found)


def rate_among(
    event: np.ndarray, given: np.ndarray, clusters: np.ndarray, why: str, *, level: float = 0.95
) -> Interval:
    """Σ event·given / Σ given of shares (seeds, n), linearised, t over seeds and clusters, inside [0, 1].

    Refuses, with `why`, where nothing is given.

    >>> wrong, weak = np.array([[1.0, 0, 1, 0] * 9]), np.array([[1.0, 1, 1, 0] * 9])
    >>> round(rate_among(wrong, weak, np.arange(36), "never wrong").value, 3)
    0.667
    """
    event, given = np.atleast_2d(event), np.atleast_2d(given)
    name = "ratio, linearised, t over seeds and clusters"
    if given.sum() == 0:
        groups = cluster_codes(clusters, given.shape[1])[1]
        return refused(why, n=given.shape[1], clusters=groups, method=name, level=level)
    value = float((event * given).sum() / given.sum())
    parts = value + given * (event - value) / given.mean()
    return replace(mean_over(parts, clusters, level=level, least=0.0, most=1.0).interval, method=name)


def error_phi(first: np.ndarray, second: np.ndarray, clusters: np.ndarray, *, level: float = 0.95) -> Interval:
    """Correlation of two sets of errors (seeds, n), mean over seeds, with an interval over seeds and clusters.

    Refuses where either has the same share of an error on every item of a seed.

    >>> wrong = np.array([[1.0, 0, 1, 0] * 9])
    >>> round(error_phi(wrong, wrong, np.arange(36)).value, 3)
    1.0
    """
    a, b = np.atleast_2d(first), np.atleast_2d(second)
    flat = [i for i in range(len(a)) if np.ptp(a[i]) == 0 or np.ptp(b[i]) == 0]
    if flat:
        why = f"in seed {flat[0]} one of the two errs everywhere or nowhere: no correlation"
        groups = cluster_codes(clusters, a.shape[1])[1]
        return refused(why, n=a.shape[1], clusters=groups, method="phi", level=level)
    found = mean_over(phi_parts(a, b), clusters, level=level, least=-1.0, most=1.0).interval
    return replace(found, method="phi, t over seeds and clusters")


def phi_parts(a: np.ndarray, b: np.ndarray) -> Array:
    """Each item's part of the correlation of a and b (seeds, n); a row's mean is its correlation r.

    r + z_a·z_b − r/2·(z_a² + z_b²), the infinitesimal jackknife's pseudo-values. Both must vary in each row.
    """
    za, zb = ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in (a, b))
    r = (za * zb).mean(1, keepdims=True)
    parts: Array = r + za * zb - r / 2 * (za**2 + zb**2)
    return parts
