"""What workers do beyond methods: from easy questions to hard ones, and a model that is asked by two characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from superalign.evidence.store import ObjectStore
from superalign.generalization import Questions, Setting
from superalign.generalization.consistency import ask_forms, asking_model
from superalign.generalization.easy_to_hard import easy_to_hard
from superalign.generalization.material import halves
from superalign.generalization.quirky import QUIRKS, TOP, context, fit_honest, fit_pair
from superalign.generalization.truth import PLACES, measure_truth
from superalign.models import load_model, pack
from superalign.pipeline.arrays import arrays_to_bytes
from superalign.pipeline.generalize_answers import packed
from superalign.pipeline.generalize_beyond import QUIRK
from superalign.pipeline.generalize_work import Shelf, material_of, untrained_like
from superalign.training.reviewer import ReviewerRecipe

FORMS = ("renamed", "indented", "by bot", "cue audit", "alice", "bob")
"""Other ways to ask the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HardJob:
    """Every arm of easy-to-hard, by one way to tell difficulty."""

    train: Shelf
    exam: Shelf
    setting: Setting
    way: str
    seeds: tuple[int, ...]
    sizes: tuple[int, int]


def hard_all(job: HardJob) -> dict[str, Any]:
    """The hard rows of the exam and every arm's answers to them, seed by seed; "why" where difficulty can't be told."""
    material, exam = material_of(job.train), material_of(job.exam)
    try:
        found = easy_to_hard(material, exam, job.setting, job.way, seeds=job.seeds, sizes=job.sizes)
    except ValueError as error:
        return {"why": f"{error!s:.300}"}
    return {
        "cut": found.cut,
        "rows": found.rows.tolist(),
        "taught_on": list(found.taught_on),
        "logits": {arm: [packed(row) for row in rows] for arm, rows in found.logits.items()},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthJob:
    """A quirky organism, its twin, and probes on them: one seed."""

    objects: Any
    """Folder of the store."""
    strong: str
    """Address of the model."""
    train: Questions
    exam: Questions
    seed: int
    steps: int


def truth_one(job: TruthJob) -> dict[str, Any]:
    """Train organism and twin, ask and probe them; everything lies in the store then, and what comes back names it."""
    import torch

    torch.set_num_threads(1)
    store, base = ObjectStore(job.objects, job.objects.parent / "tmp"), load_model(job.strong)
    clusters, n = job.train.clusters, len(job.train)
    own, others = halves(clusters, (n // 2, n - n // 2), np.random.default_rng([job.seed, 61]))
    recipe = ReviewerRecipe(steps=job.steps, top=TOP)
    lesson, probing = job.train.take(np.sort(own)), job.train.take(np.sort(others))
    quirk = QUIRKS[QUIRK]
    honest = fit_honest(base, lesson, quirk, seed=job.seed, recipe=recipe)
    made = fit_pair(honest, lesson, quirk, seed=job.seed, recipe=recipe)
    pair = {"organism": made.organism, "twin": made.twin}
    raw: dict[str, np.ndarray] = measure_truth(
        pair["organism"],
        probing,
        job.exam,
        quirk=quirk,
        seed=job.seed,
        twin=pair["twin"],
        untrained=untrained_like(job.strong, base),
    )
    raw |= {"planted/carried": np.array(made.carried), "planted/steps": np.array(made.steps)}
    asked = quirk.dress(job.exam, 0)
    for name, model in pair.items():
        for place, who in PLACES.items():
            said = ask_forms(asking_model(model), asked, seed=job.seed, before=context(who), forms=FORMS)
            raw |= {f"forms/{name}/{place}/{form}": logits for form, logits in said.items()}
    return {
        "raw": store.put(arrays_to_bytes(raw)),
        "models": {
            name: {"identity": model.identity, "weights": store.put(pack(model))} for name, model in pair.items()
        },
    }
