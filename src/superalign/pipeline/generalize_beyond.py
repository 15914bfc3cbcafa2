"""Beyond one supervisor: from easy questions to hard ones, and what a model knows that misleads one character.

Scores come from stored answers alone; the organisms and their twins stay in quarantine.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from superalign.generalization.consistency import consistency
from superalign.generalization.easy_to_hard import ARMS, EASY, UNSUPERVISED, EasyToHard, sgr
from superalign.generalization.experiment import NATURAL
from superalign.generalization.graded import accuracy
from superalign.generalization.questions import Questions
from superalign.generalization.quirky import QUIRKS
from superalign.generalization.truth_scores import truth_figures
from superalign.pipeline.arrays import arrays_from_bytes
from superalign.pipeline.desk import Desk
from superalign.pipeline.generalize_answers import unpacked
from superalign.pipeline.generalize_config import GeneralizeConfig, GeneralizeSizes
from superalign.pipeline.generalize_pages import PLAIN, Exercise, questions_again, task_of
from superalign.pipeline.generalize_sheet import Done, Sheet, sheet_of
from superalign.stats.interval import refused

if TYPE_CHECKING:
    from superalign.pipeline.generalize_work import Shelf

WAYS = ("construction", "loss", "human")
"""To tell difficulty: kinds of fault, a small model's loss, and a person's guess."""
QUIRK = "marked"
"""How the organism misleads Bob."""
PARTS = {"bob": "auroc truth", "Bob's label": "auroc quirk"}
ASKED = 1_000
"""Exam questions that organisms are asked, at most."""


def hard_stage(way: str) -> str:
    """Name of the stage."""
    return f"easy to hard, by {way}"


def truth_stage(seed: int) -> str:
    """Name of the stage."""
    return f"a quirky model and its twin, seed {seed}"


def play_hard(desk: Desk, config: GeneralizeConfig, shelves: Mapping[str, tuple[Shelf, Shelf]]) -> None:
    """Every arm by every way to tell difficulty."""
    from superalign.pipeline.generalize_beyond_work import HardJob, hard_all

    sizes: GeneralizeSizes = desk.sizes  # type: ignore[assignment]
    train, exam = shelves[PLAIN]
    seeds = tuple(range(config.seed, config.seed + sizes.scaling_seeds))
    jobs = {
        hard_stage(way): (
            HardJob(
                train=train,
                exam=exam,
                setting=NATURAL,
                way=way,
                seeds=seeds,
                sizes=(sizes.half_a, sizes.half_b),
            ),
            "",
        )
        for way in WAYS
    }
    desk.stages(hard_all, jobs)


def play_truth(desk: Desk, config: GeneralizeConfig, exercise: Exercise, base: str) -> None:
    """Train organisms and twins of `base` (a digest), ask and probe them; both are registered in quarantine."""
    from superalign.pipeline.generalize_beyond_work import TruthJob, truth_one

    sizes: GeneralizeSizes = desk.sizes  # type: ignore[assignment]
    exam = exercise.exam.take(np.arange(min(ASKED, len(exercise.exam))))
    jobs = {
        truth_stage(seed): (
            TruthJob(
                objects=desk.ws.store.root,
                strong=config.strong,
                train=exercise.train.sent(),
                exam=exam.sent(),
                seed=seed,
                steps=sizes.truth_steps,
            ),
            "",
        )
        for seed in range(config.seed, config.seed + sizes.truth_seeds)
    }
    for made in desk.stages(truth_one, jobs).values():
        for model in made["models"].values():
            name, _, digest = model["identity"].rpartition("@")
            desk.ws.node(kind="model", digest=digest, name=name, quarantined=True)
            for source in (base, exercise.train_digest):
                desk.ws.use(source, digest, "fit")


def score_hard(desk: Desk, config: GeneralizeConfig, done: Done) -> None:
    """Accuracy of every arm on hard questions, and the supervision gap recovered, or why it is refused."""
    sheet = sheet_of(desk, config, PLAIN, done)
    for way in WAYS:
        kept = done(hard_stage(way))
        inputs, tags = (desk.ws.store.put_json(kept),), {"difficulty": way, "setting": NATURAL.name}
        if "why" in kept:
            no = refused(kept["why"], n=len(sheet.truth), clusters=len(set(sheet.clusters.tolist())), method="")
            sheet.put(f"sgr.{way}.easy", f"by {way}: SGR", no, inputs, figure="sgr", method=EASY, **tags)
            continue
        rows = np.array(kept["rows"], dtype=int)
        found = EasyToHard(
            way=way,
            cut=kept["cut"],
            truth=sheet.truth[rows],
            clusters=sheet.clusters[rows],
            rows=rows,
            taught_on=tuple(kept["taught_on"]),
            logits={arm: np.stack([unpacked(row) for row in kept["logits"][arm]]) for arm in ARMS},
        )
        for arm in ARMS:
            interval = accuracy(found.logits[arm], found.truth, found.clusters)
            title = f"by {way}: {arm}, accuracy on hard questions"
            sheet.put(f"hard.{way}.{arm}", title, interval, inputs, figure="hard accuracy", arm=arm, difficulty=way)
        for other in UNSUPERVISED:
            value = sgr(found, unsupervised=other, draws=sheet.desk.sizes.draws).value
            title = f"by {way}: SGR of easy over {other}"
            sheet.put(f"sgr.{way}.{other}", title, value, inputs, figure="sgr", method=f"easy, over {other}", **tags)


def score_truth(desk: Desk, config: GeneralizeConfig, done: Done) -> None:
    """What probes say where the model misleads, beside every control; and how consistent it is."""
    sizes: GeneralizeSizes = desk.sizes  # type: ignore[assignment]
    kept = [done(truth_stage(seed)) for seed in range(config.seed, config.seed + sizes.truth_seeds)]
    sheet = sheet_of(desk, config, PLAIN, done, subject=kept[0]["models"]["organism"]["identity"])
    raws = [arrays_from_bytes(desk.ws.store.get(each["raw"])) for each in kept]
    _same_exam(sheet, questions_again(desk.ws, task_of(config), "validation", sheet.items), raws)
    inputs = tuple(each["raw"] for each in kept)
    for name, interval in truth_figures(raws, draws=sizes.draws).items():
        condition, _, rest = name.partition(", ")
        probe, _, part = rest.partition(", ")
        tags = {"condition": condition, "probe": probe, "part": PARTS.get(part, part), "seeds": len(raws)}
        sheet.put(f"truth.{name}", f"quirky model: {name}", interval, inputs, figure="truth", **tags)
    for who, place in product(("organism", "twin"), ("alice", "bob")):
        prefix = f"forms/{who}/{place}/"
        forms = (name for name in raws[0] if name.startswith(prefix))
        said = {name.removeprefix(prefix): np.stack([raw[name] for raw in raws]) for name in forms}
        for form, found in consistency(said, raws[0]["truth"], raws[0]["clusters"]).items():
            title, by = f"quirky model: {who}, {place} asks, {form}: share of answers that stay", f"{who}, {place} asks"
            key = f"consistency.{who}.{place}.{form}"
            sheet.put(key, title, found.same, inputs, figure="consistency", form=form, method=by, seeds=len(raws))


def _same_exam(sheet: Sheet, exam: Questions, raws: list[dict[str, np.ndarray]]) -> None:
    """Raises ValueError unless what was asked, and its truth, is the exam that was sealed."""
    asked = QUIRKS[QUIRK].dress(exam.take(np.arange(min(ASKED, len(exam)))), 0)
    for raw in raws:
        if not (np.array_equal(raw["truth"], asked.truth) and np.array_equal(raw["clusters"], asked.clusters)):
            raise ValueError("the quirky model was asked about another exam than the one whose truth is sealed")
        if not np.array_equal(raw["bob"], QUIRKS[QUIRK].says(asked)):
            raise ValueError("what Bob is told is not what the quirk says")
