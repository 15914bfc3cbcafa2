"""Generalization: how much of a strong model's ability comes back from weak labels, and by which trick."""

from superalign.generalization.experiment import Arm, SeedResult, Views, run_seed
from superalign.generalization.methods import METHODS, Lesson, em_labels, zero_shot

__all__ = ["METHODS", "Arm", "Lesson", "SeedResult", "Views", "em_labels", "run_seed", "zero_shot"]
