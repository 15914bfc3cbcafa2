"""Monitors: what watches a model's steps, one interface for all of them.

    report = operating(scored(monitor, calibration), scored(monitor, held), fpr=0.01)

`static`: rules on the syntax tree; `ngram`: fitted to words; `surprisal`: of a trusted writer; `probes`: of states;
`trace`: what ran; `judge`: a language model; `ensemble`: several together. `operating`: at a stated false-alarm rate.
"""

from superalign.adversarial.monitors.ensemble import diverse, fit_ensemble
from superalign.adversarial.monitors.ngram import fit_ngram
from superalign.adversarial.monitors.operating import OperatingReport, cost_curve, operating, printed
from superalign.adversarial.monitors.probes import Probe, fit_probe, selectivity
from superalign.adversarial.monitors.scored import Case, Scores, scored, trajectories
from superalign.adversarial.monitors.static import Static
from superalign.adversarial.monitors.surprisal import Surprisal
from superalign.adversarial.monitors.threshold import flag_chance, roc_points, threshold_of
from superalign.adversarial.monitors.trace import Hooked, Trace, traced
from superalign.adversarial.monitors.types import Monitor, Step, Suspicion, step_of

__all__ = [
    "Case",
    "Hooked",
    "Monitor",
    "OperatingReport",
    "Probe",
    "Scores",
    "Static",
    "Step",
    "Surprisal",
    "Suspicion",
    "Trace",
    "cost_curve",
    "diverse",
    "fit_ensemble",
    "fit_ngram",
    "fit_probe",
    "flag_chance",
    "operating",
    "printed",
    "roc_points",
    "scored",
    "selectivity",
    "step_of",
    "threshold_of",
    "traced",
    "trajectories",
]
