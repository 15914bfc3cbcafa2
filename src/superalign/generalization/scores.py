"""From raw answers to everything that is printed of a student, each with its interval. numpy and scipy alone.

found = figures(Graded(truth=..., clusters=..., floor=..., ceiling=..., student=...), curve={50: ..., 200: ...})
found["pgr"].value, found["inherited"].low          # keys are the names under which they are measured
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from superalign.generalization.graded import Graded, accuracy, area, area_parts, two_classes
from superalign.generalization.inheritance import inheritance
from superalign.generalization.worth import worth
from superalign.stats import pgr, recovered
from superalign.stats.interval import Interval

NAMES = (
    "accuracy",
    "pgr",
    "pgr, Fieller",
    "pgr fixed",
    "auc",
    "pgr auc",
    "worth",
    "inherited",
    "inherited, ceiling",
    "new errors",
    "new errors, ceiling",
    "phi",
    "phi, independent",
    "untrained",
    "untrained pgr",
)
"""Of the figures, in their order; the last three and "worth" are there where what they need was given."""


def figures(
    graded: Graded,
    *,
    curve: Mapping[int, np.ndarray] | None = None,
    untrained: np.ndarray | None = None,
    independent: np.ndarray | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> Mapping[str, Interval]:
    """Everything that is printed of one student; a refusal is an interval too, and says why.

    `curve`: number of true labels k → correctness (seeds, n) of the strong model fitted on k of them, for "worth".
    `untrained`: (k, n) log-odds of the same method on a strong model that was never trained, of the first k seeds; its
    PGR is against the trained bounds: how much of the gap comes back without what pretraining knows.
    `independent`: (seeds, n) log-odds of a supervisor that the student never had; by default that of another seed.
    """
    floor, student, ceiling = (list(side) for side in graded.sides)
    codes, seeds = graded.codes, len(floor)
    gap = recovered(floor, student, ceiling, clusters=[codes] * seeds, level=level, seed=seed, draws=draws)
    found = {
        "accuracy": accuracy(graded.student, graded.truth, codes, level=level),
        "pgr": gap.value,
        "pgr, Fieller": gap.fieller,
        "pgr fixed": pgr_fixed(graded, level=level, seed=seed, draws=draws),
        "auc": area(graded.student, graded.truth, codes, level=level),
        "pgr auc": pgr_area(graded, level=level, seed=seed, draws=draws),
        **inheritance(graded, independent=independent, level=level),
    }
    if curve is not None:
        found["worth"] = worth(np.stack(student), curve, codes, level=level, seed=seed)
    if untrained is not None:
        other = graded.of(untrained)
        found["untrained"] = accuracy(untrained, graded.truth, codes, level=level)
        found["untrained pgr"] = pgr(
            *(list(side) for side in other.sides),
            clusters=[codes] * len(untrained),
            level=level,
            seed=seed,
            draws=draws,
        )
    return MappingProxyType({name: found[name] for name in NAMES if name in found})


def pgr_fixed(graded: Graded, *, level: float = 0.95, seed: int = 0, draws: int = 2000) -> Interval:
    """PGR against floor and ceiling averaged over all seeds: how seeds move the denominator is taken out of it.

    It speaks of students under these very bounds, as fixed baselines do; the items' noise in both bounds stays in.
    """
    floor, student, ceiling = graded.sides
    seeds = len(floor)
    found = pgr(
        [floor.mean(0)] * seeds,
        list(student),
        [ceiling.mean(0)] * seeds,
        clusters=[graded.codes] * seeds,
        level=level,
        seed=seed,
        draws=draws,
    )
    return replace(found, method=f"{found.method}, bounds fixed over {seeds} seeds")


def pgr_area(graded: Graded, *, level: float = 0.95, seed: int = 0, draws: int = 2000) -> Interval:
    """PGR of areas under the ROC curve instead of accuracies: no threshold is in it. Refuses as `stats.pgr` does."""
    if not two_classes(graded.truth):
        return area(graded.student, graded.truth, graded.codes, level=level)
    sides = [list(area_parts(x, graded.truth)) for x in (graded.floor, graded.student, graded.ceiling)]
    clusters = [graded.codes] * len(graded.floor)
    found = pgr(*sides, clusters=clusters, level=level, seed=seed, draws=draws)
    return replace(found, method=f"{found.method} of AUROC placements")
