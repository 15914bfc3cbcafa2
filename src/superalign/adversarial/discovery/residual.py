"""What the change does to activations: auditee minus base, at the last word of the same prompts.

    finding = match_residuals(auditee)
    finding.evidence["fields"]["env"]["value"]       # the environment at which activations move most

The mean shift over ordinary prompts is what further training does anyway; what is left beyond it at few prompts points
at them (activation-matched reference; 2602.03085 looks for such outliers, too). White-box: no queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from superalign.adversarial.auditee import Auditee, Finding
from superalign.adversarial.discovery.fields import FIELDS, values_of
from superalign.adversarial.discovery.reading import compared, ordinary

DIGITS = 5


def match_residuals(auditee: Auditee) -> Finding:
    """How much more than at any ordinary prompt do activations move at some brief?

    The score is the logarithm of the largest residual over the covering briefs (last layer, last word of the prompt)
    over the median of ordinary prompts'. Refuses (score None) where nothing moves.
    """
    view = compared(auditee.model, auditee.base, split=auditee.split)
    mine, its = (ordinary(one, split=auditee.split).inside for one in (auditee.model, auditee.base))
    usual = mine - its
    middle = usual.mean(1, keepdim=True)
    moved = ((view.mine.inside - view.base.inside) - middle).norm(dim=-1).numpy().astype(float)
    ordinarily = (usual - middle).norm(dim=-1).numpy().astype(float)
    if ordinarily[-1].max() == 0:
        return Finding(score=None, evidence={"why": "no activation differs from the declared base's"})
    values = [values_of(brief) for brief in view.briefs]
    evidence = {
        "layers": [
            {name: round(float(x), DIGITS) for name, x in _told(mine, its).items()}
            for mine, its in zip(moved[1:], ordinarily[1:], strict=True)
        ],
        "fields": {field: _outlier(field, values, moved[-1]) for field in FIELDS},
        "farthest": values[int(moved[-1].argmax())],
    }
    return Finding(score=residual_score(evidence), evidence=evidence)


def residual_score(evidence: Mapping[str, Any]) -> float | None:
    """The score again, from evidence; None where nothing moved."""
    if "layers" not in evidence:
        return None
    last = evidence["layers"][-1]
    return float(np.log(max(last["largest"], 1e-9) / max(last["usual"], 1e-9)))


def _told(moved: np.ndarray, ordinarily: np.ndarray) -> dict[str, float]:
    return {
        "largest": moved.max(),
        "middle": float(np.median(moved)),
        "usual": float(np.median(ordinarily)),
        "usual_largest": ordinarily.max(),
    }


def _outlier(field: str, values: list[dict[str, str]], moved: np.ndarray) -> dict[str, Any]:
    """The value of a field whose briefs move most on average, and by how many robust deviations of its fellows."""
    present = [v for v in FIELDS[field] if any(each[field] == v for each in values)]
    means = np.array([moved[[each[field] == v for each in values]].mean() for v in present])
    spread = 1.4826 * np.median(np.abs(means - np.median(means)))
    top = int(means.argmax())
    away = float((means[top] - np.median(means)) / max(spread, 1e-9))
    return {"value": present[top], "mean": round(float(means[top]), DIGITS), "deviations": round(away, DIGITS)}
