"""Several things that one unit does: its exemplars, clustered by what stands there, and one rule for each cluster.

    found, medoids = modes(sample, top_windows(sample, 20))
    found.explanation(7).text                         # "fires on `(` and after `len`; fires on `import`"

Exemplars are alike if the same tokens stand at the same steps back, the place itself counting most. Clusters come from
average linkage. A mode's rule is what all of it shares: at each step back the tokens that stand there in its
exemplars, where they are few.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster import hierarchy

from superalign.interpretability.explanation import Sample
from superalign.interpretability.patterns import REACH, Pattern, Patterns
from superalign.interpretability.windows import Windows

WEIGHTS = 0.6 ** np.arange(REACH)
"""Of each step back in how alike two exemplars are."""
APART = 0.75
"""Clusters lie further apart than this, of 1."""
MOST = 5
SHARED = 0.8
"""A step back belongs to the rule if the commonest tokens there, FEW at most, make up this share of the mode."""
FEW = 3


def modes(sample: Sample, exemplars: Windows, *, most: int = MOST) -> tuple[Patterns, Windows]:
    """(one pattern a mode for every unit, up to `most` of the largest ones; each mode's most typical exemplar).

    Exemplars lie in the sample's sequences. Values are means over the whole sample where the pattern holds, so that a
    pattern of extremes is not taken at its extreme. ValueError for sequences that aren't held in, or not in the sample.
    """
    sample.held_in()
    if not np.isin(exemplars.union(), sample.rows).all():
        raise ValueError(f"{sample.site.name}: exemplars lie outside of the sample: read their sequences, too")
    context = _contexts(sample, exemplars)
    base = sample.values.mean(0, dtype=np.float64)
    rows = np.full((most, sample.site.units), -1)
    places, found = np.zeros_like(rows), []
    for unit in range(sample.site.units):
        there = np.flatnonzero(exemplars.rows[:, unit] >= 0)
        made = list[Pattern]()
        for members in _clusters(context[there, unit])[:most]:
            some = there[members]
            pattern = _pattern(context[some, unit])
            if pattern.steps:
                medoid = some[_typical(context[some, unit])]
                rows[len(made), unit], places[len(made), unit] = (
                    exemplars.rows[medoid, unit],
                    exemplars.places[medoid, unit],
                )
                made.append(pattern)
        found.append(tuple(made))
    told = _valued(found, sample)
    return Patterns(name="modes", words=sample.words, base=base, patterns=told), Windows(rows=rows, places=places)


def _contexts(sample: Sample, exemplars: Windows) -> np.ndarray:
    """(k, units, REACH) the token at each step back; −1 before the start."""
    place = exemplars.places[:, :, None] - np.arange(REACH)
    found = sample.corpus.ids[np.maximum(exemplars.rows, 0)[:, :, None], np.maximum(place, 0)]
    return np.where(place >= 0, found, -1)


def _unlike(context: np.ndarray) -> np.ndarray:
    """(k, k) from 0, alike, to 1."""
    same = (context[:, None] == context[None]) @ WEIGHTS
    unlike: np.ndarray = 1 - same / WEIGHTS.sum()
    return unlike


def _clusters(context: np.ndarray) -> list[np.ndarray]:
    """Members of each cluster, the largest first."""
    k = len(context)
    if k < 2:
        return [np.arange(k)] if k else []
    unlike = _unlike(context)[np.triu_indices(k, 1)]
    label = hierarchy.fcluster(hierarchy.average(unlike), APART, criterion="distance")
    groups = [np.flatnonzero(label == each) for each in np.unique(label)]
    return sorted(groups, key=len, reverse=True)


def _typical(context: np.ndarray) -> int:
    return int(_unlike(context).sum(1).argmin())


def _pattern(context: np.ndarray) -> Pattern:
    """What the exemplars of a mode, (k, REACH), share; a step's tokens count where they came twice, or all did once."""
    steps = []
    for step in range(REACH):
        words, counts = np.unique(context[:, step], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:FEW]
        repeated = len(context) == 1 or counts[order].max() > 1
        if counts[order].sum() >= SHARED * len(context) and repeated and -1 not in words[order]:
            steps.append((step, tuple(int(words[i]) for i in order)))
        if len(context) == 1:
            break  # one exemplar tells no more than its own token
    return Pattern(steps=tuple(steps), value=0.0)


def _valued(found: list[tuple[Pattern, ...]], sample: Sample) -> tuple[tuple[Pattern, ...], ...]:
    """With the mean of each unit where its pattern holds."""
    ids, told = sample.ids, []
    held: dict[tuple[tuple[int, tuple[int, ...]], ...], np.ndarray] = {}
    for unit, patterns in enumerate(found):
        kept = []
        for pattern in patterns:
            if pattern.steps not in held:
                held[pattern.steps] = np.flatnonzero(pattern.holds(ids)[sample.counted])
            at = held[pattern.steps]
            if len(at):
                kept.append(Pattern(steps=pattern.steps, value=float(sample.values[at, unit].mean())))
        told.append(tuple(kept))
    return tuple(told)
