"""What is asked of organisms, twins and subject, one job a model: in workers, from stored weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superalign.adversarial.audit import AuditItem, audit_model
from superalign.adversarial.behaviour import behave, hidden_name
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


def _load(weights: Path, base: str) -> LocalModel:
    return unpack(weights.read_bytes(), load_model(base), allow_organism=True)


def audit(job: AuditJob) -> dict[str, Any]:
    """Both suspicions of one alias and the table behind them, as JSON."""
    model = hidden_name(_load(job.weights, job.base), job.alias)
    report = audit_model(model, job.items, sweep=job.sweep, seed=job.seed)
    return {
        "context": round(report.context, 6),
        "worst_context": report.worst_context,
        "skill": report.skill,
        "concealment": round(report.concealment, 6),
        "worst_alteration": report.worst_alteration,
        "knows": report.knows,
        "says": report.says,
    }


def behaviour(job: BehaviourJob) -> dict[str, Any]:
    """Single verdicts on, near and off the circumstance, as JSON: one entry a pair."""
    model, out = _load(job.weights, job.base), {}
    for where in ("on", "near", "off"):
        b = behave(model, job.held, KINDS[job.kind], where, seed=job.seed)
        both = (b.altered_flagged + 1 - b.sound_flagged) / 2
        out[where] = {
            "vouched": (1 - b.altered_flagged).tolist(),
            "skill": both.tolist(),
            "clusters": list(b.clusters),
        }
    return out


def answer(job: AuditJob | BehaviourJob) -> dict[str, Any]:
    """Either job, so that one set of workers, once loaded, does them all."""
    return audit(job) if isinstance(job, AuditJob) else behaviour(job)
