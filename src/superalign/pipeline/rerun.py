"""V3: the evaluation run again on stored weights: every question asked anew, every raw answer compared.

Nothing is trained and nothing is written. Answers may differ in their last digits between machines and libraries; they
must agree within TOLERANCE, about what an A/A run on another machine shows for float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superalign.engine import run_parallel
from superalign.evidence import Event, Finding, SuperalignError, Workspace
from superalign.pipeline.audited import behaviour_items
from superalign.pipeline.board_recount import boards_of
from superalign.pipeline.desk import Desk
from superalign.pipeline.game.recount import games_of
from superalign.pipeline.generalize_recount import sweeps_of
from superalign.pipeline.inside_scores import BELIEF
from superalign.pipeline.interpret_recount import interpretations_of
from superalign.pipeline.recount import Subject, aliases_of, planted_rows, the_subject
from superalign.pipeline.stored import MALFORMED, Run, Stored, runs_of, shipped
from superalign.pipeline.tally import Tally

TOLERANCE = 1e-3
"""Absolute, on rewards, nats and probe scores."""
UNLIKE = 0.02
"""Share of a stage's plays, or answers, that may end otherwise: last digits tip a choice over now and then."""
_DO = "these weights do not say this: ask who ran the evaluation, and on what machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """How many stages were asked again, and cells played, the largest difference of any answer, and what disagrees."""

    asked: int
    largest: float
    findings: tuple[Finding, ...]


def rerun(
    path: Path, *, model: str | None = None, say: Callable[[str], None] = lambda text: None, workers: int = 1
) -> Rerun:
    """Ask everything again that a workspace says was asked of stored weights; read-only.

    `model` is the address of the base where it isn't one of the family: none is taken from a ledger, which could name
    any file or download. Raises SuperalignError where there is no workspace; all else is a finding.
    """
    from safetensors import SafetensorError

    asked, largest, findings = 0, 0.0, []
    with Workspace.open(path, create=False, write=False) as ws:
        runs, _ = runs_of(ws)  # what is wrong with others is said by V2
        for run in runs:
            desk = Desk(ws=Tally(ws), config=run.config, sizes=run.sizes, say=say)  # type: ignore[arg-type]
            try:
                for stage, stored, again in _answers(run, desk, Stored(ws, run), model, workers):
                    gap = difference(stored, again)
                    asked, largest = asked + 1, max(largest, gap if math.isfinite(gap) else 0.0)
                    if not gap <= TOLERANCE:
                        what = f"asked again, {stage!r} is answered otherwise (by {gap:.3g})"
                        findings.append(Finding(seq=run.event.seq, what=what, where=stage, do=_DO))
            except (*MALFORMED, RuntimeError, SafetensorError) as error:
                findings.append(run.unfit("the evaluation can't be run again from what is stored", error))
        for event, what, parts in _played(ws, say, workers):
            try:
                for stage, answers, unlike, gap in parts:
                    asked, largest = asked + 1, max(largest, gap)
                    if unlike > UNLIKE * answers:
                        told = f"done again, {unlike} of {answers} answers of {stage!r} are otherwise"
                        findings.append(Finding(seq=event.seq, what=told, where=stage, do=_DO))
            except (*MALFORMED, RuntimeError, SafetensorError) as error:
                told = f"this {what} can't be done again ({error!s:.200})"
                do = "rely on level 2 for it, which follows everything from recorded answers"
                findings.append(Finding(seq=event.seq, what=told, where=f"event {event.seq}", do=do))
    return Rerun(asked=asked, largest=largest, findings=tuple(findings))


def _played(ws: Workspace, say: Callable[[str], None], workers: int) -> Iterator[tuple[Event, str, Iterator[Any]]]:
    """Leaderboards, sweeps and the rest: the event that states each, what it is, and its stages done again."""
    from superalign.pipeline.board_rerun import play_boards_again
    from superalign.pipeline.game.rerun import write_again
    from superalign.pipeline.generalize_rerun import teach_again
    from superalign.pipeline.interpret_rerun import look_again

    for board in boards_of(ws)[0]:
        yield board.event, "leaderboard", play_boards_again(board, ws, say=say)
    for sweep in sweeps_of(ws)[0]:
        yield sweep.event, "sweep", teach_again(sweep, ws, say=say, workers=workers)
    for one in interpretations_of(ws)[0]:
        yield one.event, "interpretation", look_again(one, ws, say=say, workers=workers)
    for game in games_of(ws)[0]:
        yield game.event, "stress test", write_again(game, ws, say=say, workers=workers)


def alike(stored: Any, again: Any) -> tuple[Any, Any]:
    """Both answers, without what searches found where at most UNLIKE of a network's units end otherwise.

    Which units have a small p by random draws can be tipped by last digits, one unit now and then.
    """
    if not isinstance(stored, Mapping) or not isinstance(again, Mapping):
        return stored, again
    if {"units", "readers", "found"} == stored.keys() == again.keys():
        one, two, units = stored["found"], again["found"], again["units"]
        unlike = sum(difference(one.get(name), two.get(name)) > TOLERANCE for name in one.keys() | two.keys())
        tipped = max(unlike, abs(stored["readers"] - again["readers"]))
        return ({"units": stored["units"]}, {"units": units}) if tipped <= UNLIKE * units else (stored, again)
    pairs = {name: alike(stored[name], again[name]) for name in stored.keys() & again.keys()}
    return (
        {**stored, **{name: pair[0] for name, pair in pairs.items()}},
        {**again, **{name: pair[1] for name, pair in pairs.items()}},
    )


def difference(a: Any, b: Any) -> float:
    """The largest difference of two JSON values' numbers; infinite where shape or words differ, or one isn't finite.

    >>> difference({"x": [1.0, 2.0]}, {"x": [1.0, 2.5]}), difference([1], [1, 2]), difference(0.5, float("nan"))
    (0.5, inf, inf)
    """
    if _is_number(a) and _is_number(b):
        return abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        return max((difference(a[k], b[k]) for k in a), default=0.0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max((difference(x, y) for x, y in zip(a, b, strict=True)), default=0.0)
    return 0.0 if a == b and type(a) is type(b) else float("inf")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _answers(run: Run, desk: Desk, done: Stored, model: str | None, workers: int) -> Iterator[tuple[str, Any, Any]]:
    """Stage, what is stored, and what the stored weights say now."""
    from superalign.models import load_model, unpack
    from superalign.pipeline.belief import fit_belief
    from superalign.pipeline.validate import ASKED, ask_base, ask_dev
    from superalign.pipeline.validate_scores import BASE

    if done("the subject, its threshold fixed") is None:
        return
    address = _address(run, model)
    base = load_model(address)
    yield "the bases, declared", str(done("the bases, declared")["bases"][1]).rpartition("@")[2], base.digest
    fitted = unpack(desk.ws.store.get(done("fit the subject")["weights"]), base)
    yield "ask the subject about dev files", done("ask the subject about dev files"), ask_dev(desk, fitted)
    if (known := done(BASE)) is not None:
        yield BASE, known, ask_base(desk, base)
    subject = the_subject(desk, done)
    sealed = fitted.sealed(threshold=subject.threshold)
    yield "the subject, its threshold fixed", subject.identity, sealed.identity
    for stage, ask in ASKED.items():
        if (stored := done(stage)) is not None:
            desk.say(stage)
            yield stage, stored, ask(desk, sealed)
    if (belief := done(BELIEF)) is not None:
        yield BELIEF, belief, fit_belief(base, behaviour_items(desk))
    if done("stress, measured") is not None:
        yield from _audited(replace(desk, config=replace(desk.config, model=address)), done, subject, workers)


def _address(run: Run, model: str | None) -> str:
    """Where the base is loaded from: a member of the family by its name, anything else as the auditor says."""
    if shipped(run.config.model):
        return run.config.model
    if model is None:
        raise SuperalignError(f"the base is {run.config.model!r:.80}, an address that no ledger can give: pass --model")
    return model


def _audited(desk: Desk, done: Stored, subject: Subject, workers: int) -> Iterator[tuple[str, Any, Any]]:
    from superalign.pipeline.asking import answer
    from superalign.pipeline.stress import audit_jobs, behaviour_jobs, search_jobs

    rows = planted_rows(desk, done)
    packed = {"identity": subject.identity, "threshold": subject.threshold} | done("the subject, packed")
    names = aliases_of(desk, [*rows, packed])
    for row, name in zip([*rows, packed], names, strict=True):
        said = {"identity": row["identity"], "threshold": row["threshold"]}
        yield f"the weights of {name}", said, _manifest(desk, row["weights"])
    stored = [row["weights"] for row in [*rows, packed]]
    digests = [row["identity"] for row in [*rows, packed]]
    belief = done(BELIEF)
    jobs = audit_jobs(desk, digests, names, stored, belief) | behaviour_jobs(desk, digests, names, rows)
    jobs |= search_jobs(desk, digests, names, rows) if belief is not None else {}
    stages = list(jobs)
    for result in run_parallel(answer, [jobs[stage][0] for stage in stages], workers=workers):
        desk.say(stages[result.index])
        stage = stages[result.index]
        yield stage, *alike(done(stage), result.result)


def _manifest(desk: Desk, weights: str) -> dict[str, Any]:
    """Identity and threshold as the stored weights themselves state them."""
    from superalign.models import read_manifest

    manifest = read_manifest(desk.ws.store.get(weights))
    return {"identity": f"{manifest['name']}@{manifest['digest']}", "threshold": manifest["threshold"]}
