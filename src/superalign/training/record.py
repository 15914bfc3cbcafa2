"""The trainer's entries in the ledger: what a model will be fitted to, and then what it was fitted to.

Nobody else writes `fit` edges. A plan that the firewall refuses raises before anything is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from superalign.evidence import Use, Workspace

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed


def plan_fit(ws: Workspace, *, name: str, base: str, data: Sequence[str], quarantined: bool = False) -> None:
    """Ask the firewall whether `base` may be fitted to `data` (digests) as a new model `name`; writes nothing.

    Raises FirewallError: a validation signal outside quarantine, unknown provenance, a candidate from an organism.
    """
    future = hashlib.sha256(f"planned {name}".encode()).hexdigest()
    ws.check_plan([Use(source, future, "fit", kind="model", quarantined=quarantined) for source in (base, *data)])


def record_fit(ws: Workspace, model: LocalModel, *, base: str, data: Sequence[str], quarantined: bool = False) -> None:
    """Register a fitted model and its `fit` edges from `base` and `data`. Saying it twice changes nothing.

    Raises FirewallError when the edges are refused; then the model has no provenance and no claim can rest on it.
    """
    meta: Mapping[str, Any] = {"parameters": sum(p.numel() for p in model.network.parameters())}
    with ws.ledger.transaction():
        ws.node(kind="model", digest=model.digest, name=model.name, quarantined=quarantined, meta=meta)
        for source in (base, *data):
            ws.use(source, model.digest, "fit")
