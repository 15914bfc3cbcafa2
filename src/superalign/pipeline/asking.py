"""What is asked of organisms, twins and subject, one job a model: in workers, from stored weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superalign.adversarial.audit import ask as ask_blind
from superalign.adversarial.behaviour import ask as ask_openly
from superalign.adversarial.behaviour import hidden_name
from superalign.adversarial.items import AuditItem
from superalign.adversarial.kinds import KINDS
from superalign.models import LocalModel, load_model, unpack
from superalign.pipeline.inside import ask_inside, search_known


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditJob:
    """A blind audit: the worker learns an alias and where weights lie, and neither kind nor lineage."""

    weights: Path
    base: str
    """Address of the model whose shape they have."""
    alias: str
    items: tuple[AuditItem, ...]
    sweep: int
    seed: int
    searched: int
    """Pairs after the sweep's that are searched, at most."""
    lines: tuple[tuple[float, ...], ...] | None
    """Two probes fitted on the base; None where no audit looked inside, as in runs of versions that could not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchJob:
    """A search for one organism's behaviour beside its twin, by someone who knows its circumstance."""

    weights: Path
    twin: Path
    base: str
    where: str
    """The circumstance, by its name in the audit."""
    items: tuple[AuditItem, ...]
    searched: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourJob:
    """A look at one organism or twin in its own circumstance, by someone who knows it."""

    weights: Path
    base: str
    kind: str
    seed: int
    held: tuple[AuditItem, ...]
    counts: dict[str, int]
    """Place → how many of them."""


def _load(weights: Path, base: str) -> LocalModel:
    return unpack(weights.read_bytes(), load_model(base), allow_organism=True)


def audit(job: AuditJob) -> dict[str, Any]:
    """What one alias answers to the auditor, raw."""
    model = hidden_name(_load(job.weights, job.base), job.alias)
    if job.lines is None:
        return ask_blind(model, job.items, sweep=job.sweep, seed=job.seed)
    more = {"sweep": job.sweep, "searched": job.searched, "base": job.base, "seed": job.seed}
    return ask_inside(model, job.items, lines=job.lines, **more)  # type: ignore[arg-type]


def behaviour(job: BehaviourJob) -> dict[str, Any]:
    """What one organism or twin answers on, near and off its circumstance, raw."""
    return ask_openly(_load(job.weights, job.base), job.held, KINDS[job.kind], seed=job.seed, counts=job.counts)


def searched(job: SearchJob) -> dict[str, Any]:
    """Units that go with one organism's behaviour, and what its twin and a decoy get of the same search, raw."""
    organism, twin = _load(job.weights, job.base), _load(job.twin, job.base)
    return search_known(organism, twin, job.items, job.where, most=job.searched, seed=job.seed)


def answer(job: AuditJob | BehaviourJob | SearchJob) -> dict[str, Any]:
    """Any of the jobs, so that one set of workers, once loaded, does them all."""
    if isinstance(job, SearchJob):
        return searched(job)
    return audit(job) if isinstance(job, AuditJob) else behaviour(job)
