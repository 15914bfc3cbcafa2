"""What a study is: jobs that workers do, and numbers that follow from what the jobs stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from superalign.pipeline.game.config import StressConfig
from superalign.stats import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyJob:
    """One job of a study: an organism by kind and seed, or an episode."""

    study: str
    what: str
    seed: int
    quick: bool

    @property
    def stage(self) -> str:
        """Name of its stage."""
        return f"{self.study}: {self.what}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One number of a study."""

    name: str
    title: str
    interval: Interval


class Study(Protocol):
    """A module of this folder."""

    def jobs(self, config: StressConfig) -> list[StudyJob]:
        """What is to be done."""

    def work(self, job: StudyJob) -> dict[str, Any]:
        """Do one job: raw answers, as JSON. Runs in a worker."""

    def told(self, raw: Sequence[Mapping[str, Any]]) -> list[Told]:
        """Every number, from the raw answers of all jobs, in their order."""


def interval_of(told: Mapping[str, Any], method: str) -> Interval:
    """An interval from its JSON: value, low, high, n, clusters, and why it is refused."""
    return Interval(
        value=told["value"],
        low=told["low"],
        high=told["high"],
        n=int(told["n"]),
        clusters=int(told["clusters"]),
        method=method,
        note=str(told.get("why") or told.get("note") or ""),
    )
