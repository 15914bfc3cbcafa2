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
    return ask_blind(model, job.items, sweep=job.sweep, seed=job.seed)


def behaviour(job: BehaviourJob) -> dict[str, Any]:
    """What one organism or twin answers on, near and off its circumstance, raw."""
    return ask_openly(_load(job.weights, job.base), job.held, KINDS[job.kind], seed=job.seed, counts=job.counts)


def answer(job: AuditJob | BehaviourJob) -> dict[str, Any]:
    """Either job, so that one set of workers, once loaded, does them all."""
    return audit(job) if isinstance(job, AuditJob) else behaviour(job)
