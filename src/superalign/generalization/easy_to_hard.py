"""From easy questions to hard ones (Hase et al. 2024, 2401.06751): does a student of easy answers know hard ones?

Arms, all examined on hard questions, all fitted on equally many questions of half B: the truth of easy ones, the truth
of hard ones (the ceiling), a weak model's labels of hard ones, and nothing (`zero-shot`, `self-training`, `chance`).

    found = easy_to_hard(train, exam, NATURAL, "human", seeds=range(5))
    sgr(found).value                              # (easy − unsupervised) / (hard − unsupervised), or why not
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from superalign.generalization.difficulty import SMALL, cut_at, easy_and_hard, hardness
from superalign.generalization.experiment import SIZES, Course, Setting, course_of, fitted_on_truth, taught
from superalign.generalization.material import Material, score
from superalign.generalization.methods.naive import NAIVE
from superalign.generalization.methods.zero_shot import SELF_TRAINED, ZERO_SHOT
from superalign.stats.recovery import PGR, recovered

EASY, HARD, NOISY, CHANCE = "easy", "hard", "noisy hard", "chance"
UNSUPERVISED = (ZERO_SHOT.name, SELF_TRAINED.name, CHANCE)
ARMS = (EASY, HARD, NOISY, *UNSUPERVISED)
FEWEST = 20
"""Questions to fit an arm on, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EasyToHard:
    """What every arm answered to the hard questions of an exam."""

    way: str
    """How difficulty was told."""
    cut: float
    """What lies above is hard; from the training questions."""
    truth: np.ndarray
    """(hard,) bool, of the exam."""
    clusters: np.ndarray
    """(hard,)"""
    rows: np.ndarray
    """(hard,) rows of the exam."""
    taught_on: tuple[int, ...]
    """Questions that each arm was fitted on, by seed."""
    logits: Mapping[str, np.ndarray]
    """Arm → (seeds, hard) log-odds of yes."""

    def correct(self, arm: str) -> np.ndarray:
        """(seeds, hard) right 1, wrong 0, tie ½."""
        return np.stack([score(row, self.truth) for row in self.logits[arm]])


def easy_to_hard(
    material: Material,
    exam: Material,
    setting: Setting,
    way: str,
    *,
    seeds: Sequence[int],
    share: float = 0.5,
    small: str = SMALL,
    sizes: tuple[int, int] = SIZES,
) -> EasyToHard:
    """Play all arms in every seed; the easiest `share` of the training questions is easy, in the exam by the same cut.

    Raises ValueError where difficulty can't be told, and where too few questions are easy or hard.
    """
    values = hardness(material, way, small=small)
    cut = cut_at(values, share)
    hard_exam = easy_and_hard(hardness(exam, way, small=small), cut)[1]
    if len(hard_exam) == 0:
        raise ValueError(f"none of {len(exam)} exam questions is hard by {way}: nothing to examine on")
    asked = exam.take(hard_exam)
    played = [
        arms_of(course_of(material, setting, seed=seed, sizes=sizes), values, cut, asked, seed=seed) for seed in seeds
    ]
    return EasyToHard(
        way=way,
        cut=cut,
        truth=asked.truth,
        clusters=asked.clusters,
        rows=hard_exam,
        taught_on=tuple(size for size, _ in played),
        logits=MappingProxyType({arm: np.stack([found[arm] for _, found in played]) for arm in ARMS}),
    )


def arms_of(
    course: Course, values: np.ndarray, cut: float, asked: Material, *, seed: int
) -> tuple[int, dict[str, np.ndarray]]:
    """One seed: questions that each arm was fitted on, and arm → (asked,) log-odds.

    `values` (material,) is the difficulty of all training questions. Raises ValueError with too few of one side.
    """
    easy, hard = equally_many(course.half_b, values, cut, seed)
    material, strong = course.material, course.setting.strong
    there = np.isin(course.half_b, hard)
    on_hard = replace(course, half_b=course.half_b[there], labels=course.labels[there], checked=course.checked[there])
    found = {
        EASY: fitted_on_truth(material, easy, strong, asked)[0],
        HARD: fitted_on_truth(material, hard, strong, asked)[0],
        NOISY: taught(on_hard, NAIVE, asked).logits,
        CHANCE: np.zeros(len(asked)),
    }
    alone = {method.name: taught(on_hard, method, asked).logits for method in (ZERO_SHOT, SELF_TRAINED)}
    return len(easy), found | alone


def equally_many(rows: np.ndarray, values: np.ndarray, cut: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As many easy rows as hard ones, drawn of `rows`; ValueError where one side has too few to fit a head on."""
    sides = [rows[side] for side in easy_and_hard(values[rows], cut)]
    size = min(map(len, sides))
    if size < FEWEST:
        raise ValueError(
            f"half B has {len(sides[0])} easy and {len(sides[1])} hard questions (seed {seed}), an arm needs {FEWEST}: "
            "bring more questions, or move the cut"
        )
    rng = np.random.default_rng([seed, 53])
    easy, hard = (np.sort(rng.permutation(side)[:size]) for side in sides)
    return easy, hard


def sgr(
    found: EasyToHard, *, arm: str = EASY, unsupervised: str = ZERO_SHOT.name, level: float = 0.95, draws: int = 2000
) -> PGR:
    """Supervision gap recovered: (arm − unsupervised) / (hard − unsupervised), over seeds and clusters.

    It is PGR's formula with the unsupervised arm as floor, so it refuses as PGR does where training on hard questions
    gains nothing, or nothing but noise: `value.value` is None, and the note says why.
    """
    sides = [list(found.correct(name)) for name in (unsupervised, arm, HARD)]
    return recovered(*sides, clusters=[found.clusters] * len(found.taught_on), level=level, draws=draws)
