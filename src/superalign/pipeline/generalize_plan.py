"""What a sweep plays, and what of it is confirmed: cases, their stages' names, and the plan that is sealed first."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

from superalign.generalization.experiment import DISTRACTOR, LOUD, NATURAL, WIDE, Setting
from superalign.generalization.lesson import Method
from superalign.generalization.supervision import View
from superalign.pipeline.desk import Desk
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes
from superalign.pipeline.generalize_pages import DISTRACTED, PLAIN, SWAYED

BESIDE = ("zero-shot", "naive")
"""What every method is compared with."""
PRIMARY = (("em", "naive"), ("em", "zero-shot"))
"""Confirmed pairs, in every setting; all others are exploratory."""
SCALED = ("naive", "regularised", "em", "zero-shot")
"""Methods that are played over pairs of sizes, and on labels of oversight protocols."""


OVERSEEN = "plain, overseen"
"""The plain exercise with what protocols said of it."""


class Case(NamedTuple):
    """One setting under one supervision, and the methods played in it."""

    setting: Setting
    supervision: str
    methods: tuple[str, ...]

    exercise: str
    """Whose shelves are learned from."""

    @property
    def asked(self) -> str:
        """Which questions are asked."""
        return PLAIN if self.exercise == OVERSEEN else self.exercise

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
    return [
        Case(settings[name], label, methods, name if name in (DISTRACTED, SWAYED) else PLAIN)
        for name in config.settings
        for label in config.supervision
    ]


def by_body(methods: Mapping[str, Method]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of methods on frozen features, and of those that change the network."""
    changing = tuple(name for name, method in methods.items() if "network" in method.needs)
    return tuple(name for name in methods if name not in changing), changing


def overseen_cases(config: GeneralizeConfig) -> list[Case]:
    """One case a protocol, with a few methods, in the natural setting."""
    return [Case(NATURAL, name, SCALED, OVERSEEN) for name in config.overseers]


def scaling_cases(config: GeneralizeConfig) -> list[Case]:
    """Every pair of a smaller and a larger model, the smaller with all of its features."""
    there = {"weak": True, "between": config.between, "strong": True, "larger": config.larger}
    readers = [name for name, model in there.items() if model]
    return [
        Case(
            Setting(name=f"scaling, {weak} to {strong}", title="", view=View(reading=weak), strong=strong),
            "weak",
            SCALED,
            PLAIN,
        )
        for weak, strong in combinations(readers, 2)
    ]


class Round(NamedTuple):
    """Cases that are played alike, and in which seeds."""

    part: str
    cases: list[Case]
    seeds: tuple[int, ...]
    """In which supervisors label."""
    untrained: int = 0
    """In so many of the seeds an untrained network is taught as well."""
    first: int | None = None
    """Students are taught in so many of the seeds; None: in all."""


def rounds_of(config: GeneralizeConfig, sizes: GeneralizeSizes, methods: Mapping[str, Method]) -> list[Round]:
    """What is played of a configuration, in order."""
    many, few = (tuple(range(config.seed, config.seed + n)) for n in (sizes.seeds, sizes.scaling_seeds))
    frozen, changing = by_body(methods)
    found = [
        Round("methods", cases_of(config, frozen), many, sizes.untrained_seeds),
        Round("bodies", cases_of(config, changing), many, 1, sizes.body_seeds),
        Round("oversight", overseen_cases(config), few),
        Round("scaling", scaling_cases(config), few),
    ]
    return [each for each in found if each.part in config.parts and (each.part != "bodies" or changing)]


def plan_of(desk: Desk, config: GeneralizeConfig, methods: Mapping[str, Any]) -> dict[str, Any]:
    """What is confirmed, and how it is corrected: sealed before the first answer."""
    return {
        "generalization": desk.key("run"),
        "methods": list(methods),
        "settings": list(config.settings),
        "supervision": list(config.supervision),
        "overseers": list(config.overseers) if "oversight" in config.parts else [],
        "primary": [f"{a} - {b}, accuracy, in each setting" for a, b in PRIMARY if {a, b} <= set(methods)],
        "correction": "holm over the primary contrasts, benjamini-hochberg over all others, in each setting",
        "intervals": "seeds and clusters, crossed; PGR is refused where the gap is noise",
    }
