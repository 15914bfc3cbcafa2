"""Linear erasure of a concept: the smallest change after which no linear head can tell it (LEACE).

Belrose et al. 2023, 2306.03819, Theorem 4.3: r(x) = x − W⁺ P W (x − μ), with W whitening x and P the projection on the
columns of W·Σ_xz. It is closed form; the published package brings torch for these lines, and auditors have numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TINY = 1e-7
"""Directions with less than this share of the largest variance count as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eraser:
    """x → x − (x − centre) @ across @ along: d features, k directions."""

    centre: np.ndarray
    """(d,)"""
    across: np.ndarray
    """(d, k)"""
    along: np.ndarray
    """(k, d)"""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d) features without the concept, in the precision of `x`."""
        return np.asarray(x - (x - self.centre) @ self.across @ self.along, dtype=x.dtype)


def fit_eraser(x: np.ndarray, concept: np.ndarray) -> Eraser:
    """The eraser of `concept` from features `x` (n, d): numbers (n,) or (n, k), such as 0/1 or one-hot classes.

    Raises ValueError for unequal lengths, NaN, or a concept that is the same everywhere.

    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    >>> fit_eraser(x, x[:, 0])(x)[:, 0].tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    if len(x) != len(concept) or not len(x):
        raise ValueError(f"{len(x)} rows of features and {len(concept)} of the concept: bring one of each a text")
    z = np.asarray(concept, dtype=np.float64).reshape(len(concept), -1)
    if not (np.isfinite(x).all() and np.isfinite(z).all()):
        raise ValueError("features or concept hold NaN or infinity: nothing can be erased")
    if not np.ptp(z, axis=0).any():
        raise ValueError(f"the concept is the same in all {len(z)} rows: there is nothing to erase")
    wide = np.asarray(x, dtype=np.float64)
    centre = wide.mean(axis=0)
    wide, z = wide - centre, z - z.mean(axis=0)
    sizes, axes = np.linalg.eigh(wide.T @ wide / len(wide))
    held = sizes > TINY * max(sizes[-1], TINY)
    root, axes = np.sqrt(sizes[held]), axes[:, held]
    left, strength, _ = np.linalg.svd((axes / root).T @ (wide.T @ z) / len(wide), full_matrices=False)
    told = left[:, strength > TINY * max(strength.max(initial=0.0), TINY)]
    return Eraser(centre=centre, across=(axes / root) @ told, along=(axes * root @ told).T)
