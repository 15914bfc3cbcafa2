"""Every published way to learn from weak supervision, one file each. Adding one is a file and a line here.

Third parties offer theirs under the entry point `superalign.recipes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from superalign.generalization.lesson import Method
from superalign.generalization.methods.em import EM, EM_3
from superalign.generalization.methods.logconf import LOGCONF, LOGCONF_75
from superalign.generalization.methods.naive import NAIVE, NAIVE_HARD
from superalign.generalization.methods.regularised import REGULARISED, REGULARISED_CHEATING, REGULARISED_HONEST
from superalign.generalization.methods.zero_shot import SELF_TRAINED, ZERO_SHOT

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            NAIVE,
            NAIVE_HARD,
            REGULARISED,
            REGULARISED_HONEST,
            REGULARISED_CHEATING,
            LOGCONF,
            LOGCONF_75,
            EM,
            EM_3,
            ZERO_SHOT,
            SELF_TRAINED,
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
