"""What every measurement of a sweep is made with: signal, subject, truth and clusters of one exam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from superalign.generalization.graded import Graded
from superalign.pipeline.desk import Desk, measured
from superalign.pipeline.generalize_config import GeneralizeConfig
from superalign.pipeline.generalize_pages import questions_again, task_of
from superalign.pipeline.pages import truth_signal
from superalign.stats import pgr
from superalign.stats.interval import Interval

Done = Callable[[str], Any]
"""Name of a stage → what it stored, None where it wasn't reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What every measurement of a sweep is made with."""

    desk: Desk
    signal: str
    subject: str
    truth: np.ndarray
    clusters: np.ndarray
    items: str
    """Digest of the exam's questions."""

    def put(self, name: str, title: str, interval: Interval, inputs: tuple[str, ...], **tags: Any) -> None:
        """One measurement."""
        base = {"stage": "generalize", "board": self.desk.key("run")}
        measured(
            self.desk,
            f"generalize.{name}",
            title,
            interval,
            subject=self.subject,
            signals=(self.signal,),
            inputs=(self.items, *inputs),
            tags=base | tags,
        )

    def gap(self, graded: Graded) -> Interval:
        """PGR of a student."""
        right = [list(side) for side in graded.sides]
        draws: int = self.desk.sizes.draws
        clusters = [graded.codes] * len(graded.floor)
        return pgr(*right, clusters=clusters, seed=self.desk.config.seed, draws=draws)


def sheet_of(desk: Desk, config: GeneralizeConfig, exercise: str, done: Done, *, subject: str = "") -> Sheet:
    """The sheet of one exercise, of the strong model or another subject: truths are opened, which is on record."""
    task, digest = task_of(config), done("questions")["exercises"][exercise]["exam"]
    exam = questions_again(desk.ws, task, "validation", digest)
    return Sheet(
        desk=desk,
        signal=truth_signal(desk, task, "validation"),
        subject=subject or done("questions")["subject"],
        truth=exam.truth,
        clusters=exam.clusters,
        items=digest,
    )
