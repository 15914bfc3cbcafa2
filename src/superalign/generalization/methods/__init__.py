"""Every published way to learn from weak supervision, one file each. Adding one is a file and a line here.

Third parties offer theirs under the entry point `superalign.recipes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from superalign.generalization.lesson import Method
from superalign.generalization.methods.bodies import BODIES
from superalign.generalization.methods.bootstrapping import BOOTSTRAPPING
from superalign.generalization.methods.bought import BOUGHT
from superalign.generalization.methods.ccs import CCS
from superalign.generalization.methods.ccs_evolved import CCS_EVOLVED
from superalign.generalization.methods.confident import CONFIDENCE_WEIGHTED, CONFIDENT_HALF
from superalign.generalization.methods.consistent import CONSISTENT
from superalign.generalization.methods.crc import CRC, CRC_ZERO_SHOT
from superalign.generalization.methods.early_stopping import EARLY_STOPPING_CHEATING, EARLY_STOPPING_HONEST
from superalign.generalization.methods.em import EM, EM_3
from superalign.generalization.methods.ensemble import BAGGED, BOOSTED
from superalign.generalization.methods.epiplexity import EPIPLEXITY
from superalign.generalization.methods.icm import ICM, ICM_BLIND
from superalign.generalization.methods.knn import KNN
from superalign.generalization.methods.logconf import LOGCONF, LOGCONF_75
from superalign.generalization.methods.losses import ENTROPY, PRODUCT, REVERSE_KL, WINDOW
from superalign.generalization.methods.mdl import MDL
from superalign.generalization.methods.mean_difference import MEAN_DIFFERENCE
from superalign.generalization.methods.moments import OURS
from superalign.generalization.methods.naive import NAIVE, NAIVE_HARD
from superalign.generalization.methods.overlap import OVERLAP, OVERLAP_GEOMETRY
from superalign.generalization.methods.probe import PROBE, PROBE_REGULARISED
from superalign.generalization.methods.regularised import REGULARISED, REGULARISED_CHEATING, REGULARISED_HONEST
from superalign.generalization.methods.relabelling import RELABELLING, RELABELLING_3
from superalign.generalization.methods.zero_shot import SELF_TRAINED, ZERO_SHOT

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            ZERO_SHOT,
            SELF_TRAINED,
            NAIVE,
            NAIVE_HARD,
            REGULARISED,
            REGULARISED_HONEST,
            REGULARISED_CHEATING,
            EARLY_STOPPING_HONEST,
            EARLY_STOPPING_CHEATING,
            LOGCONF,
            LOGCONF_75,
            CONFIDENT_HALF,
            CONFIDENCE_WEIGHTED,
            PRODUCT,
            ENTROPY,
            WINDOW,
            REVERSE_KL,
            BAGGED,
            BOOSTED,
            BOOTSTRAPPING,
            RELABELLING,
            RELABELLING_3,
            KNN,
            OVERLAP,
            OVERLAP_GEOMETRY,
            MDL,
            EPIPLEXITY,
            EM,
            EM_3,
            MEAN_DIFFERENCE,
            PROBE,
            PROBE_REGULARISED,
            CRC,
            CRC_ZERO_SHOT,
            CCS,
            CCS_EVOLVED,
            ICM,
            ICM_BLIND,
            CONSISTENT,
            *BOUGHT,
            *OURS,
            *BODIES,
        )
    }
)


def all_methods() -> dict[str, Method]:
    """These and those of plugins, by name. Raises ValueError where a plugin takes a name that is taken."""
    found = dict(METHODS)
    for point in entry_points(group="superalign.recipes"):
        method = point.load()
        if method.name in found:
            raise ValueError(f"{point.value} offers a method named {method.name!r}, and there is one: rename it")
        found[method.name] = method
    return found


__all__ = ["METHODS", "all_methods"]
