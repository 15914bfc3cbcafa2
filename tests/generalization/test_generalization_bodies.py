"""Methods that change the network: what they need, what they learn, and that what they are given stays as it was."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from superalign.generalization import METHODS, WIDE, Lesson, Material, Reading, Source, all_methods, taught
from superalign.generalization.experiment import Course, lesson_of
from superalign.generalization.material import score
from superalign.generalization.methods import bodies
from superalign.generalization.methods.bodies import BODIES, FULL, GENERATIVE, LORA, read_by
from superalign.training.features import extract

NAMES = [method.name for method in BODIES]


def drawn(n, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(list("cd"), size=rng.integers(3, 9))) for _ in range(n)]


def texts_of(truth, seed):
    """Pairs of which one ends on a."""
    first = [f"{text} {'a' if yes else 'b'}" for text, yes in zip(drawn(len(truth), seed), truth, strict=True)]
    second = [f"{text} {'b' if yes else 'a'}" for text, yes in zip(drawn(len(truth), seed + 50), truth, strict=True)]
    return tuple(first), tuple(second)


def reading_of(model, texts):
    sides = [extract(model, side, skip=0).wide for side in texts]
    return Reading(
        first=sides[0],
        second=sides[1] if len(sides) == 2 else None,
        belief=np.full(len(texts[0]), 0.5),
        source=Source(model=model, texts=texts),
    )


def lesson(model, *, n=64, paired=True, noise=0.1, seed=0):
    rng = np.random.default_rng([seed, 3])
    truth = rng.random(n) < 0.5
    texts = texts_of(truth, seed) if paired else texts_of(truth, seed)[:1]
    labels = np.where(np.where(rng.random(n) < noise, ~truth, truth), 0.9, 0.1)
    return Lesson(
        reading=reading_of(model, texts),
        labels=labels,
        clusters=np.array([f"c{i % 8}" for i in range(n)]),
        checked=np.zeros(n, dtype=bool),
        seed=seed,
    ), truth


def exam(model, *, n=40, paired=True):
    truth = np.random.default_rng(9).random(n) < 0.5
    texts = texts_of(truth, 900) if paired else texts_of(truth, 900)[:1]
    return reading_of(model, texts), truth


@pytest.mark.parametrize("paired", [True, False], ids=["pairs", "single texts"])
@pytest.mark.parametrize("method", BODIES, ids=NAMES)
def test_each_learns_from_weak_labels_and_its_base_stays(tiny, method, paired):
    model = tiny()
    told, _ = lesson(model, n=160 if paired else 480, paired=paired)
    student = method.fit(told)
    reading, truth = exam(model, paired=paired)
    assert score(student.logits(reading), truth).mean() >= 0.8
    assert model.sealed().digest == model.digest


@pytest.mark.parametrize("method", BODIES, ids=NAMES)
def test_swapping_the_texts_of_a_pair_swaps_the_answer(tiny, method):
    model = tiny()
    student = method.fit(lesson(model, n=24)[0])
    reading, _ = exam(model, n=10)
    swapped = reading_of(model, tuple(reversed(reading.source.texts)))
    assert student.logits(swapped) == pytest.approx(-student.logits(reading), abs=1e-4)


@pytest.mark.parametrize("method", BODIES, ids=NAMES)
def test_the_seed_decides(tiny, method):
    told, _ = lesson(tiny(), n=24)
    reading, _ = exam(tiny(), n=10)
    one, two = (method.fit(told).logits(reading) for _ in range(2))
    assert np.array_equal(one, two)


def test_without_a_network_they_can_not_be_played(tiny):
    told, _ = lesson(tiny(), n=24)
    bare = replace(told, reading=replace(told.reading, source=None))
    for method in BODIES:
        assert method.playable(told)
        assert not method.playable(bare)
        with pytest.raises(ValueError, match="knows no texts"):
            method.fit(bare)
    student = FULL.fit(told)
    with pytest.raises(ValueError, match="knows no texts"):
        student.logits(bare.reading)


def test_a_checked_label_is_learned_as_often_as_it_counts(tiny, monkeypatch):
    told, _ = lesson(tiny(), n=24)
    checked = np.arange(24) < 2
    told = replace(told, checked=checked, labels=np.where(checked, 1.0, told.labels))
    seen = {}

    def fit_body(base, texts, labels, **more):
        seen["n"], seen["first"] = len(labels), texts[0].count(told.reading.source.texts[0][0])
        raise RuntimeError

    monkeypatch.setattr("superalign.training.bodies.fit_body", fit_body)
    with pytest.raises(RuntimeError):
        FULL.fit(told)
    assert seen == {"n": 22 + 2 * 5, "first": 5}


def test_language_modelling_meets_every_text_and_no_label(tiny, monkeypatch):
    told, _ = lesson(tiny(), n=24)
    reading, _ = exam(tiny(), n=10)
    seen = []
    from superalign.training import generative as module

    real = module.generative

    def spied(base, texts, **more):
        seen.append(sorted(texts))
        return real(base, texts, **more)

    monkeypatch.setattr(module, "generative", spied)
    blank = replace(told, labels=np.full(24, 0.5))
    first, second = GENERATIVE.fit(told), GENERATIVE.fit(blank)
    assert seen == [sorted(text for side in told.reading.source.texts for text in side)] * 2
    assert np.array_equal(first.head.head.logits(reading.x), first.head.logits(reading))
    assert first.model.digest == second.model.digest
    assert first.model.digest != told.reading.source.model.digest
    assert not np.array_equal(first.logits(reading), first.head.logits(reading)), "it reads with the changed network"


def test_some_of_a_reading_are_some_of_its_texts(tiny):
    reading, _ = exam(tiny(), n=10)
    some = reading.take(np.array([3, 1]))
    assert some.source.texts == tuple((side[3], side[1]) for side in reading.source.texts)
    assert len(some.source) == 2
    again = read_by(reading.source.model, some)
    np.testing.assert_allclose(again.first, some.first, atol=1e-5)


def test_texts_and_features_of_unequal_numbers_are_refused(tiny):
    reading, _ = exam(tiny(), n=10)
    with pytest.raises(ValueError, match="10 questions and 9 texts"):
        replace(reading, source=Source(model=tiny(), texts=tuple(side[:9] for side in reading.source.texts)))
    with pytest.raises(ValueError, match="1 texts a question"):
        replace(reading, source=Source(model=tiny(), texts=reading.source.texts[:1]))


def test_the_untrained_control_changes_the_untrained_network(tiny):
    """Strong and untrained readings name their own networks: a course hands over the right one."""
    strong, bare = tiny(), tiny(seed=5)
    (told, truth), reading_exam = lesson(strong, n=32), exam(strong, n=12)[0]
    material = Material(
        readings={"strong": told.reading, "untrained": reading_of(bare, told.reading.source.texts)},
        truth=truth,
        clusters=told.clusters,
        kinds=np.array([""] * 32),
    )
    from superalign.generalization import SUPERVISIONS

    course = Course(
        material=material,
        setting=WIDE,
        supervision=SUPERVISIONS["truth"] if "truth" in SUPERVISIONS else SUPERVISIONS["noisy .3"],
        supervisor=None,
        seed=0,
        half_a=np.arange(16),
        half_b=np.arange(16, 32),
        labels=told.labels[16:],
        checked=np.zeros(16, dtype=bool),
    )
    assert lesson_of(course, FULL).reading.source.model is strong
    assert lesson_of(course, FULL, strong="untrained").reading.source.model is bare
    asked = Material(
        readings={"strong": reading_exam, "untrained": reading_of(bare, reading_exam.source.texts)},
        truth=exam(strong, n=12)[1],
        clusters=np.arange(12),
        kinds=np.array([""] * 12),
    )
    ours, theirs = (taught(course, LORA, asked, strong=name).logits for name in ("strong", "untrained"))
    assert not np.allclose(ours, theirs)


def test_they_are_among_the_methods_and_load_no_torch():
    assert set(NAMES) <= set(METHODS) & set(all_methods())
    code = "import sys, superalign.generalization.methods.bodies; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert {need for method in BODIES for need in method.needs} == {"network"}
    assert bodies.RANK > 0
