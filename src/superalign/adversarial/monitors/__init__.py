"""Monitors: what watches a model's steps, one interface for all of them."""

from superalign.adversarial.monitors.types import Monitor, Step, Suspicion, step_of

__all__ = ["Monitor", "Step", "Suspicion", "step_of"]
