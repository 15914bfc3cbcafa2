"""Mean difference: the line between the two classes' means, as the supervisor tells the classes apart.

Of pairs that is the mean of differences first − second, each signed by its label. Features are scaled as for heads and
not whitened: a probe of so few freedoms can't learn most of the supervisor's mistakes (Marks and Tegmark 2023,
2310.06824; in Mallen et al. 2023, 2312.01037, v1, it carried over to harder questions best).
"""

from __future__ import annotations

import numpy as np

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.training.heads import LinearHead

SOURCE = "Marks and Tegmark 2023, 2310.06824; Mallen et al. 2023, 2312.01037"


def fit(lesson: Lesson) -> HeadStudent:
    """The class means, soft labels counting for both. Raises ValueError where singles are all of one class."""
    x, yes, weights = lesson.reading.x, lesson.labels, lesson.weights
    scale = x.std(axis=0) + 1e-6
    if lesson.reading.paired:
        return pointed(x, (weights * (2 * yes - 1)) @ (x / scale) / weights.sum(), scale)
    for name, mass in (("yes", weights * yes), ("no", weights * (1 - yes))):
        if mass.sum() < 1e-6:
            raise ValueError(f"no label says {name}: a difference of class means needs both, bring labels of both")
    high = np.average(x, axis=0, weights=weights * yes)
    low = np.average(x, axis=0, weights=weights * (1 - yes))
    return pointed(x, (high - low) / scale, scale, centre=(high + low) / 2)


def pointed(
    x: np.ndarray, direction: np.ndarray, scale: np.ndarray, *, centre: np.ndarray | float = 0.0
) -> HeadStudent:
    """A head along a direction (features,) of scaled features, with log-odds of standard deviation 2 on `x`.

    A direction says nothing of how sure to be; 2 is what zero-shot beliefs have. Without direction all are ties.
    """
    spread = float(((x - centre) / scale @ direction).std())
    weight = direction * (2 / spread if spread > 1e-9 else 0.0)
    return HeadStudent(head=LinearHead(weight=np.asarray(weight, dtype=np.float64), scale=scale, centre=centre))


MEAN_DIFFERENCE = Method(
    name="mean difference", title="difference of class means by the supervisor's labels", source=SOURCE, fit=fit
)
