"""Early stopping (Burns et al. 2023, 2312.09390, on overfitting to weak labels): stop before mistakes are learned.

Plain minibatch descent at one small rate, no momentum and no schedule, so that a head after t steps is about the one of
penalty 1/(rate·t) (Ali, Kolter and Tibshirani 2019, 1810.10082). A few steps of Adam are nothing of the kind: they move
every weight equally far. Where to stop is chosen on held-out labels: of the supervisor, which is honest, or true ones,
which is cheating and printed beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.reading import Reading
from superalign.training.heads import LinearHead

BATCH = 32
"""As in the paper."""
STOPS = tuple(2**power for power in range(13))
"""Steps after which training may stop: 1 to 4,096, which is 32 passes through 4,000 labels."""
SOURCE = "Burns et al. 2023, 2312.09390, overfitting to weak labels; steps as a penalty in Ali et al. 2019, 1810.10082"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Features of n questions as descent sees them: in standard deviations, of single texts centred, a 1 last."""

    z: np.ndarray
    """(n, features), and one more for single texts: the offset's."""
    scale: np.ndarray
    centre: np.ndarray | float

    @property
    def rate(self) -> float:
        """The rate at which no direction overshoots: 1 / the most that the loss curves on average."""
        return float(4 / np.square(self.z).sum(1).mean())

    def student(self, beta: np.ndarray) -> HeadStudent:
        """Who has these weights."""
        count = len(self.scale)
        offset = float(beta[count]) if len(beta) > count else 0.0
        weight = beta[:count].astype(np.float64)
        return HeadStudent(head=LinearHead(weight=weight, scale=self.scale, centre=self.centre, offset=offset))


class Step(NamedTuple):
    """One step of descent."""

    rows: np.ndarray
    """Of which questions."""
    said: np.ndarray
    """(rows,) P(yes) before the step."""
    beta: np.ndarray
    """Weights after it; the next step changes them in place."""


def inputs_of(reading: Reading) -> Inputs:
    """Scaled as `fit_head` scales. Raises ValueError for no questions, or NaN among features."""
    x = reading.x
    if len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"cannot descend on {len(x)} questions: empty, or NaN among features")
    scale, centre = x.std(axis=0) + 1e-6, 0.0 if reading.paired else x.mean(axis=0)
    z = ((x - centre) / scale).astype(np.float32)
    if not reading.paired:
        z = np.column_stack([z, np.ones(len(z), dtype=np.float32)])
    return Inputs(z=z, scale=scale, centre=centre)


def descend(
    z: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    *,
    rate: float,
    rng: np.random.Generator,
    passes: int | None = None,
    start: np.ndarray | None = None,
) -> Iterator[Step]:
    """Minibatch descent on the logistic loss, a new order each pass; from `start` or zero, without end if no `passes`.

    A question's loss is scaled by its weight over their mean.
    """
    beta = np.zeros(z.shape[1], dtype=np.float32) if start is None else start.astype(np.float32)
    y, scaled = labels.astype(np.float32), (rate * weights / weights.mean()).astype(np.float32)
    done = 0
    while passes is None or done < passes:
        order = rng.permutation(len(z))
        for at in range(0, len(order), BATCH):
            rows = order[at : at + BATCH]
            batch = z[rows]
            said = 1 / (1 + np.exp(-np.clip(batch @ beta, -30, 30)))
            beta -= batch.T @ (scaled[rows] * (said - y[rows])) / np.float32(len(rows))
            yield Step(rows, said, beta)
        done += 1


def path(lesson: Lesson, stops: tuple[int, ...], rows: np.ndarray | None = None) -> list[HeadStudent]:
    """The students after so many steps on the labels of `rows` (of all, if not given); `stops` rise."""
    some = np.arange(len(lesson.labels)) if rows is None else rows
    seen = inputs_of(lesson.reading.take(some))
    rng = np.random.default_rng([lesson.seed, 31])
    steps = descend(seen.z, lesson.labels[some], lesson.weights[some], rate=seen.rate, rng=rng)
    found: list[HeadStudent] = []
    for count, step in enumerate(steps, 1):
        if count == stops[len(found)]:
            found.append(seen.student(step.beta.copy()))
        if len(found) == len(stops):
            break
    return found


def fit_honest(lesson: Lesson) -> HeadStudent:
    """Stopped where held-out labels of the supervisor are met best."""
    return _stopped(lesson, lesson.labels, lesson.weights)


def fit_cheating(lesson: Lesson) -> HeadStudent:
    """Stopped where held-out true labels are met best. Raises ValueError where the lesson has none."""
    if lesson.truth is None:
        raise ValueError("stopping by the truth needs the truth: this lesson holds none")
    return _stopped(lesson, lesson.truth.astype(float), np.ones(len(lesson.truth)))


def _stopped(lesson: Lesson, goal: np.ndarray, weights: np.ndarray) -> HeadStudent:
    """On all labels, after as many steps as did best by `goal` on a fifth of the clusters; ties: the fewest."""
    held = lesson.held()
    there = np.flatnonzero(held)
    asked = lesson.reading.take(there)

    def right(student: HeadStudent) -> float:
        hit = (student.logits(asked) > 0) == (goal[there] > 0.5)
        return float(np.average(hit, weights=weights[there]))

    tried = [right(student) for student in path(lesson, STOPS, np.flatnonzero(~held))]
    return path(lesson, (STOPS[int(np.argmax(tried))],))[0]


EARLY_STOPPING_HONEST = Method(
    name="early stopping, honest", title="stopped by held-out weak labels", source=SOURCE, fit=fit_honest
)
EARLY_STOPPING_CHEATING = Method(
    name="early stopping, cheating",
    title="stopped by held-out true labels",
    source=SOURCE,
    fit=fit_cheating,
    kind="cheating",
)
