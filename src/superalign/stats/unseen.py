"""What could still differ where nothing was seen to: a share of clustered items that was met nowhere, bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from superalign.stats.interval import StatsError, checked, checked_rate, cluster_codes
from superalign.stats.power import intraclass_correlation


def none_met(sizes: ArrayLike, share: float, icc: float) -> float:
    """The largest chance that clusters of these sizes (G,) hold no item of a kind that makes up `share` of all items.

    Clusters' own shares s may follow any law, the same for all sizes k, of that mean and at most that correlation
    within clusters. Π E(1 − s)^k is then largest where some clusters hold none and all others s = share + icc(1 −
    share): for every k the same law, the lower principal representation of both moments (Karlin and Studden 1966,
    Tchebycheff Systems). icc = 1 gives (1 − share)^G: Clopper and Pearson's bound for none of G clusters, the rule of
    three (Hanley and Lippman-Hand 1983, JAMA 249:1743); icc = 0 gives (1 − share)^n. Raises StatsError outside [0, 1].

    >>> [round(none_met([20] * 50, 0.01, icc), 3) for icc in (0.0, 0.1, 1.0)]
    [0.0, 0.013, 0.605]
    """
    k = checked(sizes, "cluster sizes")
    if not (0 <= share <= 1 and 0 <= icc <= 1 and len(k) and k.min() >= 1):
        raise StatsError(f"share = {share}, icc = {icc}, {len(k)} clusters: both lie in [0, 1], sizes are at least 1")
    held = share + icc * (1 - share)
    holding = share / held if held > 0 else 0.0
    return float(np.prod(1 - holding * (1 - (1 - held) ** k)))


def icc_at_most(x: ArrayLike, clusters: Any, *, level: float = 0.95) -> float:
    """Upper end of the correlation of `x` (n,) within clusters, one-sided, in [0, 1]; 1 where nothing tells it.

    By F of the analysis of variance with the usual mean size of unequal clusters (Donner 1986, Int. Stat. Rev. 54:67):
    normal theory, a rough end for zeros and ones. Nothing tells it where all values are the same or each is a cluster
    of its own. Raises StatsError with fewer than two clusters.

    >>> round(icc_at_most([0.0, 1.0] * 100, [i // 10 for i in range(200)]), 3)
    0.0
    """
    values = checked(x)
    codes, groups = cluster_codes(clusters, len(values))
    if groups < 2:
        raise StatsError(f"{groups} clusters: a correlation within clusters needs two")
    n = len(values)
    if groups == n or np.ptp(values) == 0:
        return 1.0
    usual = (n - float((np.bincount(codes).astype(np.float64) ** 2).sum()) / n) / (groups - 1)
    found = intraclass_correlation(values, codes)
    if found >= 1:
        return 1.0
    ratio = (1 + (usual - 1) * found) / (1 - found)
    most = ratio / float(scipy_stats.f.ppf(1 - checked_rate(level, "level"), groups - 1, n - groups)) - 1
    return float(min(1.0, max(0.0, most / (most + usual)))) if most > 0 else 0.0
