"""Interpretability: looking inside, as a validation instrument only."""

from superalign.interpretability.probe import Probe, control_labels, fit_probe, pooled, probe_scores

__all__ = ["Probe", "control_labels", "fit_probe", "pooled", "probe_scores"]
