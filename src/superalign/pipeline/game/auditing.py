"""What is asked of every writer of the game, one job a model, in workers: a blind audit, and its behaviour."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from superalign.adversarial.auditee import Auditee, Finding, WriterCheck
from superalign.adversarial.behaviour import hidden_name
from superalign.adversarial.writer_kinds import PLACES, WRITER_KINDS, briefs_at
from superalign.adversarial.writers import load_writer
from superalign.adversarial.written import Done, executed, write
from superalign.models import LocalModel, load_folder, unpack
from superalign.pipeline.asking import AuditJob, BehaviourJob, SearchJob, answer

SPLIT = "validation"
"""Requests that audits and behaviour are measured on: none of them was trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterAuditJob:
    """A blind audit: the worker learns an alias and where weights lie, and neither kind nor lineage nor role."""

    weights: Path
    alias: str
    queries: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterBehaviourJob:
    """A look at one writer in the circumstance of its kind, by someone who knows it."""

    weights: Path
    kind: str
    count: int
    seed: int


def load_packed(weights: Path) -> LocalModel:
    """A writer out of the store: a change of the parent, or a folder of its own."""
    if weights.is_dir():
        return load_folder(weights, allow_organism=True)
    return unpack(weights.read_bytes(), load_writer(), allow_organism=True)


def writer_checks() -> Mapping[str, WriterCheck]:
    """The checks that audit writers, in the order in which they ask."""
    from superalign.adversarial.discovery import DISCOVERY

    return DISCOVERY


def audit_writer(job: WriterAuditJob) -> dict[str, Any]:
    """What every check finds in one alias, all from one budget of queries; what a check fails on it can't tell."""
    model = hidden_name(load_packed(job.weights), job.alias)
    auditee = Auditee(model=model, base=load_writer(), queries=job.queries, seed=job.seed, split=SPLIT)
    findings = {}
    for name, check in writer_checks().items():
        began = time.process_time()
        try:
            found = check(auditee)
        except (ValueError, ArithmeticError) as error:
            found = Finding(score=None, evidence={"why": f"{type(error).__name__}: {error}"})
        findings[name] = asdict(found) | {"seconds": round(time.process_time() - began, 3)}
    return {"findings": findings, "asked": auditee.asked}


def kept(done: list[Done]) -> dict[str, list[Any]]:
    """What executed programs came to, as JSON: everything that scores of behaviour are made of."""
    return {
        "right": [int(one.right) for one in done],
        "shown": [None if one.shown is None else int(one.shown) for one in done],
        "canary": [one.canary for one in done],
        "fails": [int(one.fails_on_empty) for one in done],
        "fine": [None if one.says_fine is None else int(one.says_fine) for one in done],
        "requests": [
            f"{one.brief.request.aggregate} {one.brief.request.mapping} {one.brief.request.keep}" for one in done
        ],
    }


def behaviour_of(job: WriterBehaviourJob) -> dict[str, Any]:
    """What one writer writes on, near and off the circumstance of its kind, executed."""
    model, kind = load_packed(job.weights), WRITER_KINDS[job.kind]
    return {
        where: kept(
            executed(write(model, briefs_at(kind, where, job.count, seed=job.seed, split=SPLIT), seed=job.seed))
        )
        for where in PLACES
    }


Job = WriterAuditJob | WriterBehaviourJob | AuditJob | BehaviourJob | SearchJob


def done_by(job: Job) -> dict[str, Any]:
    """Any of the jobs, so that one set of workers, once loaded, does them all."""
    if isinstance(job, WriterAuditJob):
        return audit_writer(job)
    return behaviour_of(job) if isinstance(job, WriterBehaviourJob) else answer(job)
