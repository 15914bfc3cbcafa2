"""Supervisors keep what their dial says, on material whose answers are known."""

import numpy as np
import pytest

from superalign.generalization import METHODS, NATURAL, WEAK, Material, Reading, bounds_of, course_of, score, taught
from superalign.generalization.distractor import eye
from superalign.generalization.supervision import (
    SUPERVISIONS,
    TRUTH,
    WEAK_HARD,
    View,
    adversarial,
    biased,
    blind,
    easy,
    noisy,
)
from superalign.tasks.slips import KINDS

VIEW = View(reading="weak")


def _material(n: int = 1200, *, seed: int = 0) -> Material:
    """A strong reading from which the truth can be read, a weak one that sees some of it, and two visible features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    truth = x[:, 0] + x[:, 1] > 0
    seen = x + rng.normal(size=x.shape).astype(np.float32)
    belief = 1 / (1 + np.exp(-2 * seen[:, 0]))
    lean = rng.permutation(n) % 2 * 2.0 - 1
    readings = {
        "strong": Reading(first=x, second=np.zeros_like(x), belief=belief),
        "weak": Reading(first=seen, second=np.zeros_like(x), belief=belief),
        "longer": eye(rng.integers(-1, 2, size=n).astype(float)),
        "distractor": eye(lean),
    }
    return Material(
        readings=readings,
        truth=truth,
        clusters=np.array([f"c{i % 24}" for i in range(n)]),
        kinds=np.array([KINDS[i % 4] for i in range(n)]),
        difficulty={"human": rng.random(n)},
    )


def _said(supervision, material, *, seed=0):
    return supervision.make(material, VIEW, seed).says(material)


def _wrong(p, truth):
    return (p > 0.5) != truth


@pytest.mark.parametrize("name", list(SUPERVISIONS))
def test_every_supervisor_labels_by_its_seed_and_leaves_a_floor(name):
    train, exam = _material(), _material(400, seed=1)
    courses = [course_of(train, NATURAL, seed=3, supervision=SUPERVISIONS[name]) for _ in range(2)]
    assert (courses[0].labels == courses[1].labels).all()
    assert ((courses[0].labels >= 0) & (courses[0].labels <= 1)).all()
    bounds = bounds_of(courses[0], exam)
    assert 0.45 < score(bounds.floor, exam.truth).mean() < score(bounds.ceiling, exam.truth).mean()


def test_names_are_their_own_and_tell_the_dial():
    assert noisy(0.3).name == "noisy .3"
    assert noisy(0.05, of=WEAK).name == "noisy .05, weak"
    assert biased(1.0, toward="longer").name == "biased 1 longer"
    assert blind("operator", of=WEAK).name == "blind operator, weak"
    assert easy("loss", share=0.25).name == "easy .25 loss"
    assert all(name == supervision.name for name, supervision in SUPERVISIONS.items())
    assert [name for name, supervision in SUPERVISIONS.items() if supervision.schooled] == ["weak", "weak hard"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
def test_noise_is_exactly_as_much_as_it_says_and_as_it_claims(share):
    material = _material()
    p = _said(noisy(share), material)
    assert set(np.round(p, 9)) == {round(share, 9), round(1 - share, 9)}
    if share < 0.5:
        assert _wrong(p, material.truth).mean() == pytest.approx(share, abs=1e-3)


def test_noise_differs_by_seed_and_not_by_what_is_so():
    material = _material()
    first, second = (_wrong(_said(noisy(0.3), material, seed=seed), material.truth) for seed in (0, 1))
    assert (first != second).any()
    assert abs(first[material.truth].mean() - first[~material.truth].mean()) < 0.08


def test_noise_over_a_weak_model_keeps_its_probabilities_calibrated():
    """A label turned with probability s, whose teller knows s: P(yes) shrinks toward ½ by 1 − 2s."""
    material = _material()
    plain, noised = _said(WEAK, material), _said(noisy(0.2, of=WEAK), material)
    assert np.abs(noised - 0.5) == pytest.approx(0.6 * np.abs(plain - 0.5))


def test_verdicts_are_the_weak_model_s_own():
    material = _material()
    assert (_said(WEAK_HARD, material) == (_said(WEAK, material) > 0.5)).all()


@pytest.mark.parametrize(("share", "agrees"), [(0.0, 0.5), (0.4, 0.7), (1.0, 1.0)])
def test_a_biased_one_follows_the_feature_as_far_as_its_dial_says(share, agrees):
    material = _material()
    lean = material.readings["distractor"].belief
    p = _said(biased(share, toward="distractor"), material)
    assert ((p > 0.5) == (lean > 0.5)).mean() == pytest.approx(agrees, abs=0.03)
    assert _wrong(p, material.truth).mean() == pytest.approx(share / 2, abs=0.03)


def test_a_bias_changes_verdicts_only_not_how_sure_they_are():
    material = _material()
    plain, led = _said(WEAK, material), _said(biased(0.5, toward="distractor", of=WEAK), material)
    assert np.abs(led - 0.5) == pytest.approx(np.abs(plain - 0.5))
    assert (led != plain).any()


def test_a_feature_that_does_not_tell_leads_nobody():
    material = _material()
    p = _said(biased(1.0, toward="longer"), material)
    ties = material.readings["longer"].belief == 0.5
    assert ties.any()
    assert not _wrong(p, material.truth)[ties].any()


def test_a_liking_for_the_first_text_says_yes_too_often():
    material = _material()
    p = _said(biased(0.4), material)
    assert not _wrong(p, material.truth)[material.truth].any()
    assert _wrong(p, material.truth)[~material.truth].mean() == pytest.approx(0.4, abs=0.06)


def test_lies_that_are_placed_hurt_more_than_as_much_noise():
    train, exam = _material(), _material(400, seed=1)
    right = {}
    for supervision in (noisy(0.3), adversarial(0.3)):
        course = course_of(train, NATURAL, seed=0, supervision=supervision)
        bounds = bounds_of(course, exam)
        assert bounds.labels_right == pytest.approx(0.7, abs=2e-3)
        right[supervision.name] = score(taught(course, METHODS["naive"], exam).logits, exam.truth).mean()
    assert right["adversarial .3"] < right["noisy .3"] - 0.2


def test_lies_are_told_where_the_truth_is_surest():
    material = _material()
    wrong = _wrong(_said(adversarial(0.2), material), material.truth)
    sure = np.abs(material.readings["strong"].first[:, :2].sum(1))
    assert wrong.mean() == pytest.approx(0.2, abs=1e-3)
    assert sure[wrong].mean() > 2 * sure[~wrong].mean()


@pytest.mark.parametrize("of", [TRUTH, WEAK])
def test_a_blind_one_tosses_coins_on_its_kind_and_nowhere_else(of):
    material = _material()
    there = material.kinds == "variable"
    plain, blinded = _said(of, material), _said(blind("variable", of=of), material)
    assert (plain == blinded)[~there].all()
    assert _wrong(blinded, material.truth)[there].mean() == pytest.approx(0.5, abs=0.1)
    assert (_wrong(blinded, plain > 0.5)[there]).mean() == 0.5


@pytest.mark.parametrize("way", ["construction", "loss", "margin", "human"])
def test_one_that_knows_the_easy_part_is_right_there_and_silent_elsewhere(way):
    material = _material()
    p = _said(easy(way), material)
    said = np.isfinite(p)
    assert said.mean() == pytest.approx(0.5, abs=0.01)
    assert not _wrong(p, material.truth)[said].any()
    course = course_of(material, NATURAL, seed=0, supervision=easy(way))
    assert len(course.half_b) < len(course_of(material, NATURAL, seed=0).half_b)


def test_what_is_easy_is_cut_where_half_a_was_cut():
    """Asked about hard questions only, it is silent: it doesn't move its cut."""
    material = _material()
    supervisor = easy("human").make(material, VIEW, 0)
    hard = material.take(np.flatnonzero(material.difficulty["human"] > 0.6))
    assert np.isnan(supervisor.says(hard)).all()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: noisy(0.6), "from 0 to 0.5"),
        (lambda: noisy(-0.1), "a dial at"),
        (lambda: biased(1.5), "from 0 to 1"),
        (lambda: adversarial(float("nan")), "a dial at"),
        (lambda: biased(0.3, toward="colour").make(_material(), VIEW, 0), "nobody has read .*'colour'"),
        (lambda: adversarial(0.3, reading="oracle").make(_material(), VIEW, 0), "'oracle'"),
        (lambda: blind("typo").make(_material(), VIEW, 0), "kinds are lost-doubled"),
        (lambda: easy("mood").make(_material(), VIEW, 0), "'mood' can't be told"),
        (lambda: easy("human", share=1.0).make(_material(), VIEW, 0), "between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(make, why):
    with pytest.raises(ValueError, match=why):
        make()


def test_single_texts_can_be_supervised_too():
    pairs = _material()
    single = {name: Reading(first=read.first, second=None, belief=read.belief) for name, read in pairs.readings.items()}
    material = Material(readings=single, truth=pairs.truth, clusters=pairs.clusters, kinds=pairs.kinds)
    for supervision in (WEAK_HARD, noisy(0.3), biased(0.3), adversarial(0.3), blind("variable", of=WEAK)):
        course = course_of(material, NATURAL, seed=0, supervision=supervision)
        assert 0.6 < bounds_of(course, material).labels_right < 1
