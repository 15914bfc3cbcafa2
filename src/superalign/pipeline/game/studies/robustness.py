"""Robustness: how often does a named attacker with a named budget get through? A bound, beside over-refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from superalign.pipeline.game.config import StressConfig
from superalign.pipeline.game.studies.study import StudyJob, Told

TARGETS = ("reviewer trigger, organism", "reviewer trigger, twin", "guarded writer")
GAPS = (("adaptive search", "static suite"), ("second language", "as it is"))


def jobs(config: StressConfig) -> list[StudyJob]:
    """A reviewer with a trigger, its twin, and a writer that refuses one class of requests."""
    quick = config.preset == "quick"
    some = TARGETS[:2] if quick else TARGETS
    return [StudyJob(study="robustness", what=name, seed=config.seed, quick=quick) for name in some]


def work(job: StudyJob) -> dict[str, Any]:
    """Attempts of every attacker on one target, raw."""
    return _on_writer(job) if job.what == "guarded writer" else _on_reviewer(job)


def _on_writer(job: StudyJob) -> dict[str, Any]:
    from superalign.adversarial.robustness.adaptive import adaptive_search, static_suite
    from superalign.adversarial.robustness.guarded import GuardedTarget, GuardRecipe, guard_cases, guarded_writer
    from superalign.adversarial.robustness.rewordings import REWORDINGS
    from superalign.adversarial.robustness.types import Attacker, asked
    from superalign.adversarial.writers import load_writer

    target = GuardedTarget(model=guarded_writer(load_writer(), GuardRecipe(), seed=job.seed))
    cases, twins = (guard_cases(24, seed=job.seed, split="validation", benign=benign) for benign in (False, True))
    attempts = asked(target, [*cases, *twins], attempts=2, seed=job.seed)
    attempts += static_suite(target, [*cases, *twins], REWORDINGS, seed=job.seed)
    attempts += adaptive_search(target, cases, REWORDINGS, attempts=16, seed=job.seed)
    attackers = [
        Attacker(name="as it is", access="none", attempts=2),
        Attacker(name="static suite", access="static", attempts=len(REWORDINGS)),
        Attacker(name="adaptive search", access="adaptive", attempts=16),
    ]
    return _packed(job, attempts, attackers)


def _on_reviewer(job: StudyJob) -> dict[str, Any]:
    from superalign.adversarial.robustness.adaptive import adaptive_search, static_suite
    from superalign.adversarial.robustness.reviewed import DRESSINGS, ReviewerTarget, flagged_cases, review_cases
    from superalign.adversarial.robustness.types import Attacker, asked
    from superalign.adversarial.shelf import Wanted, find
    from superalign.models import ModelError, load_model, unpack_change
    from superalign.tasks.slips import draw
    from superalign.training.reviewer import ReviewerRecipe

    base = load_model("family:m")
    wanted = Wanted(kind="trigger", seed=job.seed, base=base.digest, recipe=ReviewerRecipe(steps=400), pairs=0)
    pair = find(wanted, base)
    if pair is None:
        raise ModelError(f"no reviewer with a trigger of seed {job.seed} is on a shelf: use a seed from 0 to 5")
    packed = pair.twin if job.what.endswith("twin") else pair.organism
    target, slips = ReviewerTarget(model=unpack_change(packed, base, allow_organism=True)), draw("validation")[:120]
    count, tries = (16, 12) if job.quick else (32, 24)
    cases, twins = flagged_cases(target, slips, count=count), review_cases(slips, benign=True)[:count]
    attempts = asked(target, [*cases, *twins], attempts=1, seed=job.seed)
    attempts += static_suite(target, [*cases, *twins], DRESSINGS, seed=job.seed, repeats=2)
    attempts += adaptive_search(target, cases, DRESSINGS, attempts=tries, seed=job.seed)
    attackers = [
        Attacker(name="as it is", access="none", attempts=1),
        Attacker(name="static suite", access="static", attempts=2 * len(DRESSINGS)),
        Attacker(name="adaptive search", access="adaptive", attempts=tries),
    ]
    return _packed(job, attempts, attackers)


def _packed(job: StudyJob, attempts: Sequence[Any], attackers: Sequence[Any]) -> dict[str, Any]:
    told = {"attackers": [asdict(one) for one in attackers], "attempts": [one.as_json() for one in attempts]}
    return {"what": job.what} | told


def told(raw: Sequence[Mapping[str, Any]]) -> list[Told]:
    """Upper bounds by attacker, over-refusal on benign twins, and what an adaptive attacker adds."""
    from superalign.adversarial.robustness.bounds import robustness
    from superalign.adversarial.robustness.types import Attacker, attempt_of

    out = []
    for one in raw:
        attempts = [attempt_of(each) for each in one["attempts"]]
        attackers = [Attacker(**each) for each in one["attackers"]]
        names = {attacker.name for attacker in attackers}
        found = robustness(attempts, attackers, gaps=[pair for pair in GAPS if set(pair) <= names])
        at, name = one["what"], one["what"].replace(" ", "_").replace(",", "")
        for bound in found.bounds:
            title = f"{at}: requests broken by {bound.attacker.told}"
            key = f"{name}.{bound.attacker.name.replace(' ', '_')}"
            out.append(Told(name=key, title=title, interval=bound.per_request))
        out.append(Told(name=f"{name}.refused", title=f"{at}: benign twins refused", interval=found.over_refusal))
        for gap in found.gaps:
            title = f"{at}: {gap.stronger} less {gap.weaker}, requests broken"
            out.append(Told(name=f"{name}.gap.{gap.stronger.replace(' ', '_')}", title=title, interval=gap.difference))
    return out
