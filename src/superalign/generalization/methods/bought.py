"""A few true labels, bought: at random, where the supervisor is unsure, or where student and supervisor quarrel.

What k true labels are worth is the honest measure of weak supervision (Burns et al. 2023, 2312.09390, §3; Settles 2009
on uncertainty sampling; the quarrel is query by committee, Seung et al. 1992, with a committee of two: the supervisor's
labels and the student model's zero-shot belief). Bought labels stand beside those of the supervisor, as checked ones
do, naively or in EM's noise channel, which is fitted to what the supervisor really said; or alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.em import em_labels
from superalign.training.heads import fit_head_chosen

Way = Callable[[Lesson], np.ndarray]
"""Lesson → (n,) how much one wants to know the truth of each question."""
BUDGETS = (50, 200)
SOURCE = "Settles 2009, Active Learning Literature Survey, §3.1; Seung et al. 1992, Query by Committee"


def at_random(lesson: Lesson) -> np.ndarray:
    """All alike; ties are broken by lot."""
    return np.zeros(len(lesson.labels))


def unsure(lesson: Lesson) -> np.ndarray:
    """The nearer to ½ the supervisor's label."""
    return -np.abs(lesson.labels - 0.5)


def quarrel(lesson: Lesson) -> np.ndarray:
    """The further apart label and belief."""
    return np.asarray(np.abs(lesson.labels - lesson.reading.belief))


def buy(lesson: Lesson, way: Way, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and their true labels, the most wanted first, of those not yet checked; all of them where they are fewer.

    Raises ValueError without a teacher, and where the count exceeds its budget.
    """
    if lesson.teacher is None:
        raise ValueError("true labels can be bought of a teacher only: this lesson has none")
    lot = np.random.default_rng([lesson.seed, 43]).permutation(np.flatnonzero(~lesson.checked))
    rows = lot[np.argsort(-way(lesson)[lot], kind="stable")][:count]
    return rows, lesson.teacher.ask(rows)


def fit_beside(way: Way, count: int) -> Callable[[Lesson], HeadStudent]:
    """Naive learning from the supervisor's labels with the bought ones put in, each of them weighing more."""

    def fit(lesson: Lesson) -> HeadStudent:
        rows, truth = buy(lesson, way, count)
        return _checked(lesson, lesson.labels, rows, truth)

    return fit


def fit_em(way: Way, count: int) -> Callable[[Lesson], HeadStudent]:
    """EM whose prior is the truth where that was bought, and the student model's belief elsewhere."""

    def fit(lesson: Lesson) -> HeadStudent:
        rows, truth = buy(lesson, way, count)
        prior = np.where(lesson.checked, lesson.labels, lesson.reading.belief)
        prior[rows] = truth
        return _checked(lesson, np.where(lesson.checked, prior, em_labels(lesson.labels, prior)), rows, truth)

    return fit


def fit_alone(count: int) -> Callable[[Lesson], HeadStudent]:
    """On labels bought at random and nothing else, the penalty chosen on a fifth of them."""

    def fit(lesson: Lesson) -> HeadStudent:
        rows, truth = buy(lesson, at_random, count)
        read = lesson.reading.take(rows)
        clusters = lesson.clusters[rows]
        return HeadStudent(head=fit_head_chosen(read.x, truth, clusters=clusters, symmetric=read.paired)[0])

    return fit


def _checked(lesson: Lesson, labels: np.ndarray, rows: np.ndarray, truth: np.ndarray) -> HeadStudent:
    """A head on labels, those that were bought put in and marked as checked."""
    told, checked = labels.astype(np.float64), lesson.checked.copy()
    told[rows], checked[rows] = truth, True
    return replace(lesson, checked=checked).head(told)


def _methods(count: int) -> tuple[Method, ...]:
    """All ways to use so many labels."""
    made = (
        (f"{count} alone", f"{count} true labels at random, and no others", fit_alone(count)),
        (f"naive + {count}", f"naive, {count} true labels at random put in", fit_beside(at_random, count)),
        (f"em + {count}", f"EM, {count} true labels at random put in", fit_em(at_random, count)),
        (f"em + {count} unsure", f"EM, {count} where the supervisor is unsure", fit_em(unsure, count)),
        (f"em + {count} quarrel", f"EM, {count} where student and supervisor quarrel", fit_em(quarrel, count)),
    )
    return tuple(
        Method(name=name, title=title, source=SOURCE, fit=fit, kind="bought", truths=count) for name, title, fit in made
    )


BOUGHT = tuple(method for count in BUDGETS for method in _methods(count))
