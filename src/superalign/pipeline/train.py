"""Train: a weak supervisor labels what it was never shown the truth of; a strong model learns from those labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from superalign.adversarial.kinds import context
from superalign.evidence import SuperalignError, holdout
from superalign.generalization import WIDE, Material, Source, all_methods, features, questions_of, readings, run_seed
from superalign.models import LocalModel, apply_change, pack, pack_change, unpack
from superalign.oversight import Checker, criticise
from superalign.pipeline.desk import Desk, register
from superalign.pipeline.pages import Opened, put_page, screened, truth_signal, truths_of, words_of
from superalign.pipeline.signals import CHECKED, Told, signal_digest, told_by_protocol
from superalign.pipeline.sweep_scores import measure_sweep, pack_answers
from superalign.tasks.lexer import AUTHORS, CUES
from superalign.tasks.slips import slips
from superalign.training.family import SIZES, fresh_model
from superalign.training.features import TextFeatures
from superalign.training.record import plan_fit, record_fit
from superalign.training.reviewer import PairData, ReviewerRecipe, fit_change

FAMILY = "family:"
WAYS = {
    "critique": ("oversight", "critique"),
    "random checks": ("checks", "at_random"),
    "own checks": ("checks", "own_choice"),
}


def check_method(name: str) -> None:
    """Raises SuperalignError for a method that there isn't, or that labels of pairs can't be made by."""
    known = all_methods()
    fit = sorted(m.name for m in known.values() if m.kind not in ("cheating", "control") and "between" not in m.needs)
    if name in fit:
        return
    why = "there is no such method"
    if name in known:
        chosen = known[name]
        why = {"cheating": "it chooses by the truth, which is cheating", "control": "it makes no labels"}.get(
            chosen.kind, "it needs models between weak and strong, which a run does not have"
        )
    raise SuperalignError(f"--method {name}: {why}; use one of {', '.join(fit)}")


class Sweep:
    """The weak-to-strong sweep: pages, truths and features, each made when first needed."""

    before = context(AUTHORS[0], CUES[0], "")
    """What stands before every text."""

    def __init__(self, desk: Desk, weak: LocalModel, strong: LocalModel) -> None:
        self.desk, self.weak, self.strong = desk, weak, strong
        self.train = screened(desk, slips(split="train", view="pair", n=desk.sizes.train_pairs))
        self.test = slips(split="validation", view="pair", n=desk.sizes.test_pairs)
        self.train_digest, self.test_digest = put_page(desk, self.train), put_page(desk, self.test)
        holdout.screen(desk.ws, self.train_digest, words_of(self.train))
        self.truths = truths_of(desk, self.train, self.train_digest)
        self.test_truths = truths_of(desk, self.test, self.test_digest)
        self.clusters = np.array([item.cluster for item in self.test.items])

    def _features(self, model: LocalModel, page: Any, name: str) -> tuple[TextFeatures, ...]:
        self.desk.say(f"features of {len(page.items)} {page.split} pairs under the {name} model")
        return features(model, questions_of(page), context=self.before)

    def _material(self, page: Any, truths: Mapping[str, Any], strong: Sequence[TextFeatures]) -> Material:
        size, found = self.desk.config.model.removeprefix(FAMILY), {}
        if size in SIZES:
            network = fresh_model(size, seed=0).eval()
            fresh = LocalModel(name="untrained", network=network, tokenizer=self.strong.tokenizer)
            found |= readings(self._features(fresh, page, "untrained strong"), "untrained")
        found |= readings(self._features(self.weak, page, "weak"), "weak") | readings(strong, "strong")
        questions = questions_of(page, [truths[item.id] for item in page.items])
        texts = tuple(tuple(self.before + text for text in side) for side in questions.texts)
        found["strong"] = replace(found["strong"], source=Source(model=self.strong, texts=texts, skip=2))
        return questions.material(found)

    @cached_property
    def weighed(self) -> tuple[TextFeatures, ...]:
        """The training pairs as the strong model reads them, word by word: what its critiques rest on."""
        return self._features(self.strong, self.train, "strong")

    @cached_property
    def train_material(self) -> Material:
        return self._material(self.train, self.truths, self.weighed)

    @cached_property
    def test_material(self) -> Material:
        return self._material(self.test, self.test_truths, self._features(self.strong, self.test, "strong"))

    @cached_property
    def told(self) -> Told:
        """What the run's protocol says of every training pair."""
        page = Opened(
            page=self.train, digest=self.train_digest, truths=[self.truths[item.id] for item in self.train.items]
        )
        return told_by_protocol(self.desk, page, self.weak, self.strong)

    def _told(self, rows: Any, labels: Any, rng: Any) -> tuple[np.ndarray, np.ndarray, int]:
        return self.told.belief[rows], np.zeros(len(rows), dtype=bool), int(self.told.checks[rows].sum())

    def seed(self, seed: int) -> dict[str, Any]:
        """One seed as JSON: every arm's right and wrong answers, and the labels that the subject may learn from."""
        sizes, material = self.desk.sizes, self.train_material
        critiques = criticise(*self.weighed, material.readings["strong"].belief)
        truths = [self.truths[item.id] for item in self.train.items]
        checker = Checker(critiques=critiques, truths=truths, budget=sizes.checks)
        labellers = {name: (kind, getattr(checker, method)) for name, (kind, method) in WAYS.items()}
        if self.desk.config.signal != CHECKED:
            labellers[self.desk.config.signal] = ("oversight", self._told)
        result = run_seed(
            material,
            self.test_material,
            WIDE,
            seed=seed,
            labellers=labellers,
            chosen=self.desk.config.method,
            sizes=(sizes.half_a, sizes.half_b),
        )
        sound = np.array([self.test_truths[i.id]["answer"] for i in self.test.items])
        arms = {
            a.name: {"kind": a.kind, "checks": a.checks, "said": pack_answers(a.correct, sound)} for a in result.arms
        }
        out: dict[str, Any] = {
            "arms": arms,
            "floor": pack_answers(result.floor.correct, sound),
            "ceiling": pack_answers(result.ceiling.correct, sound),
        }
        out["order"] = [a.name for a in result.arms]
        out["weak_labels_right"] = round(result.weak_labels_right, 6)
        out["ceiling_l2"] = result.ceiling_l2
        if seed == self.desk.config.seed:
            labels = result.learned[self.desk.config.signal]
            out["subject"] = {"rows": result.half_b.tolist(), "labels": [round(float(q), 6) for q in labels]}
        return out


