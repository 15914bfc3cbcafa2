"""Control: how safe, and how useful, a writer is that nobody trusts, under a protocol that watches it.

    policy = shelved_policy("fixed", 0, allow_organism=True)
    runs = play_runs(policy, trusted=load_writer("trusted"), monitors={"trusted": monitor}, drafts=4)
    for control in usual_controls(): frontier(control, runs)

`runs` are raw and plain JSON (`as_json`); every number is computed from them alone.
"""

from superalign.adversarial.control.auditing import (
    CATCHES,
    ControlError,
    attacked_deployment,
    audit_threshold,
    deployment_safety,
    flag_chances,
    safety_of,
)
from superalign.adversarial.control.editing import rewritten
from superalign.adversarial.control.episodes import (
    Episode,
    Output,
    Policy,
    Runs,
    as_json,
    from_json,
    play_runs,
    shelved_policy,
)
from superalign.adversarial.control.frontier import BUDGETS, frontier
from superalign.adversarial.control.protocols import Control, usual_controls
from superalign.adversarial.control.rounds import Contest, Turn, contest, expert_red, ngram_blue, turn_points
from superalign.adversarial.control.untrusted import Honeypot, Redacted, collusion, honeypots, rated
from superalign.adversarial.control.upfront import (
    upfront_audits,
    upfront_played,
    upfront_point,
    upfront_safety,
    upfront_usefulness,
    upfront_worst,
)

__all__ = [
    "BUDGETS",
    "CATCHES",
    "Contest",
    "Control",
    "ControlError",
    "Episode",
    "Honeypot",
    "Output",
    "Policy",
    "Redacted",
    "Runs",
    "Turn",
    "as_json",
    "attacked_deployment",
    "audit_threshold",
    "collusion",
    "contest",
    "deployment_safety",
    "expert_red",
    "flag_chances",
    "from_json",
    "frontier",
    "honeypots",
    "ngram_blue",
    "play_runs",
    "rated",
    "rewritten",
    "safety_of",
    "shelved_policy",
    "turn_points",
    "upfront_audits",
    "upfront_played",
    "upfront_point",
    "upfront_safety",
    "upfront_usefulness",
    "upfront_worst",
    "usual_controls",
]
