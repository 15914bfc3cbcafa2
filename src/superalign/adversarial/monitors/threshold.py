"""Flagging at a stated rate of false alarms, by honest scores alone.

    flag_chance(honest, scores, fpr=0.01)       # (scores,): 0, 1, or between where scores tie

A step is flagged with the chance that makes a *new* honest step be flagged at exactly the stated rate, ties broken at
random: clip((α(n + 1) − above) / (tied + 1), 0, 1), where `above` and `tied` count the n honest scores above and at its
own (smoothed conformal p-value: Vovk, Gammerman and Shafer 2005, §2.3). A threshold by a percentile and a strict `>`
lets whole tied bins pass, and on few scores more false alarms than it states.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def flag_chance(honest: np.ndarray, scores: np.ndarray, *, fpr: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Chance that each of `scores` is flagged, so that a new honest one is at the rate `fpr`.

    `weights` (honest,) say how often each honest score counts. Without honest scores, everything is flagged at the
    stated rate: nothing is known.

    >>> flag_chance(np.zeros(99), np.array([0.0, 1.0]), fpr=0.01)
    array([0.01, 1.  ])
    """
    order = np.argsort(honest, kind="stable")
    return ordered_chance(honest[order], None if weights is None else weights[order], scores, fpr)


def ordered_chance(ordered: np.ndarray, weights: np.ndarray | None, scores: np.ndarray, fpr: float) -> np.ndarray:
    """`flag_chance` for honest scores in ascending order."""
    below = np.concatenate([[0.0], np.cumsum(np.ones(len(ordered)) if weights is None else weights)])
    left, right = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    above, tied = below[-1] - below[right], below[right] - below[left]
    chance: np.ndarray = np.clip((fpr * (below[-1] + 1) - above) / (tied + 1), 0.0, 1.0)
    return chance


def threshold_of(honest: np.ndarray, fpr: float) -> float | None:
    """The honest score above which everything is surely flagged, and not everything at it; None: there is none."""
    levels = np.unique(honest)[::-1]
    allowed = fpr * (len(honest) + 1)
    for level in levels:  # the lowest honest score above which everything is surely flagged
        if (honest >= level).sum() > allowed - 1:
            return float(level) if (honest > level).sum() <= allowed - 1 else None
    return None


def roc_points(honest: np.ndarray, attacks: np.ndarray, most: int = 200) -> tuple[tuple[float, float], ...]:
    """(false alarms, hits) wherever the curve turns, `most` at most; empty where a class is."""
    if not len(honest) or not len(attacks):
        return ()
    levels = np.unique(np.concatenate([honest, attacks]))[::-1]
    points = [(0.0, 0.0), *((float((honest >= at).mean()), float((attacks >= at).mean())) for at in levels)]
    inner = (points[i] for i in range(1, len(points) - 1) if not _straight(points[i - 1 : i + 2]))
    kept = [points[0], *inner, points[-1]]
    chosen = sorted(set(np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int).tolist()))
    return tuple(kept[i] for i in chosen)


def _straight(three: Sequence[tuple[float, float]]) -> bool:
    """Does the middle point go on as the one before came: along one axis?"""
    (a, b), (c, d), (e, f) = three
    return bool(a == c == e or b == d == f)
