"""Black-box attacks under a budget of queries: a fixed suite, a search that learns, and the same search that doesn't.

    fixed = static_suite(target, cases, REWORDINGS, seed=0)
    learnt = adaptive_search(target, cases, REWORDINGS, attempts=24, seed=0)

All cases are attacked side by side, one query each a round. What a transformation has earned is shared between them
(Thompson sampling over Beta posteriors), and so are compositions that have broken a case; the best composition met for
a case is altered further. The target tells nothing but its answers' scores. One that pays for
not being refused misleads the search, which then collects what makes answers useless: ours pay for use alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from superalign.adversarial.robustness.transformations import Plan, Transformation, composed
from superalign.adversarial.robustness.types import Attacker, Attempt, Case, Target, recorded

LONGEST = 4
"""Transformations of one composition, at most."""
ALTER, BORROW, BLIND = 0.4, 0.25, 0.15
"""Shares of queries that alter what earned something on a case, that try what broke another case, and that are drawn
without regard to what was learnt; the rest are new, of transformations that have earned something."""
FAMOUS = 16
"""Compositions remembered between cases: the latest that broke one."""


def static_suite(
    target: Target, cases: Sequence[Case], moves: Mapping[str, Transformation], *, seed: int, repeats: int = 1
) -> list[Attempt]:
    """Every transformation alone on every case, `repeats` times with seeds of its own: the same suite for all."""
    attacker = Attacker(name="static suite", access="static", attempts=len(moves) * repeats)
    plans: list[Plan] = [((name, seed + again),) for again in range(repeats) for name in moves]
    out: list[Attempt] = []
    for order, plan in enumerate(plans):
        out += _asked(target, cases, [plan] * len(cases), moves, attacker, order=order, seed=seed + order)
    return out


def adaptive_search(
    target: Target,
    cases: Sequence[Case],
    moves: Mapping[str, Transformation],
    *,
    attempts: int,
    seed: int,
    learning: bool = True,
) -> list[Attempt]:
    """`attempts` queries a case, whatever comes of them: the whole budget is spent, so that rates are not biased.

    What one case taught serves the others: the budget is so much a case for all of them together, and a bound holds for
    the search as it ran. Without `learning` compositions are drawn at random: the difference is what answers are worth.
    Raises ValueError for no transformations.
    """
    if not moves:
        raise ValueError("no transformations to compose: pass one or more")
    name = "adaptive search" if learning else "random search"
    attacker = Attacker(name=name, access="adaptive" if learning else "static", attempts=attempts)
    state = _State(names=tuple(moves), best=[None] * len(cases), rng=np.random.default_rng([seed, 173]))
    out: list[Attempt] = []
    for order in range(attempts):
        plans = [state.next_plan(i) if learning else state.fresh(blind=True) for i in range(len(cases))]
        told, scores = _scored(target, cases, plans, moves, attacker, order=order, seed=seed + order)
        out += told
        if learning:
            state.learn(plans, scores, [one.success for one in told])
    return out


@dataclass(slots=True, kw_only=True)
class _State:
    """What the search has learnt."""

    names: tuple[str, ...]
    best: list[tuple[float, Plan] | None]
    """The best composition met for each case."""
    rng: np.random.Generator
    famous: list[Plan] = field(default_factory=list)
    earned: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Name → pseudo-counts of gain and loss."""

    def fresh(self, *, blind: bool = False) -> Plan:
        """A new composition; transformations that have earned more come up more often, unless it is `blind`."""
        size = int(self.rng.integers(1, LONGEST + 1))
        even = (1.0, 1.0)
        drawn = {name: self.rng.beta(*(even if blind else self.earned.get(name, even))) for name in self.names}
        chosen = sorted(self.names, key=lambda name: -drawn[name])[:size]
        return tuple((chosen[i], self._seed()) for i in self.rng.permutation(len(chosen)))

    def next_plan(self, case: int) -> Plan:
        """What to try on a case now."""
        best, chance = self.best[case], self.rng.random()
        if best is not None and best[0] > 0 and chance < ALTER:
            return self._altered(best[1])
        if self.famous and chance < ALTER + BORROW:
            return self.famous[int(self.rng.integers(len(self.famous)))]
        return self.fresh(blind=chance > 1 - BLIND)

    def learn(self, plans: Sequence[Plan], scores: Sequence[float], broke: Sequence[bool]) -> None:
        """Take in one round: scores relative to the round's mean, so that an easy target teaches something, too."""
        usual = float(np.mean(scores)) if len(scores) else 0.0
        for case, (plan, score, success) in enumerate(zip(plans, scores, broke, strict=True)):
            for name, _ in plan:
                gained, lost = self.earned.get(name, (1.0, 1.0))
                self.earned[name] = (gained + 1, lost) if score > usual else (gained, lost + 1)
            held = self.best[case]
            if held is None or score >= held[0]:
                self.best[case] = (score, plan)
            if success:
                self.famous = [*self.famous, plan][-FAMOUS:]

    def _altered(self, plan: Plan) -> Plan:
        """One transformation dropped, added, exchanged or drawn again."""
        steps, at = list(plan), int(self.rng.integers(len(plan)))
        how = int(self.rng.integers(4))
        if how == 0 and len(steps) > 1:
            del steps[at]
        elif how == 1 and len(steps) < LONGEST:
            steps.insert(at, (str(self.rng.choice(self.names)), self._seed()))
        elif how == 2:
            steps[at] = (str(self.rng.choice(self.names)), self._seed())
        else:
            steps[at] = (steps[at][0], self._seed())
        return tuple(steps)

    def _seed(self) -> int:
        return int(self.rng.integers(2**31))


def _scored(
    target: Target,
    cases: Sequence[Case],
    plans: Sequence[Plan],
    moves: Mapping[str, Transformation],
    attacker: Attacker,
    *,
    order: int,
    seed: int,
) -> tuple[list[Attempt], list[float]]:
    texts = [composed(case.text, plan, moves) for case, plan in zip(cases, plans, strict=True)]
    answers = target.ask(cases, texts, seed=seed)
    out = []
    for case, text, plan, answer in zip(cases, texts, plans, answers, strict=True):
        names = tuple(f"{name}:{own}" for name, own in plan)
        out.append(recorded(case, text, answer, attacker=attacker, order=order, plan=names))
    return out, [answer.score for answer in answers]


def _asked(
    target: Target,
    cases: Sequence[Case],
    plans: Sequence[Plan],
    moves: Mapping[str, Transformation],
    attacker: Attacker,
    *,
    order: int,
    seed: int,
) -> list[Attempt]:
    return _scored(target, cases, plans, moves, attacker, order=order, seed=seed)[0]
