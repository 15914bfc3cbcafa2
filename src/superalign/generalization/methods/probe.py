"""Logistic probe on contrast pairs: each text is a statement, "this one is right", and the pair its two answers.

The probe is fitted on texts, one by one, and not on differences: of a pair the first counts as true with the
supervisor's verdict, the second as false, or the other way round. Answers are P = ½(p(first) + 1 − p(second)), as in
Burns et al. 2022 (2212.03827, §2.2). In Mallen et al. 2023 (2312.01037) such probes on contrast pairs recovered
89 % of what a model knew and was made to deny. Verdicts weigh |2p − 1|, by how sure the supervisor was of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from superalign.generalization.lesson import L2, HeadStudent, Lesson, Method, Student
from superalign.generalization.methods.regularised import PENALTY
from superalign.generalization.reading import Reading, log_odds, probability
from superalign.training.heads import LinearHead

SOURCE = "Mallen et al. 2023, 2312.01037; Burns et al. 2022, 2212.03827, §2.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastProbe:
    """Reads each text of a pair on its own: is this the right one?"""

    first: LinearHead
    """For texts in the first place."""
    second: LinearHead
    """For texts in the second: another normalisation at most."""

    def logits(self, reading: Reading) -> np.ndarray:
        """(n,) log-odds of P averaged over both orders of each pair, so that swapping the texts swaps the sign.

        Raises ValueError for single texts.
        """
        if reading.second is None:
            raise ValueError("a probe of contrast pairs was asked about single texts: ask about pairs")
        here, there = self._told(reading.first, reading.second), self._told(reading.second, reading.first)
        return log_odds((here + 1 - there) / 2)

    def _told(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(n,) ½(p(first) + 1 − p(second)), in this order."""
        here, there = probability(self.first.logits(first)), probability(self.second.logits(second))
        return np.asarray((here + 1 - there) / 2)


def fit_with(l2: float) -> Callable[[Lesson], Student]:
    """The method with a penalty, on the scale of `Lesson.head`."""

    def fit(lesson: Lesson) -> Student:
        read, verdict, weight = lesson.reading, lesson.labels > 0.5, lesson.weights * np.abs(2 * lesson.labels - 1)
        if read.second is None:
            return HeadStudent(head=logistic(read.first, verdict, weight, l2))
        texts = np.concatenate([read.first, read.second])
        head = logistic(texts, np.concatenate([verdict, ~verdict]), np.concatenate([weight, weight]), l2)
        return ContrastProbe(first=head, second=head)

    return fit


def logistic(x: np.ndarray, verdict: np.ndarray, weights: np.ndarray, l2: float) -> LinearHead:
    """Logistic regression of (n,) verdicts on (n, features), mean loss plus l2/2 · |w|², offset free.

    Raises ValueError where all verdicts that weigh anything are the same, or there are none.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    counts = weights > 0
    if len(set(verdict[counts].tolist())) < 2:
        raise ValueError(f"{counts.sum()} verdicts and not two classes: bring labels of both, some of them not ½")
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    model = LogisticRegression(C=1 / (l2 * weights.sum()), max_iter=1_000, tol=1e-3)
    model.fit(((x - centre) / scale)[counts], verdict[counts], sample_weight=weights[counts])
    weight, offset = np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])
    return LinearHead(weight=weight, scale=scale, centre=centre, offset=offset)


PROBE = Method(name="probe", title="logistic probe on the texts of contrast pairs", source=SOURCE, fit=fit_with(L2))
PROBE_REGULARISED = Method(
    name="probe, regularised", title=f"the same, penalty {PENALTY:g}", source=SOURCE, fit=fit_with(PENALTY)
)
