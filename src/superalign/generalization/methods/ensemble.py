"""Ensembles of weak supervisors: bagged (Breiman 1996) and boosted (EnsemW2S: Agrawal et al. 2024, 2410.04571).

Bagged: heads on resampled clusters of half A, their probabilities averaged. Boosted: AdaBoost (Freund and Schapire
1997), each head on half A weighed by what those before got wrong; the label is the mean of their probabilities weighed
by their votes. EnsemW2S draws examples by weight, token by token; here weights scale each question's loss.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method, Supervised
from superalign.training.heads import LinearHead, fit_head

MEMBERS = 5


def bagged(school: Supervised, seed: int) -> np.ndarray:
    """(n,) mean P(yes) of heads fitted on clusters drawn with replacement, as many as there are."""
    names, codes = np.unique(school.clusters_a, return_inverse=True)
    rng = np.random.default_rng([seed, 37])
    members = []
    for _ in range(MEMBERS):
        drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        members.append(_schooled(school, drawn[codes].astype(float)).probabilities(school.half_b.x))
    return np.asarray(np.mean(members, axis=0))


def boosted(school: Supervised, seed: int) -> np.ndarray:
    """(n,) P(yes), the mean of AdaBoost's heads weighed by their votes; the first alone if it is never wrong."""
    heads, votes = boost(school)
    said = [head.probabilities(school.half_b.x) for head in heads]
    return np.asarray(np.average(said, axis=0, weights=votes))


def boost(school: Supervised) -> tuple[list[LinearHead], list[float]]:
    """Heads and votes ½ ln((1 − err)/err). Stops before a head that is no better than chance, after one never wrong."""
    share = np.full(len(school.truth_a), 1 / len(school.truth_a))
    heads: list[LinearHead] = []
    votes: list[float] = []
    while len(heads) < MEMBERS:
        head = _schooled(school, share * len(share))
        logits = head.logits(school.half_a.x)
        wrong = np.where(logits == 0, 0.5, (logits > 0) != school.truth_a)
        err = float((share * wrong).sum())
        if err >= 0.5 or err == 0:
            return ([*heads, head], [*votes, 1.0]) if not heads else (heads, votes)
        heads.append(head)
        votes.append(float(np.log((1 - err) / err) / 2))
        share = share * np.exp(votes[-1] * (2 * wrong - 1))
        share = share / share.sum()
    return heads, votes


def _schooled(school: Supervised, weights: np.ndarray) -> LinearHead:
    read = school.half_a
    return fit_head(read.x, school.truth_a.astype(float), l2=school.l2, weights=weights, symmetric=read.paired)


def fit_with(labeller: Callable[[Supervised, int], np.ndarray]) -> Callable[[Lesson], HeadStudent]:
    """The method with that ensemble. Raises ValueError where the supervisor was not schooled here."""

    def fit(lesson: Lesson) -> HeadStudent:
        if lesson.supervised is None:
            raise ValueError("an ensemble refits its supervisor, and this lesson's was not fitted here")
        labels = labeller(lesson.supervised, lesson.seed)
        return lesson.head(np.where(lesson.checked, lesson.labels, labels))

    return fit


BAGGED = Method(
    name="bagged supervisors",
    title=f"mean of {MEMBERS} supervisors on resampled clusters",
    source="Breiman 1996, bagging",
    fit=fit_with(bagged),
    needs=frozenset({"supervised"}),
)
BOOSTED = Method(
    name="boosted supervisors",
    title=f"AdaBoost of {MEMBERS} supervisors",
    source="Agrawal et al. 2024, 2410.04571, EnsemW2S; Freund and Schapire 1997",
    fit=fit_with(boosted),
    needs=frozenset({"supervised"}),
)
