"""Families of explanations by name, and which of them is shown of a unit. numpy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNIGRAM, TRIGRAM, CONTEXT = "unigram", "trigram", "trigram+context"
RULES, REFINED, DESCRIBED = "rules", "refined", "described"
READABLE = ("top-5", RULES, REFINED, "trees", "modes", "compiled", "patterns", DESCRIBED)
"""Families that tell a unit in few words: one of them is shown."""
PRICE = 1e-4
"""Share of a unit's variance, on dev, that a bit of explanation has to bring, as in refinement."""


def chosen(names: Sequence[str], r: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """(units,) number of the readable family with the largest share of variance on dev, less PRICE a bit.

    `r` and `bits` are (families, units); what has no r is taken last.

    >>> chosen(["unigram", "rules", "trees"], np.array([[0.9], [0.5], [0.6]]), np.array([[9e3], [50], [2000]])).tolist()
    [1]
    """
    worth = np.where(np.isfinite(r), np.sign(r) * r**2, -np.inf) - PRICE * bits
    readable = np.array([name in READABLE for name in names])
    best: np.ndarray = np.where(readable[:, None], worth, -np.inf).argmax(0)
    fallback = int(np.flatnonzero(readable)[0]) if readable.any() else 0
    return np.where(np.isfinite(worth[best, np.arange(r.shape[1])]) & readable[best], best, fallback)
