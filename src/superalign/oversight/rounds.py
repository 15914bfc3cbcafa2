"""Rounds of a game between a model and whoever oversees it: how far each round's number may lie off, and when it stops.

two_way(values, modules)        # mean of (seeds, items) over modules and training seeds, crossed
settled(rounds, modules)        # the first round after which nothing was seen to move
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from superalign.stats import Interval
from superalign.stats.bootstrap import drawn_counts
from superalign.stats.interval import Array, cluster_codes, refused


def settled(evasions: Sequence[Array], modules: Any, *, level: float = 0.95) -> int | None:
    """The round after which the duel counts as settled: the change held 0 in its interval in two rounds running.

    `evasions` are those before each round, (S seeds, F functions) from round 1 on; None if it never settled.
    """
    calm = 0
    for number in range(1, len(evasions)):
        change = two_way(evasions[number] - evasions[number - 1], modules, level=level)
        quiet = change.low is not None and change.high is not None and change.low <= 0 <= change.high
        calm = calm + 1 if quiet else 0
        if calm == 2:
            return number + 1
    return None


def two_way(values: Array, modules: Any, *, level: float = 0.95, seed: int = 0, draws: int = 2000) -> Interval:
    """Mean of `values` (S seeds, F functions); seeds and modules are drawn apart, with replacement, and crossed.

    The pigeonhole bootstrap (Owen 2007, Ann. Appl. Stat. 1:386), percentiles; it errs on the wide side. Functions
    without a value (NaN) in a seed are left out of both. Refuses with fewer than two seeds or modules.

    >>> two_way(np.array([[0.0, 1.0], [0.0, 1.0]]), ["a", "b"]).value
    0.5
    """
    codes, groups = cluster_codes(modules, values.shape[1])
    known = np.isfinite(values)
    name, n = "pigeonhole bootstrap", int(known.sum())
    if len(values) < 2 or groups < 2 or not n:
        why = f"{len(values)} seeds, {groups} modules, {n} values: an interval needs two of either"
        return refused(why, n=n, clusters=groups, method=name, level=level)
    sums, counts = np.zeros((len(values), groups)), np.zeros((len(values), groups))
    for s in range(len(values)):
        sums[s] = np.bincount(codes, weights=np.where(known[s], values[s], 0.0), minlength=groups)
        counts[s] = np.bincount(codes, weights=known[s].astype(float), minlength=groups)
    rng = np.random.default_rng(seed)
    rows, columns = (drawn_counts(k, rng, draws).astype(float) for k in (len(values), groups))
    top, bottom = (np.einsum("ds,sg,dg->d", rows, part, columns) for part in (sums, counts))
    found = top[bottom > 0] / bottom[bottom > 0]
    low, high = (float(end) for end in np.quantile(found, [(1 - level) / 2, (1 + level) / 2]))
    value = float(sums.sum() / counts.sum())
    return Interval(value=value, low=low, high=high, level=level, n=n, clusters=groups, method=name)
