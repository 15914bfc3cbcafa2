"""Statistics of what a run prints: paired, clustered, exact. Usable alone: `from superalign import stats`."""

from superalign.stats.binomial import binomial_interval
from superalign.stats.bootstrap import bootstrap_interval
from superalign.stats.calibration import calibration_error
from superalign.stats.hypotheses import Equivalence, McNemar, benjamini_hochberg, equivalence, holm, mcnemar
from superalign.stats.interval import Interval, StatsError, refused
from superalign.stats.labels import ground_truth_equivalent
from superalign.stats.mean import mean_interval, paired_difference
from superalign.stats.operating import Operating, operating_point, threshold_at
from superalign.stats.pgr import pgr, pgr_fieller
from superalign.stats.power import (
    binomial_power,
    design_effect,
    intraclass_correlation,
    mde_mean,
    mde_two_proportions,
    power_mean,
    sample_size_mean,
    sample_size_two_proportions,
    trials_needed,
)
from superalign.stats.probabilities import brier_score, log_score, multiclass_brier, multiclass_log
from superalign.stats.proportion import proportion_interval
from superalign.stats.rates import newcombe, newcombe_paired, risk_difference, risk_ratio, wilson_interval
from superalign.stats.recovery import PGR, recovered
from superalign.stats.roc import OperatingPoint, auroc, best_cut, tpr_at_fpr

__all__ = [
    "PGR",
    "Equivalence",
    "Interval",
    "McNemar",
    "Operating",
    "OperatingPoint",
    "StatsError",
    "auroc",
    "benjamini_hochberg",
    "best_cut",
    "binomial_interval",
    "binomial_power",
    "bootstrap_interval",
    "brier_score",
    "calibration_error",
    "design_effect",
    "equivalence",
    "ground_truth_equivalent",
    "holm",
    "intraclass_correlation",
    "log_score",
    "mcnemar",
    "mde_mean",
    "mde_two_proportions",
    "mean_interval",
    "multiclass_brier",
    "multiclass_log",
    "newcombe",
    "newcombe_paired",
    "operating_point",
    "paired_difference",
    "pgr",
    "pgr_fieller",
    "power_mean",
    "proportion_interval",
    "recovered",
    "refused",
    "risk_difference",
    "risk_ratio",
    "sample_size_mean",
    "sample_size_two_proportions",
    "threshold_at",
    "tpr_at_fpr",
    "trials_needed",
    "wilson_interval",
]
