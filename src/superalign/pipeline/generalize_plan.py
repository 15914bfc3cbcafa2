"""What a sweep plays, and what of it is confirmed: cases, their stages' names, and the plan that is sealed first."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

from superalign.generalization.experiment import DISTRACTOR, LOUD, NATURAL, WIDE, Setting
from superalign.generalization.supervision import View
from superalign.pipeline.desk import Desk
from superalign.pipeline.generalize_config import GeneralizeConfig
from superalign.pipeline.generalize_pages import DISTRACTED, PLAIN, SWAYED

BESIDE = ("zero-shot", "naive")
"""What every method is compared with."""
PRIMARY = (("em", "naive"), ("em", "zero-shot"))
"""Confirmed pairs, in every setting; all others are exploratory."""
SCALED = ("naive", "regularised", "em", "zero-shot")
"""Methods that are played over pairs of sizes."""


class Case(NamedTuple):
    """One setting under one supervision, and the methods played in it."""

    setting: Setting
    supervision: str
    methods: tuple[str, ...]

    @property
    def bounds(self) -> str:
        """Name of the stage that labels and bounds it."""
        return f"{self.setting.name}, {self.supervision}: labels and bounds"

    def answers(self, method: str) -> str:
        """Name of the stage in which a method is played."""
        return f"{self.setting.name}, {self.supervision}: {method}"


def cases_of(config: GeneralizeConfig, methods: tuple[str, ...]) -> list[Case]:
    """Every setting under every supervision."""
    settings = {"wide": WIDE, "natural": NATURAL, "distractor": DISTRACTOR, "loud": LOUD}
    return [Case(settings[name], label, methods) for name in config.settings for label in config.supervision]


def scaling_cases(config: GeneralizeConfig) -> list[Case]:
    """Every pair of a smaller and a larger model, the smaller with all of its features."""
    readers = ("weak", "s", "strong") if config.between else ("weak", "strong")
    return [
        Case(
            Setting(name=f"scaling, {weak} to {strong}", title="", view=View(reading=weak), strong=strong),
            "weak",
            SCALED,
        )
        for weak, strong in combinations(readers, 2)
    ]


def exercise_of(setting: Setting) -> str:
    """Which questions a setting asks."""
    return setting.name if setting.name in (DISTRACTED, SWAYED) else PLAIN


def plan_of(desk: Desk, config: GeneralizeConfig, methods: Mapping[str, Any]) -> dict[str, Any]:
    """What is confirmed, and how it is corrected: sealed before the first answer."""
    return {
        "generalization": desk.key("run"),
        "methods": list(methods),
        "settings": list(config.settings),
        "supervision": list(config.supervision),
        "primary": [f"{a} - {b}, accuracy, in each setting" for a, b in PRIMARY if {a, b} <= set(methods)],
        "correction": "holm over the primary contrasts, benjamini-hochberg over all others, in each setting",
        "intervals": "seeds and clusters, crossed; PGR is refused where the gap is noise",
    }
