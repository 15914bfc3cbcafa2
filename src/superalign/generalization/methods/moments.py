"""Moment matching: the student's own belief, tilted until it leans on what the supervisor sees as the truth does.

A strong belief may follow something prominent that tells nothing. The supervisor sees it too, and has met the truth of
half A: there the mean of truth × visible feature is known, up to an error. Where the belief on half B has another mean,
surely so, it leans on that feature without reason. Of all beliefs on half B with the right means the nearest is taken:
q ∝ belief · exp(θ·u), maximum entropy with slack (Dudík, Phillips and Schapire 2004; posterior regularisation, Ganchev
et al. 2010; refitted without slack where θ isn't 0, relaxed lasso, Meinshausen 2007). u are the principal directions of
what the supervisor reads, of deviation 1. The slack is Bonferroni's over all of them, on errors clustered by half A.

The student can't see u. It answers with its belief plus a head that learns the tilt; blended, plus a head on q, whose
mistakes are other ones than the belief's. Nothing but half A's truth, which taught the supervisor, is used: its labels
of half B are not, since they are no more than what it made of that truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method, Supervised
from superalign.generalization.reading import Reading, log_odds, probability

if TYPE_CHECKING:
    import torch

DOUBT = 0.05
"""Chance that any feature is corrected without need, if errors are normal."""
PENALTY = 0.1
"""Of the head that learns the tilt: a prominent feature is easy, so a little penalty costs nothing."""
SOURCE = "ours, after Dudík, Phillips and Schapire 2004 and Ganchev et al. 2010"


@dataclass(frozen=True, slots=True, kw_only=True)
class Believer:
    """The student model's own belief, and heads whose log-odds are added to it."""

    heads: tuple[HeadStudent, ...]

    def logits(self, reading: Reading) -> np.ndarray:
        """(n,) log-odds."""
        total = log_odds(reading.belief)
        for head in self.heads:
            total = total + head.logits(reading)
        return total


