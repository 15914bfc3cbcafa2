"""Auxiliary confidence loss (Burns et al. 2023, 2312.09390, §4.3.2 and A.4): be as sure as you can, not as told.

L = (1 − a)·CE(f, weak) + a·CE(f, 1[f > t]): a rises linearly from 0 to its top over the first fifth of training, and t
is the median, so that half of the questions count as yes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from superalign.generalization.lesson import HeadStudent, Lesson, Method

if TYPE_CHECKING:
    import torch

WARMUP = 0.2
TOPS = (0.5, 0.75)
"""The paper's: 0.5, and 0.75 for its largest students."""
SOURCE = "Burns et al. 2023, 2312.09390, §4.3.2, A.4"


def confidence(done: float, top: float) -> float:
    """The weight a of the student's own verdicts, when a share `done` of training is done.

    >>> confidence(0.0, 0.5), confidence(0.1, 0.5), confidence(0.2, 0.5), confidence(1.0, 0.5)
    (0.0, 0.25, 0.5, 0.5)
    """
    return top * min(1.0, done / WARMUP)


def fit_with(top: float) -> Callable[[Lesson], HeadStudent]:
    """The method with a's top."""

    def fit(lesson: Lesson) -> HeadStudent:
        import torch

        labels = torch.tensor(lesson.labels, dtype=torch.float32)

        def target(logits: torch.Tensor, done: float) -> torch.Tensor:
            a = confidence(done, top)
            return (1 - a) * labels + a * (logits > logits.median()).float()

        return lesson.head(lesson.labels, target=target)

    return fit


LOGCONF = Method(name="logconf", title="confidence loss, a to .5", source=SOURCE, fit=fit_with(TOPS[0]))
LOGCONF_75 = Method(name="logconf .75", title="confidence loss, a to .75", source=SOURCE, fit=fit_with(TOPS[1]))
