"""One seed of the weak-to-strong experiment: floor, weak labels, students, ceiling, and the checks beside them.

Roles (Burns et al. 2023, §3): the weak floor is fitted on ground truth of half A; its labels on half B supervise the
student; the ceiling is the strong model fitted on ground truth of the same half B, its penalty chosen on a fifth of
that half. Halves are drawn by cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from superalign.generalization.methods import METHODS, Lesson, zero_shot
from superalign.training.features import TextFeatures
from superalign.training.heads import LinearHead, fit_head, fit_head_chosen

WEAK_L2 = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """One set of pairs as the models see it: features of both texts under each model, and the clusters."""

    weak: tuple[TextFeatures, TextFeatures]
    strong: tuple[TextFeatures, TextFeatures]
    untrained: tuple[TextFeatures, TextFeatures] | None
    clusters: np.ndarray

    def weak_differences(self) -> np.ndarray:
        """(pairs, features): the handicapped supervisor's view, mean and maximum of hidden states only."""
        return self.weak[0].narrow - self.weak[1].narrow

    def differences(self, who: str = "strong") -> np.ndarray:
        """(pairs, features) of the strong or the untrained model."""
        first, second = getattr(self, who)
        return np.asarray(first.wide - second.wide)

    def belief(self, who: str = "strong") -> np.ndarray:
        """Zero-shot P(first is sound)."""
        first, second = getattr(self, who)
        return zero_shot(first.surprisal, second.surprisal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One student on the test pairs: right (1), wrong (0) or tied (½) on each, and what its labels cost."""

    name: str
    kind: str
    """method, control, checks or oversight."""
    correct: np.ndarray
    checks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """All arms of one seed, on the same test pairs; `labels` are the posterior labels of half B by arm."""

    seed: int
    floor: Arm
    ceiling: Arm
    arms: tuple[Arm, ...]
    half_b: np.ndarray
    labels: Mapping[str, np.ndarray]
    weak_labels_right: float
    ceiling_l2: float
    """Penalty of the ceiling, chosen on a fifth of half B."""


Labeller = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray, int]]
"""(rows of half B, weak labels, rng) → (labels, which are checked, checks spent)."""


def halves(clusters: np.ndarray, sizes: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of half A and half B: whole clusters go to one side or the other, then each is cut to size."""
    names = rng.permutation(np.unique(clusters))
    counts = {name: int((clusters == name).sum()) for name in names}
    share, side_a, total = sizes[0] / sum(sizes), set(), 0
    for name in names:
        if total < share * len(clusters):
            side_a.add(name)
            total += counts[name]
    in_a = np.isin(clusters, list(side_a))
    a, b = rng.permutation(np.flatnonzero(in_a)), rng.permutation(np.flatnonzero(~in_a))
    return a[: sizes[0]], b[: sizes[1]]


def score(logits: np.ndarray, first_sound: np.ndarray) -> np.ndarray:
    """1 where the sign is right, 0 where wrong, ½ on ties."""
    return np.where(logits == 0, 0.5, (logits > 0) == first_sound).astype(np.float64)


def run_seed(
    train: Views,
    truth: np.ndarray,
    test: Views,
    test_truth: np.ndarray,
    *,
    seed: int,
    labellers: Mapping[str, tuple[str, Labeller]],
    sizes: tuple[int, int] = (2000, 4000),
    test_size: int = 4000,
) -> SeedResult:
    """Play one seed. `truth` is True where the first of a pair is sound; `labellers` are ways to spend checks.

    Every labeller is combined with every method; `none` (plain weak labels) is always there.
    """
    rng = np.random.default_rng([seed, 5])
    a, b = halves(train.clusters, sizes, rng)
    rows = np.sort(rng.permutation(len(test_truth))[:test_size])
    weak = fit_head(train.weak_differences()[a], truth[a].astype(float), l2=WEAK_L2)
    weak_labels = weak.probabilities(train.weak_differences()[b])
    strong, strong_test, goal = train.differences()[b], test.differences()[rows], test_truth[rows]
    prior = train.belief()[b]

    def arm(name: str, kind: str, head: LinearHead, checks: int = 0) -> Arm:
        return Arm(name=name, kind=kind, correct=score(head.logits(strong_test), goal), checks=checks)

    floor = Arm(name="weak floor", kind="control", correct=score(weak.logits(test.weak_differences()[rows]), goal))
    supervised, ceiling_l2 = fit_head_chosen(strong, truth[b].astype(float), clusters=train.clusters[b])
    ceiling = arm("ceiling", "control", supervised)
    belief = test.belief()[rows] - 0.5
    arms = [Arm(name="zero-shot", kind="control", correct=score(belief, goal))]
    labels: dict[str, np.ndarray] = {}
    ways = {"none": ("method", _unchecked), **labellers}
    for way, (kind, labeller) in ways.items():
        given, checked, spent = labeller(b, weak_labels, np.random.default_rng([seed, 17]))
        lesson = Lesson(differences=strong, labels=given, prior=prior, checked=checked)
        labels[way] = given
        for method, fit in METHODS.items():
            arms.append(arm(method if way == "none" else f"{method} + {way}", kind, fit(lesson), spent))
    if train.untrained is not None:
        arms += _untrained(train, test, rows, b, weak_labels, goal)
    right = float(((weak_labels > 0.5) == truth[b]).mean())
    return SeedResult(
        seed=seed,
        floor=floor,
        ceiling=ceiling,
        arms=tuple(arms),
        half_b=b,
        labels=labels,
        weak_labels_right=right,
        ceiling_l2=ceiling_l2,
    )


def _unchecked(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    return labels, np.zeros(len(rows), dtype=bool), 0


def _untrained(
    train: Views, test: Views, rows: np.ndarray, b: np.ndarray, labels: np.ndarray, goal: np.ndarray
) -> list[Arm]:
    x, y = train.differences("untrained")[b], test.differences("untrained")[rows]
    lesson = Lesson(
        differences=x, labels=labels, prior=train.belief("untrained")[b], checked=np.zeros(len(b), dtype=bool)
    )
    return [
        Arm(
            name=f"untrained strong, {name}",
            kind="control",
            correct=score(METHODS[name](lesson).logits(y), goal),
        )
        for name in ("naive", "em")
    ]