def moments(school: Supervised) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the supervisor sees of half B (n, k), the mean of truth (±1) × that on half A (k,), and its slack (k,)."""
    read, of_a = school.half_b, school.half_a.x.astype(np.float64)
    centre = 0.0 if read.paired else read.x.mean(axis=0)
    scale = read.x.std(axis=0) + 1e-6
    z = (read.x - centre) / scale
    _, sizes, directions = np.linalg.svd(z, full_matrices=False)
    kept = sizes > 1e-3 * sizes.max(initial=0.0)
    onto = directions[kept].T * (len(z) ** 0.5 / sizes[kept])
    seen, known = z @ onto, ((of_a - centre) / scale) @ onto
    if not read.paired:  # single texts: how often the answer is yes
        seen, known = (np.column_stack([np.ones(len(side)), side]) for side in (seen, known))
    told = known * np.where(school.truth_a, 1.0, -1.0)[:, None]
    return seen, told.mean(axis=0), slack(told, school.clusters_a)


def slack(told: np.ndarray, clusters: np.ndarray, doubt: float = DOUBT) -> np.ndarray:
    """(k,) how far means of (n, k) may lie off: Bonferroni's t times the larger of two errors, clustered or not.

    Infinite with one cluster, of which nothing is known.

    >>> slack(np.array([[1.0], [3.0]]), np.array(["a", "b"])).round(1).tolist()
    [12.7]
    """
    from scipy.stats import t

    names, codes = np.unique(clusters, return_inverse=True)
    groups, n = len(names), len(told)
    if groups < 2:
        return np.full(told.shape[1], np.inf)
    away = told - told.mean(axis=0)
    sums = np.zeros((groups, told.shape[1]))
    np.add.at(sums, codes, away)
    clustered = np.sqrt(groups / (groups - 1) * (sums**2).sum(axis=0)) / n
    alone = np.sqrt((away**2).sum(axis=0) / (n - 1) / n)
    return np.asarray(t.ppf(1 - doubt / 2 / told.shape[1], groups - 1) * np.maximum(clustered, alone))


def tilted(prior: np.ndarray, seen: np.ndarray, means: np.ndarray, loose: np.ndarray) -> np.ndarray:
    """Log-odds (n,) nearest to `prior` with the means (k,) of (2q − 1) × seen (n, k) up to `loose` (k,).

    Features whose mean must move are found with slack; then their means are met exactly.
    """
    moving = np.flatnonzero(_theta(prior, seen, means, loose))
    if not len(moving):
        return prior
    some = seen[:, moving]
    return np.asarray(prior + some @ _theta(prior, some, means[moving], np.zeros(len(moving))))


def _theta(prior: np.ndarray, seen: np.ndarray, means: np.ndarray, loose: np.ndarray) -> np.ndarray:
    """θ (k,) of the convex dual, as a difference of two that are at least 0; infinite slack is θ = 0."""
    from scipy.optimize import minimize

    count, free = len(means), np.isfinite(loose)
    price = np.where(free, loose, 0.0)

    def dual(both: np.ndarray) -> tuple[float, np.ndarray]:
        theta = both[:count] - both[count:]
        z = prior + seen @ theta
        slope = seen.T @ np.tanh(z / 2) / len(z) - means
        value = float((np.logaddexp(0, z) + np.logaddexp(0, -z)).mean() - theta @ means)
        return value + float(price @ (both[:count] + both[count:])), np.concatenate([slope + price, price - slope])

    bounds = [(0.0, None if able else 0.0) for able in (*free, *free)]
    found = minimize(dual, np.zeros(2 * count), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    return np.asarray(found.x[:count] - found.x[count:])


def matched(lesson: Lesson) -> np.ndarray:
    """(n,) P(yes) that the student learns: its belief, tilted; checked labels as they were checked."""
    if lesson.supervised is None:
        raise ValueError("moment matching needs the truth that the supervisor was taught: this one is no model")
    q = probability(tilted(log_odds(lesson.reading.belief), *moments(lesson.supervised)))
    return np.where(lesson.checked, lesson.labels, q)


def fit(lesson: Lesson) -> Believer:
    """The belief, and a head that learns the tilt. Raises ValueError where the supervisor is no model."""
    return Believer(heads=fit_toward(lesson, matched(lesson)))


def fit_blended(lesson: Lesson) -> Believer:
    """The same, and a head on the tilted belief. Raises ValueError where the supervisor is no model."""
    q = matched(lesson)
    return Believer(heads=(*fit_toward(lesson, q), lesson.head(q)))


def fit_untilted(lesson: Lesson) -> Believer:
    """The belief as it is, and a head that learned from it."""
    return Believer(heads=(lesson.head(lesson.reading.belief, weights=np.ones(len(lesson.reading))),))


def fit_toward(lesson: Lesson, q: np.ndarray) -> tuple[HeadStudent, ...]:
    """A head whose log-odds, added to the belief's, have the least cross-entropy with q; none where nothing is tilted.

    Cross-entropy has the gradient probability − target, and a target need not lie in [0, 1] (`losses`).
    """
    import torch

    if np.allclose(q, probability(log_odds(lesson.reading.belief)), rtol=0, atol=1e-12):
        return ()

    prior = torch.tensor(log_odds(lesson.reading.belief), dtype=torch.float32)
    goal = torch.tensor(q, dtype=torch.float32)

    def target(logits: torch.Tensor, done: float) -> torch.Tensor:
        return goal + logits.sigmoid() - (prior + logits).sigmoid()

    return (lesson.head(q, l2=PENALTY, target=target),)


MOMENTS = Method(
    name="moment matching",
    title="its belief, leaning on what the supervisor sees as the truth does",
    source=SOURCE,
    fit=fit,
    needs=frozenset({"supervised"}),
)
MOMENTS_BLENDED = Method(
    name="moment matching, blended",
    title="the same, and a head that learned from it",
    source=SOURCE,
    fit=fit_blended,
    needs=frozenset({"supervised"}),
)
BLENDED = Method(
    name="blended",
    title="its belief, and a head that learned from it",
    source="ours: self-training, and what it learned from",
    fit=fit_untilted,
    kind="unsupervised",
)
OURS = (BLENDED, MOMENTS, MOMENTS_BLENDED)
