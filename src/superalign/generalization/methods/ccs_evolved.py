"""CCS + evolution strategy: a CCS probe bred on until it is consistent, sure, and agrees with the supervisor.

Of the method there is a name, a score (.93) and pseudocode (Anthropic's automated researchers, 2026), and no code:
**this is our reading.** The probe starts as CCS leaves it and changes within the 32 leading principal directions of
contrast differences only, so that it can't learn the supervisor's single mistakes. Its fitness is

    F = agreement − L,    agreement = mean of (2y − 1)·sign(P − ½),    L as in CCS,

with y the supervisor's labels and P the probe's answers. Signs have no gradient, which is what an evolution strategy is
for: separable natural evolution (Schaul et al. 2011, SNES), rank-based, 24 candidates in mirrored twelves, 100
generations. The last mean is the student. It needs pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from superalign.generalization.lesson import Lesson, Method
from superalign.generalization.methods.ccs import ccs_loss, probe_of, side_of
from superalign.generalization.methods.ccs import fit as fit_ccs
from superalign.generalization.methods.crc import PAIRS, components
from superalign.generalization.methods.probe import ContrastProbe
from superalign.generalization.reading import probability

AXES = 32
GENERATIONS = 100
CANDIDATES = 24
SPREAD = 1.0
"""First deviation of a candidate along each axis, in deviations of the log-odds' gap that CCS leaves: so wide that what
CCS took for truth can be left behind."""


def fit(lesson: Lesson) -> ContrastProbe:
    """CCS, then the strategy. Raises ValueError for single texts."""
    began, read = fit_ccs(lesson), lesson.reading
    assert read.second is not None  # CCS refuses
    plus, minus = side_of(read.first), side_of(read.second)
    weight, offset, gap = began.first.weight, began.first.offset, plus.z - minus.z
    axes = components(gap, AXES)
    axes = axes * ((gap @ weight).std() / ((gap @ axes).std(axis=0) + 1e-6))
    moved = [(one.z @ weight + offset, (one.z @ axes).astype(np.float32)) for one in (plus, minus)]
    told = lesson.weights * (2 * lesson.labels - 1) / lesson.weights.sum()

    def fitness(steps: np.ndarray) -> np.ndarray:
        p, q = (probability(base[:, None] + along @ steps.T.astype(np.float32)) for base, along in moved)
        return np.asarray(told @ np.sign(p - q) - ccs_loss(p, q).mean(axis=0))

    step = evolved(fitness, axes.shape[1], np.random.default_rng([lesson.seed, 37]))
    return probe_of(plus, minus, weight + axes @ step, offset)


def evolved(fitness: Callable[[np.ndarray], np.ndarray], width: int, rng: np.random.Generator) -> np.ndarray:
    """(width,) the mean after all generations of SNES, from 0; `fitness` maps (candidates, width) to (candidates,)."""
    mean, spread = np.zeros(width), np.full(width, SPREAD)
    rate = (3 + np.log(width)) / (5 * np.sqrt(width))
    gain = utilities(CANDIDATES)
    for _ in range(GENERATIONS):
        half = rng.normal(size=(CANDIDATES // 2, width))
        drawn = np.concatenate([half, -half])
        best_first = drawn[np.argsort(-fitness(mean + spread * drawn), kind="stable")]
        mean = mean + spread * (gain @ best_first)
        spread = spread * np.exp(rate / 2 * (gain @ (best_first**2 - 1)))
    return mean


def utilities(count: int) -> np.ndarray:
    """(count,) what a rank is worth, best first: they sum to 0, and the worse half counts alike.

    >>> utilities(4).round(2).tolist()
    [0.48, 0.02, -0.25, -0.25]
    """
    raw = np.maximum(0.0, np.log(count / 2 + 1) - np.log(np.arange(1, count + 1)))
    return np.asarray(raw / raw.sum() - 1 / count)


CCS_EVOLVED = Method(
    name="ccs + evolution",
    title="CCS, then an evolution strategy (our reading)",
    source="Anthropic's automated researchers, 2026, pseudocode; Schaul et al. 2011, SNES",
    fit=fit,
    needs=PAIRS,
)
