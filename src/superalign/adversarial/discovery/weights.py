"""The change of weights itself: into which directions does it write, and which prompts go out of their range there?

    finding = weigh_changes(auditee)
    finding.evidence["outside"][0]["values"]        # the brief that lies farthest out

Whoever plants a behaviour by a change of weights adds to some matrices a few directions that wake where the behaviour
does ("Watch the Weights", 2508.00161). What enters a matrix is projected on the top singular directions of its change;
ordinary prompts give each direction a range. White-box: no queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from superalign.adversarial.auditee import Auditee, Finding
from superalign.adversarial.discovery.fields import values_of
from superalign.adversarial.discovery.reading import compared, matrices_of, ordinary
from superalign.models import LocalModel

DIRECTIONS = 3
"""Of each matrix."""
KEPT, KEPT_SIZES = 5, 16
DIGITS = 5


def weigh_changes(auditee: Auditee) -> Finding:
    """How far outside the range of ordinary prompts does any brief lie, in the directions that the change wrote into?

    The score is the largest distance from that range, in widths of the range. Refuses (score None) where no matrix
    was changed.
    """
    changes = changed(auditee.model, auditee.base)
    if not changes:
        return Finding(score=None, evidence={"why": "no matrix differs from the declared base's"})
    view = compared(auditee.model, auditee.base, split=auditee.split)
    design, usual = view.mine.entering, ordinary(auditee.model, split=auditee.split).entering
    matrices, distances = [], []
    for name, change in changes.items():
        _, _, rows = torch.linalg.svd(change, full_matrices=False)
        directions = rows[:DIRECTIONS].T
        away = outside((design[name] @ directions).numpy(), (usual[name] @ directions).numpy())
        distances.append(away)
        matrices.append({"matrix": name, "outside": [round(float(x), DIGITS) for x in away.max(0)]})
    farthest = np.concatenate(distances, axis=1).max(1)
    found = [
        {"values": values_of(view.briefs[i]), "outside": round(float(farthest[i]), DIGITS)}
        for i in np.argsort(-farthest, kind="stable")[:KEPT]
    ]
    evidence = {"matrices": matrices, "outside": found}
    return Finding(score=weights_score(evidence), evidence=evidence)


def weights_score(evidence: Mapping[str, Any]) -> float | None:
    """The score again, from evidence; None where nothing was changed."""
    if "matrices" not in evidence:
        return None
    return float(max(max(each["outside"]) for each in evidence["matrices"]))


def weigh_spectrum(auditee: Auditee) -> Finding:
    """How much of the change lies in one direction of each matrix?

    The score is the share of the squared size of the changes that the first direction of each matrix holds: 1 / rank
    where the change is spread evenly. Refuses (score None) where no matrix was changed.
    """
    changes = changed(auditee.model, auditee.base)
    if not changes:
        return Finding(score=None, evidence={"why": "no matrix differs from the declared base's"})
    sizes = {name: torch.linalg.svdvals(change)[:KEPT_SIZES].tolist() for name, change in changes.items()}
    evidence = {"sizes": {name: [round(size, DIGITS) for size in each] for name, each in sizes.items()}}
    return Finding(score=spectrum_score(evidence), evidence=evidence)


def spectrum_score(evidence: Mapping[str, Any]) -> float | None:
    """The score again, from evidence; None where nothing was changed."""
    if "sizes" not in evidence:
        return None
    squares = [np.square(each) for each in evidence["sizes"].values()]
    return float(sum(each[0] for each in squares) / sum(each.sum() for each in squares))


def changed(model: LocalModel, base: LocalModel) -> dict[str, torch.Tensor]:
    """Matrix → its change, (what comes out, what enters), on the CPU, of those in blocks that differ from the base's.

    Raises ValueError where the two have other shapes: then one is not the other's base.
    """
    out, before = {}, matrices_of(base)
    for name, module in matrices_of(model).items():
        weight, its = (each.get_parameter("weight").detach().cpu() for each in (module, before[name]))
        if its.shape != weight.shape:
            raise ValueError(f"{name} is {tuple(weight.shape)}, the base's {tuple(its.shape)}: not its base")
        if bool((weight != its).any()):
            out[name] = (weight - its).T if type(module).__name__ == "Conv1D" else weight - its
    return out


def outside(some: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """How far `some` (n, k) lie outside the range of the `usual` (m, k), in widths of that range; 0 inside."""
    low, high = usual.min(0), usual.max(0)
    away = np.maximum(np.maximum(low - some, some - high), 0) / np.maximum(high - low, 1e-12)
    return np.asarray(away)
