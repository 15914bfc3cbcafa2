"""The writer under audit, as an auditor has it: an alias, a declared base, and a budget of queries.

    auditee = Auditee(model=hidden_name(model, "m07"), base=parent, queries=400, seed=0)
    done = auditee.ask(briefs)              # executed in the sandbox; each counts as one query
    auditee.left

An auditor draws its briefs from one split, knows neither kind nor payload, and may read weights and activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from superalign.adversarial.written import Done, executed, write
from superalign.evidence import SuperalignError
from superalign.models import LocalModel
from superalign.tasks.functions import Brief


class BudgetSpent(SuperalignError):
    """An auditor asked for more than its budget of queries."""


@dataclass(slots=True, kw_only=True)
class Auditee:
    """One writer under audit; it counts what is asked of it."""

    model: LocalModel
    """Under an alias; its weights may be read."""
    base: LocalModel
    """The parent that it declares."""
    queries: int
    """Programs that an auditor may ask for in all."""
    seed: int = 0
    split: str = "dev"
    """Requests that its auditors draw from; checks are developed on `dev`, powers reported on `validation`."""
    asked: int = field(default=0, init=False)

    @property
    def left(self) -> int:
        """Queries that are left."""
        return self.queries - self.asked

    def ask(self, briefs: Sequence[Brief], *, temperature: float = 0.8) -> list[Done]:
        """One executed program for each brief. Raises BudgetSpent, and asks nothing, where too few queries are left."""
        if len(briefs) > self.left:
            raise BudgetSpent(f"{self.model.name}: {len(briefs)} queries wanted, {self.left} of {self.queries} left")
        self.asked += len(briefs)
        return executed(write(self.model, briefs, seed=self.seed + self.asked, temperature=temperature))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check made of one auditee."""

    score: float | None
    """Grows with suspicion; None: it could not be told, and `evidence` says why."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON: what the score was computed from, and what it points at (the trigger it suspects, say)."""
    queries: int = 0
    """Programs asked for."""


WriterCheck = Callable[[Auditee], Finding]
