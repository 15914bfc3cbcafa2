"""The sandbox: where model-written code runs, and what it can't do there. See docs/sandbox.md."""

from superalign.sandbox.layers import Absent, Isolation, best_isolation, chosen, interpreter, standing
from superalign.sandbox.limits import Limits, Outcome, SandboxUnavailable
from superalign.sandbox.play import Played, Program, Result, play
from superalign.sandbox.start import run

__all__ = [
    "Absent",
    "Isolation",
    "Limits",
    "Outcome",
    "Played",
    "Program",
    "Result",
    "SandboxUnavailable",
    "best_isolation",
    "chosen",
    "interpreter",
    "play",
    "run",
    "standing",
]
