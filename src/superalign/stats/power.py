"""Power: what a sample can show (Fleiss, Levin and Paik 2003, §4.2; Miller 2411.00640, §5)."""

from __future__ import annotations

from scipy import optimize
from scipy import stats as scipy_stats

from superalign.stats.interval import StatsError


def mde_two_proportions(p: float, n: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """The smallest rise above `p` that two independent samples of `n` each show with that power, two-sided.

    Solves δ = z₁₋α/₂ √(2 p̄ q̄ / n) + z_power √((p q + (p + δ)(q − δ)) / n), p̄ the mean of both rates. Where even a
    rise to 1 would not show, 1 − p. Raises StatsError outside 0 ≤ p ≤ 1, n ≥ 1, 0 < power, level < 1.

    >>> [round(mde_two_proportions(0.6, n), 3) for n in (200, 600, 1000)]
    [0.132, 0.078, 0.06]
    """
    if not (0 <= p <= 1 and n >= 1 and 0 < power < 1 and 0 < level < 1):
        raise StatsError(f"p = {p}, n = {n}, power = {power}, level = {level}: rates lie in [0, 1] and n is at least 1")
    outer, inner = scipy_stats.norm.ppf(0.5 + level / 2), scipy_stats.norm.ppf(power)

    def short(delta: float) -> float:
        q = p + delta
        mean = (p + q) / 2
        pooled, own = 2 * mean * (1 - mean) / n, (p * (1 - p) + q * (1 - q)) / n
        return float(delta - outer * pooled**0.5 - inner * max(own, 0.0) ** 0.5)

    if p >= 1 or short(1 - p) <= 0:
        return 1 - p
    return float(optimize.brentq(short, 1e-12, 1 - p, xtol=1e-12))
