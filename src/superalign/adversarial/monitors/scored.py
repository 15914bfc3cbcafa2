"""Raw scores of one monitor on labelled steps: what every figure about it is computed from, and recomputed.

cases = [Case(step=step_of(done), attack=done.canary > 0, form="3", source="pair-0") for done in ...]
scores = scored(monitor, cases)             # a monitor that raises on a step has no score there
from_raw(raw(scores)) == scores
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from superalign.adversarial.monitors.types import Monitor, Step, Suspicion


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A step and the truth about it, which no monitor is shown."""

    step: Step
    attack: bool
    """It acted, by what was executed."""
    form: str = ""
    """Form of its payload."""
    source: str = ""
    """The model that wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of a monitor, and what is known of each step: all of one length."""

    monitor: str
    digest: str
    scores: tuple[float | None, ...]
    """None: missing."""
    attack: tuple[bool, ...]
    cluster: tuple[str, ...]
    trajectory: tuple[str, ...]
    form: tuple[str, ...]
    source: tuple[str, ...]
    step: tuple[str, ...]
    """Digest of prompt and completion."""
    ms: tuple[float, ...]
    tokens: tuple[int, ...]
    failed: int = 0
    """Steps on which the monitor raised; others that are missing it left out itself."""

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.scores, self.attack, self.cluster, self.step, self.ms, self.tokens)}
        lengths |= {len(part) for part in (self.trajectory, self.form, self.source)}
        if len(lengths) != 1:
            raise ValueError(f"{self.monitor}: parts of {sorted(lengths)} steps: give all of them for each step")

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, keep: Callable[[int], bool]) -> Scores:
        """The rows that are kept; `failed` is of all."""
        rows = [i for i in range(len(self)) if keep(i)]
        parts: dict[str, Any] = {name: tuple(getattr(self, name)[i] for i in rows) for name in PARTS}
        return replace(self, **parts)


PARTS = ("scores", "attack", "cluster", "trajectory", "form", "source", "step", "ms", "tokens")


def scored(monitor: Monitor, cases: Sequence[Case]) -> Scores:
    """A monitor's scores of cases. What it raises on, and what is no finite number, is missing.

    Raises ValueError where it says more or less than one suspicion a step.
    """
    found, failed = suspicions(monitor, [case.step for case in cases])
    return Scores(
        monitor=monitor.name,
        digest=monitor.digest,
        scores=tuple(one.score for one in found),
        attack=tuple(bool(case.attack) for case in cases),
        cluster=tuple(case.step.cluster or f"step {step_digest(case.step)}" for case in cases),
        trajectory=tuple(case.step.trajectory for case in cases),
        form=tuple(case.form for case in cases),
        source=tuple(case.source for case in cases),
        step=tuple(step_digest(case.step) for case in cases),
        ms=tuple(one.cost_ms for one in found),
        tokens=tuple(one.cost_tokens for one in found),
        failed=failed,
    )


def suspicions(monitor: Monitor, steps: Sequence[Step]) -> tuple[list[Suspicion], int]:
    """One suspicion a step, scores finite or None, and on how many steps the monitor raised.

    Steps are given all at once; where that raises, one at a time, so that one of them costs no other its score.
    """
    try:
        found, failed = list(monitor.score(steps)), 0
    except Exception as error:  # noqa: BLE001 - a monitor may raise anything: that is missing, and counted
        if len(steps) <= 1:
            return [Suspicion(score=None, evidence=f"raised {type(error).__name__}: {str(error)[:100]}")] * len(
                steps
            ), len(steps)
        each = [suspicions(monitor, [step]) for step in steps]
        return [some[0] for some, _ in each], sum(count for _, count in each)
    if len(found) != len(steps):
        raise ValueError(f"{monitor.name}: {len(found)} suspicions for {len(steps)} steps: it owes one a step")
    return [_finite(one) for one in found], failed


def _finite(one: Suspicion) -> Suspicion:
    if one.score is None or math.isfinite(one.score):
        return one
    return Suspicion(score=None, evidence=f"a score of {one.score}", cost_ms=one.cost_ms, cost_tokens=one.cost_tokens)


def step_digest(step: Step) -> str:
    """Digest of what was asked and what was said."""
    return hashlib.sha256(f"{step.prompt}\x00{step.completion}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def raw(scores: Scores) -> dict[str, Any]:
    """Plain JSON of scores."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(scores).items()}


def from_raw(told: Mapping[str, Any]) -> Scores:
    """Scores from plain JSON. Raises TypeError for unknown or missing fields, ValueError for parts of other lengths."""
    parts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return Scores(**parts)


def trajectories(scores: Scores) -> Scores:
    """One row a trajectory: its highest score, an attack where any step was one, costs added up.

    A trajectory without any score is missing. Its cluster is itself. Raises ValueError where a step names none.
    """
    if not all(scores.trajectory):
        raise ValueError(f"{scores.monitor}: a step names no trajectory: name one for each")
    rows: dict[str, list[int]] = {}
    for i, name in enumerate(scores.trajectory):
        rows.setdefault(name, []).append(i)
    every = list(rows.values())
    known = [[s for i in some if (s := scores.scores[i]) is not None] for some in every]
    forms = [sorted({scores.form[i] for i in some if scores.attack[i]}) for some in every]
    return Scores(
        monitor=scores.monitor,
        digest=scores.digest,
        scores=tuple(max(some) if some else None for some in known),
        attack=tuple(any(scores.attack[i] for i in some) for some in every),
        cluster=tuple(rows),
        trajectory=tuple(rows),
        form=tuple(form[0] if len(form) == 1 else "mixed" if form else "" for form in forms),
        source=tuple(scores.source[some[0]] for some in every),
        step=tuple(hashlib.sha256("".join(scores.step[i] for i in some).encode()).hexdigest()[:16] for some in every),
        ms=tuple(sum(scores.ms[i] for i in some) for some in every),
        tokens=tuple(sum(scores.tokens[i] for i in some) for some in every),
        failed=scores.failed,
    )
