"""Does a probe report what a model knows where the model says something else?

Probes are fitted on *easy* questions that *Alice* asks a quirky organism, whose answers are certain, and tested on
*hard* ones that *Bob* asks, to whom it answers wrongly (Mallen and Belrose 2023, 2312.01037, §4). Beside them stand
the same probes on the twin, on an untrained network, on words alone, with shuffled labels, and after erasure of who
asks. Raw answers are kept; `truth_scores` makes numbers of them, without any model.

    raw = measure_truth(organism, train, exam, quirk=MARKED, seed=0, twin=twin, untrained=fresh)
    np.savez(path, **raw);  figures = truth_figures([raw])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from superalign.generalization.activations import Layers, bag_of_words, layer_readings, mapped, telling_words
from superalign.generalization.erasure import fit_eraser
from superalign.generalization.lesson import Lesson, Method
from superalign.generalization.methods import all_methods
from superalign.generalization.questions import Questions
from superalign.generalization.quirky import ALICE, BOB, SKIP, Quirk, answers, context
from superalign.generalization.reading import log_odds
from superalign.tasks.slips import EASY

if TYPE_CHECKING:
    from superalign.models import LocalModel

PROBES = ("mean difference", "naive", "regularised", "probe", "ccs", "crc")
"""Methods that are tried unless others are named; of these, those that there are."""
PLACES: Mapping[str, str] = MappingProxyType({"alice": ALICE, "bob": BOB})


def measure_truth(
    organism: LocalModel,
    train: Questions,
    exam: Questions,
    *,
    quirk: Quirk,
    seed: int,
    twin: LocalModel | None = None,
    untrained: LocalModel | None = None,
    methods: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    easy: Sequence[str] = EASY,
) -> dict[str, np.ndarray]:
    """Everything that was answered, as arrays without objects: what `truth_scores` takes, and `np.savez` keeps.

    `train` and `exam` are pairs that the models were not fitted on; probes learn from those of `train` whose kind is
    `easy`. Keys: `truth`, `bob` (Bob's labels), `hard`, `clusters`, `kinds` (n,); `methods`, `layers`; and for each of
    organism, twin, untrained, text, shuffled, erased: `…/output/PLACE` (n,) log-odds of the model itself,
    `…/probe/PLACE` (methods, layers, n), and `…/held` (methods, layers, m), what the probes say of easy questions of
    Alice's that were held out, with their `held truth` and `held clusters` (m,).
    Raises ValueError for methods that can't be played, and where easy or hard questions are missing on either side.
    """
    chosen = probes(methods)
    asked, exam = quirk.dress(train, seed), quirk.dress(exam, 0)
    certain, hard = asked.take(np.flatnonzero(np.isin(asked.kinds, easy))), ~np.isin(exam.kinds, easy)
    if len(set(certain.truth.tolist())) < 2 or not hard.any():
        raise ValueError(
            f"{len(certain)} easy training pairs and {int(hard.sum())} hard exam pairs: bring more of both"
        )
    school = school_of(certain, chosen, seed)
    raw = {
        "seed": np.array(seed),
        "truth": exam.truth,
        "bob": quirk.says(exam),
        "hard": hard,
        "clusters": exam.clusters.astype(str),
        "kinds": exam.kinds.astype(str),
        "methods": np.array([method.name for method in chosen]),
        "held truth": certain.truth[school.held],
        "held clusters": certain.clusters[school.held].astype(str),
    }
    for name, model in (("organism", organism), ("twin", twin), ("untrained", untrained)):
        if model is None:
            continue
        if model.head is not None:
            raw |= {f"{name}/output/{place}": answers(model, exam, who) for place, who in PLACES.items()}
        taught = layer_readings(model, certain, context=context(ALICE), layers=layers, skip=SKIP)
        asked_of = {
            place: layer_readings(model, exam, context=context(who), layers=layers, skip=SKIP)
            for place, who in PLACES.items()
        }
        raw |= probed(school, name, taught, asked_of)
        if name == "organism":
            raw["layers"] = np.array(sorted(taught))
            raw |= {f"belief/{place}": log_odds(next(iter(at.values())).belief) for place, at in asked_of.items()}
            raw |= probed(school, "shuffled", taught, asked_of, shuffled=True)
            bobs = _read(model, certain, BOB, layers)
            raw |= probed(school, "erased", *without_context(taught, bobs, asked_of, school.kept))
    words = telling_words(certain)
    told = {0: bag_of_words(exam, words)}
    return raw | probed(school, "text", {0: bag_of_words(certain, words)}, dict.fromkeys(PLACES, told))


def _read(model: LocalModel, questions: Questions, who: str, layers: Sequence[int] | None) -> Layers:
    return layer_readings(model, questions, context=context(who), layers=layers, skip=SKIP)


def probes(names: Sequence[str] | None) -> tuple[Method, ...]:
    """Methods by name, or those of PROBES that there are. Raises ValueError for others, and where one needs more."""
    known = all_methods()
    wanted = [name for name in PROBES if name in known] if names is None else list(names)
    for name in wanted:
        if name not in known:
            raise ValueError(f"no method {name!r}: there are {', '.join(known)}")
        method = known[name]
        if method.needs - {"pairs"} or method.truths or method.kind == "cheating":
            raise ValueError(f"{name!r} needs a supervisor, models between, or more truth: no probe is made that way")
    return tuple(known[name] for name in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """Easy questions of Alice's with their truth, those that probes learn from, and those held out."""

    certain: Questions
    methods: tuple[Method, ...]
    seed: int
    kept: np.ndarray
    """Rows of `certain`."""
    held: np.ndarray
    """Rows of other clusters, about a fifth."""


def school_of(certain: Questions, methods: tuple[Method, ...], seed: int) -> School:
    """Hold whole clusters out, by the seed. Raises ValueError where there is one cluster only."""
    names = np.random.default_rng([seed, 53]).permutation(np.unique(certain.clusters))
    if len(names) < 2:
        raise ValueError("the easy questions are of one cluster: none can be held out, bring more files")
    out = np.isin(certain.clusters, names[: max(1, len(names) // 5)])
    return School(certain=certain, methods=methods, seed=seed, kept=np.flatnonzero(~out), held=np.flatnonzero(out))


def probed(
    school: School, name: str, taught: Layers, asked: Mapping[str, Layers], *, shuffled: bool = False
) -> dict[str, np.ndarray]:
    """Fit each method at each layer: `NAME/held` and `NAME/probe/PLACE`, as `measure_truth` has them."""
    labels = school.certain.truth[school.kept].astype(np.float64)
    if shuffled:
        labels = np.random.default_rng([school.seed, 59]).permutation(labels)
    layers, methods = sorted(taught), school.methods
    held = np.empty((len(methods), len(layers), len(school.held)))
    said = {place: np.empty((*held.shape[:2], len(at[layers[0]]))) for place, at in asked.items()}
    for i, method in enumerate(methods):
        for j, layer in enumerate(layers):
            lesson = Lesson(
                reading=taught[layer].take(school.kept),
                labels=labels,
                clusters=school.certain.clusters[school.kept],
                checked=np.ones(len(labels), dtype=bool),
                seed=school.seed,
            )
            student = method.fit(lesson)
            held[i, j] = student.logits(taught[layer].take(school.held))
            for place, readings in asked.items():
                said[place][i, j] = student.logits(readings[layer])
    return {f"{name}/held": held} | {f"{name}/probe/{place}": logits for place, logits in said.items()}


def without_context(
    taught: Layers, bobs: Layers, asked: Mapping[str, Layers], rows: np.ndarray
) -> tuple[Layers, dict[str, Layers]]:
    """The same readings after erasure of who asks, fitted on both characters' readings of training questions `rows`.

    It uses how the model reads for Bob, and no answer of anybody.
    """
    erasers = {}
    for layer, mine in taught.items():
        sides = [mine.take(rows), bobs[layer].take(rows)]
        texts = [np.concatenate([r.first] if r.second is None else [r.first, r.second]) for r in sides]
        concept = np.repeat([0.0, 1.0], [len(texts[0]), len(texts[1])])
        erasers[layer] = fit_eraser(np.concatenate(texts), concept)

    def erased(readings: Layers) -> Layers:
        return {layer: mapped(reading, erasers[layer]) for layer, reading in readings.items()}

    return erased(taught), {place: erased(readings) for place, readings in asked.items()}