def declare_bases(desk: Desk, *models: LocalModel, addresses: Sequence[str] = ()) -> None:
    """Register the pretrained models as declared common bases; `addresses` tell which of them have an adapter."""
    for model, address in zip(models, addresses or [""] * len(models), strict=True):
        why = "pretrained before any signal of this ledger was drawn; corpus hash in its recipe"
        register(desk, model, base=why, address=address)
    desk.stage("the bases, declared", lambda: {"bases": [model.identity for model in models]})


def sweep_pgr(desk: Desk, sweep: Sweep) -> list[dict[str, Any]]:
    """All seeds, each a stage of its own, then PGR, accuracies and contrasts as measurements."""
    first = desk.config.seed
    runs = [
        desk.stage(f"weak to strong, seed {s}", lambda s=s: sweep.seed(s), s)  # type: ignore[misc]
        for s in range(first, first + desk.sizes.seeds)
    ]
    signal = truth_signal(desk, "slips", "validation")
    with desk.together("weak to strong, measured") as new:
        if new:
            what = {"signal": signal, "subject": sweep.strong.identity, "items": sweep.test_digest}
            truths = [sweep.test_truths[item.id] for item in sweep.test.items]
            measure_sweep(desk, runs, truths, sweep.clusters, **what)
    return runs


def subject_labels(desk: Desk, runs: list[dict[str, Any]]) -> str:
    """Digest of the labels that subject, organisms and twins of this ledger are fitted to or planted over."""
    return desk.ws.store.put_json(runs[0]["subject"])


def fit_subject(desk: Desk, sweep: Sweep, runs: list[dict[str, Any]]) -> tuple[LocalModel, PairData]:
    """The subject: the strong model with a reward head, fitted on the posterior of assisted labels, and its data.

    Of a member of the family all weights are stored; of a model brought along, which may be large, what changed.
    """
    given = runs[0]["subject"]
    pairs = [sweep.train.items[i].input for i in given["rows"]]
    rng = np.random.default_rng([desk.config.seed, 41])
    heads = [(str(rng.choice(AUTHORS)), str(rng.choice(CUES))) for _ in pairs]
    data = PairData.labelled(
        [context(*h, p["a"]) for h, p in zip(heads, pairs, strict=True)],
        [context(*h, p["b"]) for h, p in zip(heads, pairs, strict=True)],
        np.array(given["labels"]),
    )
    labels = subject_labels(desk, runs)
    ws = desk.ws
    name = f"{desk.config.signal}-assisted labels"
    ws.contains(labels, families=[("construction", "slips", "train")], name=name)
    if desk.config.signal != CHECKED:
        ws.use(signal_digest(desk, sweep.train_digest, sweep.told), labels, "fit")
    ws.use(sweep.train_digest, labels, "fit")
    holdout.screen(ws, labels, words_of(sweep.train))
    ws.use(sweep.weak.digest, labels, "fit")
    plan_fit(ws, name="reviewer", base=sweep.strong.digest, data=[labels])

    def work() -> dict[str, Any]:
        recipe = ReviewerRecipe(steps=desk.sizes.steps)
        change = fit_change(sweep.strong, data, name="reviewer", recipe=recipe, seed=desk.config.seed)
        model = apply_change(sweep.strong, change, name="reviewer")
        whole = desk.config.model.startswith(FAMILY)
        return {"weights": ws.store.put(pack(model) if whole else pack_change(change, sweep.strong, model))}

    stored = desk.stage("fit the subject", work, actor="trainer")
    model = unpack(ws.store.get(stored["weights"]), sweep.strong)
    record_fit(ws, model, base=sweep.strong.digest, data=[labels])
    return model, data
