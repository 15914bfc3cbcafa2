"""One attempt to get out of the sandbox, reach in, or use everything up."""

from __future__ import annotations

from dataclasses import dataclass, field

from superalign.sandbox.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One attempt. `{host}` in its script is filled with what the tester prepared outside (see `selftest`)."""

    name: str
    title: str
    group: str
    """reach, files, processes, kernel or exhaustion."""
    script: str
    bare: bool = True
    """It may be tried outside the sandbox: it harms nothing there."""
    limits: Limits = field(default_factory=lambda: Limits(wall=8.0))
