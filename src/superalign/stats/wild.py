"""Wild cluster bootstrap of a mean, restricted and inverted (Cameron, Gelbach and Miller 2008; Webb 2023).

Which weights: Rademacher's ±1, every one of the 2^G sign patterns once where that is at most `draws`; Webb's six points
where there are so few clusters that 2^G patterns cannot reach the level (2^(1 − G) > 1 − level: under 6 at 95 %).
"""

from __future__ import annotations

import numpy as np

from superalign.stats.interval import Array

WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))
STEPS = 40
"""Halvings of the search for an end: 2^-40 of its width."""


def weights(groups: int, level: float, draws: int, rng: np.random.Generator) -> tuple[Array, str]:
    """Weights (draws, G) and the name of their law: drawn, or all sign patterns up to a global sign."""
    if 2.0 ** (1 - groups) > 1 - level:
        six = np.concatenate([WEBB, -WEBB]).astype(np.float64)
        drawn: Array = six[rng.integers(6, size=(draws, groups))]
        return drawn, "Webb"
    if 2 ** (groups - 1) <= draws:
        patterns = (np.arange(2 ** (groups - 1))[:, None] >> np.arange(groups)) & 1
        signs: Array = (1.0 - 2.0 * patterns).astype(np.float64)
        return signs, "Rademacher, all signs"
    tossed: Array = (rng.integers(0, 2, size=(draws, groups)) * 2.0 - 1.0).astype(np.float64)
    return tossed, "Rademacher"


def statistic(sums: Array, sizes: Array) -> Array:
    """|t| of the mean for cluster sums (..., G) of clusters of those sizes (G,)."""
    mean = sums.sum(-1) / sizes.sum()
    spread = ((sums - sizes * mean[..., None]) ** 2).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) * sizes.sum() / np.sqrt(spread * len(sizes) / (len(sizes) - 1))
    return np.where(np.isnan(t), 0.0, t)


def p_value(centre: float, sums: Array, sizes: Array, drawn: Array) -> float:
    """Share of draws whose |t|, under the hypothesis that the mean is `centre`, is at least the observed one."""
    away = sums - sizes * centre
    # patterns and their ties with the data are the same number but for rounding
    return float((statistic(drawn * away, sizes) >= statistic(away, sizes) * (1 - 1e-9)).mean())


def ends(sums: Array, sizes: Array, drawn: Array, level: float) -> tuple[float, float] | None:
    """The lowest and highest mean that the test at 1 − level does not reject; None where an end is nowhere."""
    mean = float(sums.sum() / sizes.sum())
    error = float(np.sqrt(((sums - sizes * mean) ** 2).sum() * len(sizes) / (len(sizes) - 1)) / sizes.sum())
    found = []
    for side in (-1, 1):
        inside, outside = 0.0, 4.0
        while p_value(mean + side * outside * error, sums, sizes, drawn) > 1 - level:
            inside, outside = outside, 2 * outside
            if outside > 1e6:
                return None
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            if p_value(mean + side * middle * error, sums, sizes, drawn) > 1 - level:
                inside = middle
            else:
                outside = middle
        found.append(mean + side * outside * error)
    return found[0], found[1]
