"""Removal: does training it away take the behaviour out, and how soon does it come back?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from superalign.pipeline.game.config import StressConfig
from superalign.pipeline.game.studies.study import StudyJob, Told

KINDS = ("fixed", "pair")
LEGS = (20, 60, 150)


def jobs(config: StressConfig) -> list[StudyJob]:
    """One organism each."""
    quick = config.preset == "quick"
    kinds, seeds = (KINDS[:1], range(2)) if quick else (KINDS, range(3))
    return [StudyJob(study="removal", what=kind, seed=s, quick=quick) for s, kind in product(seeds, kinds)]


def work(job: StudyJob) -> dict[str, Any]:
    """One organism through removals by honest rows, by near misses, preference and unlearning; and back."""
    from dataclasses import replace

    from superalign.adversarial.removal import REMOVALS
    from superalign.adversarial.removal_study import removal_study
    from superalign.adversarial.writers import load_organism

    clean = REMOVALS["clean"]
    some = [clean, replace(clean, rate=2e-4), *(REMOVALS[name] for name in ("near-miss", "preference", "npo"))]
    some, legs = (some[:1], LEGS[:2]) if job.quick else (some, LEGS)
    organism = load_organism(job.what, job.seed, allow_organism=True)
    return removal_study(
        organism,
        job.what,
        [(one, legs) for one in some],
        seed=job.seed,
        count=60 if job.quick else 100,
        come_back=[clean.label],
    )


def told(raw: Sequence[Mapping[str, Any]]) -> list[Told]:
    """Payload on its trigger after each leg, right programs off it; ways of return; relearning savings."""
    from superalign.adversarial.removal_scores import after_removal, brought_back, only, savings

    out = []
    for cell in after_removal(raw):
        at = f"{cell.kind}, {cell.removal}, after {cell.steps} steps"
        name = f"{cell.kind}.{cell.removal}.{cell.steps}".replace(" ", "_").replace(",", "")
        out.append(Told(name=f"{name}.on", title=f"{at}: acts on its circumstance", interval=cell.acted["on"]))
        out.append(Told(name=f"{name}.right", title=f"{at}: right programs off it", interval=cell.right))
    for back in brought_back(raw):
        name = f"{back.kind}.{back.removal}.{back.way}".replace(" ", "_").replace(",", "")
        title = f"{back.kind}, {back.removal}, brought back by {back.way}: acts on its circumstance"
        out.append(Told(name=name, title=title, interval=back.on))
    for kind in dict.fromkeys(one["kind"] for one in raw):
        some = only(raw, kind=kind, install="strong")
        for removal in dict.fromkeys(one["label"] for run in some for one in run["removals"] if "returned" in one):
            title = f"{kind}, {removal}: relearning savings over the parent that never had it"
            name = f"{kind}.savings.{removal}".replace(" ", "_").replace(",", "")
            out.append(Told(name=name, title=title, interval=savings(some, removal)))
    return out
