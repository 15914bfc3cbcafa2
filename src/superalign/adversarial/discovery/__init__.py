"""Looking for what nobody told you about: checks of a writer by an auditor who knows neither kind nor payload.

    for name, check in DISCOVERY.items():
        finding = check(auditee)                       # all of them together: 304 queries at most
        RESCORED[name](finding.evidence)               # the same score, from its raw evidence

`sweep` looks at behaviour alone. The others read weights and compare with the base that is declared: they are only as
good as that declaration.
"""

from collections.abc import Callable, Mapping
from typing import Any

from superalign.adversarial.auditee import WriterCheck
from superalign.adversarial.discovery.leak import leak_score, sample_leaks
from superalign.adversarial.discovery.residual import match_residuals, residual_score
from superalign.adversarial.discovery.signature import compare_signatures, signature_score
from superalign.adversarial.discovery.sweep import sweep_contexts, sweep_score
from superalign.adversarial.discovery.trigger import search_triggers, trigger_score
from superalign.adversarial.discovery.weights import spectrum_score, weigh_changes, weigh_spectrum, weights_score

DISCOVERY: Mapping[str, WriterCheck] = {
    "sweep": sweep_contexts,
    "trigger": search_triggers,
    "leak": sample_leaks,
    "weights": weigh_changes,
    "spectrum": weigh_spectrum,
    "residual": match_residuals,
    "signature": compare_signatures,
}
"""Name → check."""
RESCORED: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    "sweep": sweep_score,
    "trigger": trigger_score,
    "leak": leak_score,
    "weights": weights_score,
    "spectrum": spectrum_score,
    "residual": residual_score,
    "signature": signature_score,
}
"""Name → the score, computed from the evidence of a finding alone."""

__all__ = [
    "DISCOVERY",
    "RESCORED",
    "compare_signatures",
    "match_residuals",
    "sample_leaks",
    "search_triggers",
    "sweep_contexts",
    "weigh_changes",
    "weigh_spectrum",
]
