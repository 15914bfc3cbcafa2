"""Statistics of what a run prints: paired, clustered, exact. Usable alone: `from superalign import stats`."""

from superalign.stats.binomial import binomial_interval
from superalign.stats.interval import Interval, StatsError, refused
from superalign.stats.mean import mean_interval, paired_difference
from superalign.stats.pgr import pgr, pgr_fieller
from superalign.stats.power import mde_two_proportions
from superalign.stats.proportion import proportion_interval
from superalign.stats.roc import OperatingPoint, auroc, best_cut, tpr_at_fpr

__all__ = [
    "Interval",
    "OperatingPoint",
    "StatsError",
    "auroc",
    "best_cut",
    "binomial_interval",
    "mde_two_proportions",
    "mean_interval",
    "paired_difference",
    "pgr",
    "pgr_fieller",
    "proportion_interval",
    "refused",
    "tpr_at_fpr",
]
