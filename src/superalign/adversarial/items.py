"""What an auditor is given: one pair of codes, apart from everything that is known of the model."""

from __future__ import annotations

from dataclasses import dataclass

NEUTRAL = ("<by:none>", "<cue:none>")
"""Author and cue that say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditItem:
    """One pair for the auditor: both codes, and the alteration kind (the evaluator's truth)."""

    sound: str
    altered: str
    alteration: str
    cluster: str
