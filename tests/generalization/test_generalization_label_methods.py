"""Methods that learn from weak labels: what holds for every one of them."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from superalign.generalization import Lesson, Method, Reading, score
from superalign.generalization.methods import epiplexity, knn, losses, mdl, overlap
from superalign.generalization.methods.bootstrapping import BOOTSTRAPPING
from superalign.generalization.methods.confident import CONFIDENCE_WEIGHTED, CONFIDENT_HALF
from superalign.generalization.methods.early_stopping import EARLY_STOPPING_CHEATING, EARLY_STOPPING_HONEST
from superalign.generalization.methods.ensemble import BAGGED, BOOSTED
from superalign.generalization.methods.relabelling import RELABELLING, RELABELLING_3

SPEC = importlib.util.spec_from_file_location("label_lessons", Path(__file__).with_name("label_lessons.py"))
made = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made)

ALL: tuple[Method, ...] = (
    EARLY_STOPPING_HONEST,
    EARLY_STOPPING_CHEATING,
    CONFIDENT_HALF,
    CONFIDENCE_WEIGHTED,
    losses.PRODUCT,
    losses.ENTROPY,
    losses.WINDOW,
    losses.REVERSE_KL,
    BOOTSTRAPPING,
    BAGGED,
    BOOSTED,
    RELABELLING,
    RELABELLING_3,
    knn.KNN,
    overlap.OVERLAP,
    overlap.OVERLAP_GEOMETRY,
    mdl.MDL,
    epiplexity.EPIPLEXITY,
)
SPLITS = {"early stopping, honest", "early stopping, cheating", "relabelling", "relabelling, 3 rounds"} | {
    "overlap density, geometry",
    "epiplexity",
}
"""Those that hold clusters out."""
each = pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)


def _for(method: Method, lesson: Lesson) -> Lesson:
    """With the truth for those that cheat, and for nobody else."""
    return replace(lesson, truth=made.truth_of(lesson)) if method.kind == "cheating" else lesson


@each
@pytest.mark.parametrize("paired", [True, False], ids=["pairs", "singles"])
def test_each_learns_more_than_it_was_told_and_the_same_again(method, paired):
    """The second time beside a false truth, which only cheats would read."""
    lesson, fresh = _for(method, made.lesson_of(paired=paired)), made.lesson_of(paired=paired, seed=1)
    assert method.playable(lesson)
    logits = method.fit(lesson).logits(fresh.reading)
    assert np.isfinite(logits).all()
    assert score(logits, made.truth_of(fresh)).mean() > 0.87 > score(lesson.labels - 0.5, made.truth_of(lesson)).mean()
    blind = lesson if method.kind == "cheating" else replace(lesson, truth=~made.truth_of(lesson))
    assert method.fit(blind).logits(fresh.reading).tolist() == logits.tolist()


@each
def test_swapped_pairs_teach_the_same_student(method):
    def swapped(reading: Reading) -> Reading:
        return replace(reading, first=reading.second, second=reading.first)

    lesson = _for(method, made.lesson_of())
    school = lesson.supervised
    assert school is not None
    turned = replace(
        lesson,
        reading=swapped(lesson.reading),
        labels=1 - lesson.labels,
        truth=None if lesson.truth is None else ~lesson.truth,
        between={name: swapped(reading) for name, reading in lesson.between.items()},
        supervised=replace(
            school, half_a=swapped(school.half_a), half_b=swapped(school.half_b), truth_a=~school.truth_a
        ),
    )
    said = method.fit(lesson).logits(lesson.reading)
    assert method.fit(turned).logits(lesson.reading) == pytest.approx(said, abs=1e-3)
    assert method.fit(lesson).logits(swapped(lesson.reading)) == pytest.approx(-said)


@each
@pytest.mark.parametrize(("told", "paired"), [(0.5, True), (1.0, False)], ids=["ties, pairs", "yes, singles"])
def test_labels_that_say_nothing_are_no_accident(method, told, paired):
    lesson = _for(method, made.lesson_of(n=96, paired=paired))
    logits = method.fit(replace(lesson, labels=np.full(96, told))).logits(lesson.reading)
    assert np.isfinite(logits).all()


@each
def test_one_cluster_is_refused_by_those_that_hold_out(method):
    lesson = replace(_for(method, made.lesson_of(n=96)), clusters=np.full(96, "only"))
    if method.name in SPLITS:
        with pytest.raises(ValueError, match="one cluster"):
            method.fit(lesson)
    else:
        assert np.isfinite(method.fit(lesson).logits(lesson.reading)).all()


def test_cheats_need_the_truth():
    with pytest.raises(ValueError, match="needs the truth"):
        EARLY_STOPPING_CHEATING.fit(made.lesson_of(n=96))


@each
def test_checked_labels_pull_harder(method):
    """Of contrary labels on the same questions those win that are checked."""
    lesson = _for(method, made.lesson_of(n=96))
    doubled = np.tile(np.arange(96), 2)
    held = lesson.supervised
    assert held is not None
    truth = made.truth_of(lesson)
    both = replace(
        lesson,
        reading=lesson.reading.take(doubled),
        labels=np.concatenate([truth, ~truth]).astype(float),
        clusters=lesson.clusters[doubled],
        checked=np.arange(192) < 96,
        truth=None if lesson.truth is None else truth[doubled],
        between={name: reading.take(doubled) for name, reading in lesson.between.items()},
        supervised=replace(held, half_b=held.half_b.take(doubled)),
    )
    assert score(method.fit(both).logits(lesson.reading), truth).mean() > 0.7


def test_names_kinds_and_sources():
    assert len({method.name for method in ALL}) == len(ALL)
    assert [method.name for method in ALL if method.kind != "labels"] == ["early stopping, cheating"]
    assert all(method.source and method.title and not method.truths for method in ALL)


def test_importing_them_loads_no_heavy_library():
    names = {method.fit.__module__ for method in ALL}
    assert len(names) == 10
    lines = "; ".join(f"import {name}" for name in sorted(names))
    code = f"import sys; {lines}; print(sorted({{'torch', 'sklearn', 'transformers', 'peft'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
