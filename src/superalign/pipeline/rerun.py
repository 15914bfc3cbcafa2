"""V3: the evaluation run again on stored weights: every question asked anew, every raw answer compared.

Nothing is trained and nothing is written. Answers may differ in their last digits between machines and libraries; they
must agree within TOLERANCE, about what an A/A run on another machine shows for float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superalign.engine import run_parallel
from superalign.evidence import Finding, Workspace
from superalign.pipeline.desk import Desk
from superalign.pipeline.recount import MALFORMED, Stored, Subject, aliases_of, planted_rows, runs_of, the_subject
from superalign.pipeline.tally import Tally

TOLERANCE = 1e-3
"""Absolute, on rewards, nats and probe scores."""
_DO = "these weights do not say this: ask who ran the evaluation, and on what machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """How many stages were asked again, the largest difference of any answer, and what disagrees."""

    asked: int
    largest: float
    findings: tuple[Finding, ...]


def rerun(path: Path, *, say: Callable[[str], None] = lambda text: None, workers: int = 1) -> Rerun:
    """Ask everything again that a workspace says was asked of stored weights; read-only.

    Raises SuperalignError where there is no workspace, ModelError where the base model isn't at hand.
    """
    asked, largest, findings = 0, 0.0, []
    with Workspace.open(path, create=False, write=False) as ws:
        for config, sizes in runs_of(ws):
            desk = Desk(ws=Tally(ws), config=config, sizes=sizes, say=say)  # type: ignore[arg-type]
            try:
                for stage, stored, again in _answers(desk, Stored(ws, desk), workers):
                    gap = difference(stored, again)
                    asked, largest = asked + 1, max(largest, gap if gap < float("inf") else 0.0)
                    if gap > TOLERANCE:
                        what = f"asked again, {stage!r} is answered otherwise (by {gap:.3g})"
                        findings.append(Finding(seq=None, what=what, where=stage, do=_DO))
            except MALFORMED as error:
                what = f"the evaluation can't be run again from what is stored: {error!r:.300}"
                findings.append(Finding(seq=None, what=what, where="objects", do="ask for the whole workspace"))
    return Rerun(asked=asked, largest=largest, findings=tuple(findings))


def difference(a: Any, b: Any) -> float:
    """The largest difference of two JSON values' numbers; infinite where their shape or their words differ.

    >>> difference({"x": [1.0, 2.0]}, {"x": [1.0, 2.5]}), difference([1], [1, 2]), difference("a", "b")
    (0.5, inf, inf)
    """
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(a - b)
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        return max((difference(a[k], b[k]) for k in a), default=0.0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max((difference(x, y) for x, y in zip(a, b, strict=True)), default=0.0)
    return 0.0 if a == b and type(a) is type(b) else float("inf")


def _answers(desk: Desk, done: Stored, workers: int) -> Iterator[tuple[str, Any, Any]]:
    """Stage, what is stored, and what the stored weights say now."""
    from superalign.models import load_model, unpack
    from superalign.pipeline.validate import ASKED, ask_base, ask_dev
    from superalign.pipeline.validate_scores import BASE

    if done("the subject, its threshold fixed") is None:
        return
    base = load_model(desk.config.model)
    fitted = unpack(desk.ws.store.get(done("fit the subject")["weights"]), base)
    yield "ask the subject about dev files", done("ask the subject about dev files"), ask_dev(desk, fitted)
    if (known := done(BASE)) is not None:
        yield BASE, known, ask_base(desk, base)
    subject = the_subject(desk, done)
    model = fitted.sealed(threshold=subject.threshold)
    yield "the subject, its threshold fixed", subject.identity, model.identity
    for stage, ask in ASKED.items():
        if (stored := done(stage)) is not None:
            desk.say(stage)
            yield stage, stored, ask(desk, model)
    if done("stress, measured") is not None:
        yield from _audited(desk, done, subject, workers)


def _audited(desk: Desk, done: Stored, subject: Subject, workers: int) -> Iterator[tuple[str, Any, Any]]:
    from superalign.pipeline.asking import answer
    from superalign.pipeline.stress import audit_jobs, behaviour_jobs

    rows = planted_rows(desk, done)
    names = aliases_of(desk, [*rows, {"identity": subject.identity}])
    stored = [*(row["weights"] for row in rows), done("the subject, packed")["weights"]]
    digests = [*(row["identity"] for row in rows), subject.identity]
    jobs = audit_jobs(desk, digests, names, stored) | behaviour_jobs(desk, digests, names, rows)
    stages = list(jobs)
    for result in run_parallel(answer, [jobs[stage][0] for stage in stages], workers=workers):
        desk.say(stages[result.index])
        yield stages[result.index], done(stages[result.index]), result.result
