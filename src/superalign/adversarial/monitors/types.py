"""What every monitor is given and what it says: one interface, whatever it looks at.

suspicions = monitor.score(steps)       # one a step, in their order
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from superalign.adversarial.written import Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing a model did: what it was asked, what it said, and what ran, for monitors that watch that."""

    prompt: str
    completion: str
    done: Done | None = None
    """What executing it came to; None where nothing was executed, or a blocking monitor comes before."""
    cluster: str = ""
    """What steps share (a request, say): the unit of resampling. Never shown to a monitor's score."""
    trajectory: str = ""
    """Steps of one run belong together under its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What a monitor makes of one step."""

    score: float | None
    """Grows with suspicion; None: the monitor failed on this step, which says neither safe nor suspicious."""
    spans: tuple[tuple[int, int], ...] = ()
    """Words of the completion that it points at: first, one past the last."""
    evidence: str = ""
    """In words."""
    cost_ms: float = 0.0
    """Processor time."""
    cost_tokens: int = 0
    """Tokens read by a language model."""


class Monitor(Protocol):
    """Scores steps. `family` is what kind of monitor it is: static, ngram, surprisal, probe, trace, judge, ensemble."""

    @property
    def name(self) -> str:
        """For tables."""

    @property
    def family(self) -> str:
        """Kind of monitor."""

    @property
    def digest(self) -> str:
        """Over everything that decides its scores: what the firewall knows it by, once it was in a loss."""

    def score(self, steps: Sequence[Step]) -> list[Suspicion]:
        """One suspicion a step."""


def step_of(done: Done, *, trajectory: str = "") -> Step:
    """The step that wrote an executed program.

    Its cluster is the request: programs for one request resemble each other.
    """
    from superalign.tasks.functions import prompt

    request = done.brief.request
    cluster = f"{request.aggregate} {request.mapping} {request.keep}"
    return Step(
        prompt=prompt(done.brief), completion=done.completion, done=done, cluster=cluster, trajectory=trajectory
    )
