"""A planted distractor is there, says nothing, and is what a principal direction finds first."""

from dataclasses import replace

import numpy as np
import pytest

from superalign.generalization import Material, Questions, Reading, questions_of, read
from superalign.generalization.distractor import (
    CODE_MARKS,
    LOUD_MARKS,
    TEXT_MARKS,
    carries,
    distracted,
    eye,
    follows,
    salience,
    visible,
)
from superalign.tasks.slips import HARD, slips
from superalign.tasks.traces import traces


@pytest.fixture(scope="module")
def plain():
    return questions_of(slips(split="dev", view="pair", n=400))


def _prose(n: int = 40) -> Questions:
    return Questions(
        ids=tuple(map(str, range(n))),
        first=tuple(f"The answer to number {i} is right." for i in range(n)),
        second=tuple(f"The answer to number {i} is quite wrong." for i in range(n)),
        truth=np.arange(n) % 2 == 0,
        clusters=np.array([f"c{i % 8}" for i in range(n)]),
        kinds=np.array([""] * n),
    )


def test_every_text_opens_with_one_line_and_its_rival_with_the_other(plain):
    questions = distracted(plain, seed=0)
    assert set(questions.kinds) == set(HARD)
    kept = plain.take(np.flatnonzero(np.isin(plain.kinds, HARD)))
    assert questions.ids == kept.ids
    for first, second, mine, other, heads in zip(
        questions.first,
        questions.second,
        kept.first,
        kept.second,
        carries(questions),
        strict=True,
    ):
        assert first == CODE_MARKS[0 if heads else 1] + mine
        assert second == CODE_MARKS[1 if heads else 0] + other


def test_the_line_tells_nothing_of_the_answer(plain):
    questions = distracted(plain, seed=0)
    heads = carries(questions)
    for kind in HARD:
        for yes in (True, False):
            cell = (questions.kinds == kind) & (questions.truth == yes)
            assert abs(heads[cell].sum() - (~heads[cell]).sum()) <= 1
    assert not np.array_equal(heads, carries(distracted(plain, seed=1)))
    assert np.array_equal(heads, carries(distracted(plain, seed=0)))


def test_other_kinds_and_other_tasks_can_be_distracted_too(plain):
    assert set(distracted(plain, seed=0, kinds=("variable",)).kinds) == {"variable"}
    steps = questions_of(traces(split="dev", view="pair", n=30))
    assert len(distracted(steps, seed=0)) == 30
    assert distracted(steps, seed=0).first[0].startswith(CODE_MARKS)
    prose = distracted(_prose(), seed=0)
    assert all(text.startswith(TEXT_MARKS) for text in prose.first)
    assert carries(prose).sum() == 20


def test_a_loud_one_is_another_line_for_code_only(plain):
    loud, quiet = distracted(plain, seed=0, loud=True), distracted(plain, seed=0)
    assert np.array_equal(carries(loud), carries(quiet))
    assert all(text.startswith(LOUD_MARKS) for texts in loud.texts for text in texts)
    assert loud.first != quiet.first
    with pytest.raises(ValueError, match="plant a quiet one"):
        distracted(_prose(), seed=0, loud=True)


def test_single_texts_open_with_either():
    page = questions_of(slips(split="dev", view="single", n=100))
    questions = distracted(page, seed=0)
    assert questions.second is None
    assert abs(carries(questions).mean() - 0.5) < 0.05
    assert set(visible(questions)) == {"longer", "distractor"}
    assert not visible(questions)["longer"].paired


def test_a_distractor_is_planted_once_and_missed_where_there_is_none(plain):
    with pytest.raises(ValueError, match="carry a distractor already"):
        distracted(distracted(plain, seed=0), seed=0)
    with pytest.raises(ValueError, match="without a distractor"):
        carries(plain)
    assert set(visible(plain)) == {"longer"}


def test_what_is_visible_is_seen_from_either_side():
    pairs = replace(_prose(4), first=("aaa", "b", "cc", "d"), second=("a", "bbb", "dd", "dd"))
    read = visible(pairs)["longer"]
    assert read.belief.tolist() == [1.0, 0.0, 0.5, 0.0]
    assert read.x[:, 0].tolist() == [2.0, -2.0, 0.0, -1.0]
    assert eye(np.array([0.0])).belief.tolist() == [0.5]


def _material(strength: float, n: int = 600) -> Material:
    rng = np.random.default_rng(0)
    truth, heads = rng.permutation(n) % 2 == 0, rng.permutation(n) % 2 == 0
    x = rng.normal(size=(n, 30))
    x[:, :10] += strength * np.where(heads, 1, -1)[:, None]
    x[:, 10:14] += np.where(truth, 1, -1)[:, None]
    return Material(
        readings={
            "strong": Reading(first=x, second=np.zeros_like(x), belief=np.full(n, 0.5)),
            "distractor": eye(np.where(heads, 1.0, -1.0)),
        },
        truth=truth,
        clusters=np.array([f"c{i % 20}" for i in range(n)]),
        kinds=np.array([""] * n),
    )


def test_salience_tells_a_prominent_feature_from_a_hidden_one():
    loud, quiet = (_material(strength) for strength in (3.0, 0.0))
    found, missed = (salience(m.readings["strong"], m) for m in (loud, quiet))
    assert found.share > 0.2
    assert found.feature.value > 0.99
    assert 0.5 <= found.truth.value < 0.6
    assert 0.5 <= missed.feature.value < 0.6
    assert missed.truth.value > 0.9


def test_salience_is_the_same_whichever_text_stands_first():
    material = _material(3.0)
    read = material.readings["strong"]
    swapped = Reading(first=read.second, second=read.first, belief=1 - read.belief)
    mirrored = replace(
        material,
        truth=~material.truth,
        readings={"strong": swapped, "distractor": eye(0.5 - material.readings["distractor"].belief)},
    )
    assert salience(swapped, mirrored).feature.value == pytest.approx(salience(read, material).feature.value)


def test_a_student_s_answers_are_compared_with_the_line():
    material = _material(1.0)
    lean = material.readings["distractor"].belief - 0.5
    assert follows(lean, material).value == 1.0
    assert follows(np.where(material.truth, 1.0, -1.0), material).value == pytest.approx(0.5, abs=0.08)
    with pytest.raises(ValueError, match="nobody has read 'longer'"):
        follows(lean, material, "longer")


def test_the_strong_model_finds_it_most_prominent_and_believes_as_before(plain):
    """The real thing, small: 110 or so pairs read by the shipped family."""
    from superalign.models import load_model

    model, some = load_model("family:s"), plain.take(np.arange(220))
    questions = distracted(some, seed=0)
    kept = some.take(np.flatnonzero(np.isin(some.kinds, HARD)))
    material = questions.material(read(model, questions, "strong") | visible(questions))
    found = salience(material.readings["strong"], material)
    assert found.feature.value > 0.95
    assert found.truth.value < 0.75
    before = read(model, kept, "strong")["strong"].belief
    after = material.readings["strong"].belief
    right = [((belief > 0.5) == questions.truth).mean() for belief in (before, after)]
    assert abs(right[0] - right[1]) < 0.08
    assert np.corrcoef(before, after)[0, 1] > 0.7
    loud = distracted(some, seed=0, loud=True)
    material = loud.material(read(model, loud, "strong") | visible(loud))
    swayed = follows(material.readings["strong"].belief, material)
    assert abs(swayed.value - 0.5) > abs(follows(after, questions.material(visible(questions))).value - 0.5) + 0.1
