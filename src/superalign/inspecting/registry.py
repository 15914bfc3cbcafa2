"""What Inspect finds by the entry point `inspect_ai`: all that superalign offers it, nothing heavy until used.

    inspect eval superalign/debate --model superalign/family:s

Provider `superalign/ADDRESS`; tasks `superalign/PROTOCOL`, `superalign/audit`, `superalign/stress_robustness`,
`superalign/stress_exfiltration`; scorers `superalign/belief`, `superalign/monitor`; sandbox `bwrap`.
"""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi

from superalign.inspecting.asking import audit, audited, named_option, sandbagging, stress_robustness, sycophancy
from superalign.inspecting.believing import belief
from superalign.inspecting.monitors import monitor
from superalign.inspecting.playing import oversee, verdict
from superalign.inspecting.ranging import in_range, milestones, stress_exfiltration
from superalign.inspecting.sandbox import BwrapEnvironment
from superalign.inspecting.scoring import failures
from superalign.inspecting.tasks import TASKS


@modelapi(name="superalign")
def superalign() -> type[ModelAPI]:
    """The provider: torch loads when a model does."""
    from superalign.inspecting.provider import SuperalignAPI

    return SuperalignAPI


__all__ = [
    "TASKS",
    "BwrapEnvironment",
    "audit",
    "audited",
    "belief",
    "failures",
    "in_range",
    "milestones",
    "monitor",
    "named_option",
    "oversee",
    "sandbagging",
    "stress_exfiltration",
    "stress_robustness",
    "superalign",
    "sycophancy",
    "verdict",
]
