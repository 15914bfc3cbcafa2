"""Lessons with known truth for tests of methods that learn from weak labels: made by hand, by no model."""

import numpy as np
import pytest

from superalign.generalization import Lesson, Method, Reading
from superalign.generalization.lesson import Supervised


def reading_of(x: np.ndarray, *, paired: bool) -> Reading:
    half = np.full(len(x), 0.5)
    if paired:
        return Reading(first=x / 2, second=-x / 2, belief=half)
    return Reading(first=x + 3, second=None, belief=half)


def lesson_of(*, n: int = 384, noise: float = 0.2, paired: bool = True, seed: int = 0) -> Lesson:
    """Labels in 64ths, wrong for a share `noise`, mostly where they are unsure."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * n, 10))
    truth = x[:, 0] + 0.5 * x[:, 1] > 0
    wrong = rng.random(n) < noise
    sure = np.where(wrong, rng.integers(1, 24, n), rng.integers(8, 32, n)) / 64
    labels = np.where(truth[:n] ^ wrong, 0.5 + sure, 0.5 - sure)
    clusters = np.array([f"c{i % 24}" for i in range(n)])
    seen, parts = x[:, :6], {"few": x[:n, :4], "more": x[:n, :8]}
    return Lesson(
        reading=reading_of(x[:n], paired=paired),
        labels=labels,
        clusters=clusters,
        checked=np.zeros(n, dtype=bool),
        seed=seed,
        supervised=Supervised(
            half_a=reading_of(seen[n:], paired=paired),
            truth_a=truth[n:] ^ (rng.random(n) < 0.1),
            clusters_a=clusters,
            half_b=reading_of(seen[:n], paired=paired),
            l2=0.01,
        ),
        between={name: reading_of(part, paired=paired) for name, part in parts.items()},
    )


def truth_of(lesson: Lesson) -> np.ndarray:
    x = lesson.reading.x - (0 if lesson.reading.paired else 3)
    return x[:, 0] + 0.5 * x[:, 1] > 0


def same_student(method: Method, lesson: Lesson, other: np.ndarray) -> None:
    assert method.fit(lesson).logits(lesson.reading) == pytest.approx(other, abs=1e-4)
