"""How long a full fine-tune on weak labels takes, timed.

    python benchmarks/generalization.py [--model family:m] [--items 2000]

A linear head on `family:xs`'s frozen features, fitted on the truth of half A, labels the pairs of half B; all weights
of the model are trained on these soft labels for two epochs, and both answer the pairs of the dev split.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from superalign.generalization import NATURAL, course_of, questions_of, read, score
from superalign.generalization.questions import FAMILY_CONTEXT, Questions
from superalign.models import load_model
from superalign.stats import mean_interval
from superalign.tasks.slips import slips
from superalign.training.bodies import BodyRecipe, fit_body


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is timed."""

    model: str = "family:m"
    items: int = 2000
    """Pairs of half B; half A has as many."""
    test: int = 1000
    seed: int = 0
    recipe: BodyRecipe = field(default_factory=lambda: BodyRecipe(pool="wide", start="probe"))
    threads: int = 2
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """One JSON object on stdout."""


def full_finetune(config: Config) -> dict[str, Any]:
    """Seconds of a fine-tune on weak labels, of answering, and what came of it."""
    questions = questions_of(slips(split="train", view="pair", n=2 * config.items + config.items // 2))
    exam = questions_of(slips(split="dev", view="pair", n=config.test))
    weak = load_model("family:xs")
    material, exam_material = (asked.material(read(weak, asked, "weak")) for asked in (questions, exam))
    course = course_of(material, NATURAL, seed=config.seed, sizes=(config.items, config.items))
    floor = score(course.supervisor.says(exam_material) - 0.5, exam.truth)
    base, half_b = load_model(config.model), texts(questions.take(course.half_b))
    wall, busy = time.perf_counter(), time.process_time()
    body = fit_body(base, half_b, course.labels, recipe=config.recipe, seed=config.seed)
    fitted, used = time.perf_counter() - wall, time.process_time() - busy
    wall = time.perf_counter()
    student = score(body.logits(texts(exam)), exam.truth)
    found = {
        "items": len(course.half_b),
        "seconds": round(fitted, 1),
        "cpu_seconds": round(used, 1),
        "seconds answering": round(time.perf_counter() - wall, 1),
        "weak labels right": round(float(((course.labels > 0.5) == material.truth[course.half_b]).mean()), 4),
    }
    for name, right in (("weak", floor), ("student", student)):
        interval = mean_interval(right, clusters=exam.clusters)
        found[name] = [interval.value, interval.low, interval.high]
    return found


def texts(questions: Questions) -> tuple[list[str], ...]:
    """As the family reads them."""
    return tuple([FAMILY_CONTEXT + text for text in side] for side in questions.texts)


def main(config: Config) -> None:
    """Run and print."""
    torch.set_num_threads(config.threads)
    found = full_finetune(config)
    if config.json:
        print(json.dumps(found))
        return
    print(f"{found['items']} pairs, {config.model}, all weights: {found['seconds']} s, {found['cpu_seconds']} s of CPU")
    print(f"{config.test} pairs answered in {found['seconds answering']} s", file=sys.stderr)
    for name in ("weak", "student"):
        value, low, high = (np.nan if x is None else x for x in found[name])
        print(f"{name:8} {value:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
