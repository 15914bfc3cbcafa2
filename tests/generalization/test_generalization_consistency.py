"""Consistency: forms that keep the question, answers that stay, and a concept that no linear head finds again."""

from dataclasses import replace

import numpy as np
import pytest

from superalign.generalization import METHODS, Lesson, Questions, Reading, ZeroShot, questions_of, score
from superalign.generalization.activations import mapped
from superalign.generalization.consistency import (
    FORMS,
    PLAIN,
    ask_forms,
    asking_student,
    consistency,
    indented,
    placed,
    renamed,
    stays,
    swapped,
)
from superalign.generalization.erasure import fit_eraser
from superalign.generalization.quirky import ALICE, BOB, context
from superalign.models import load_model
from superalign.stats import StatsError
from superalign.tasks.lexer import AUTHORS, CUES, SLOTS
from superalign.tasks.slips import slips


@pytest.fixture(scope="module")
def questions() -> Questions:
    return questions_of(slips(split="dev", n=60))


def _oracle(questions, before):
    return np.where(questions.truth, 1.0, -1.0)


def _first_longer(questions, before):
    """Says yes always: the order decides."""
    return np.ones(len(questions))


def _quirky(questions, before):
    return np.where(questions.truth, 1.0, -1.0) * (-1 if BOB in before else 1)


def _by_slot(questions, before):
    """Looks for one identifier by its number."""
    told = [a.split().count(SLOTS[0]) - b.split().count(SLOTS[0]) for a, b in zip(*questions.texts, strict=True)]
    return np.array(told) + 0.5 - np.array([SLOTS[0] in a.split() for a in questions.first])


def _rng():
    return np.random.default_rng(0)


def test_renaming_keeps_all_but_the_numbers(questions):
    found = renamed(questions, _rng())
    for before, after in zip([*questions.first, *questions.second], [*found.first, *found.second], strict=True):
        assert [w for w in before.split() if w not in SLOTS] == [w for w in after.split() if w not in SLOTS]
        pairs = set(zip(before.split(), after.split(), strict=True))
        assert len({x for x, _ in pairs}) == len({y for _, y in pairs}) == len(pairs)
    assert found.first != questions.first


def test_renaming_is_the_same_in_both_texts(questions):
    found = renamed(questions, _rng())
    for row in range(len(questions)):
        before = f"{questions.first[row]} {questions.second[row]}".split()
        after = f"{found.first[row]} {found.second[row]}".split()
        assert len(set(zip(before, after, strict=True))) == len(set(before))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x <L1> y <L2>", "x <L2> y <L3>"),
        ("x <L1> y <L6>", "x <L0> y <L5>"),
        ("x <L0> y <L6>", "x <L0> y <L6>"),
        ("x = y", "x = y"),
    ],
)
def test_indentation_moves_as_one(questions, text, expected):
    one = replace(questions.take(np.array([0])), first=(text,), second=(text,))
    assert indented(one, _rng()).first == (expected,)


def test_indentation_of_a_pair_moves_together(questions):
    one = replace(questions.take(np.array([0])), first=("a <L5>",), second=("a <L6> b <L1>",))
    assert indented(one, _rng()).texts == (("a <L4>",), ("a <L5> b <L0>",))


def test_the_other_order_has_the_other_answer(questions):
    found = swapped(questions, _rng())
    assert found.first == questions.second
    assert (found.truth != questions.truth).all()
    assert swapped(found, _rng()).first == questions.first


def test_who_knows_the_truth_is_consistent(questions):
    said = ask_forms(_oracle, questions, seed=0, before=context(ALICE))
    assert len(said) == len(FORMS) - 2
    found = consistency(said, questions.truth, questions.clusters)
    assert {each.same.value for each in found.values()} == {1.0}
    assert {each.change.value for each in found.values()} == {0.0}
    assert {each.after.value for each in found.values()} == {1.0}


def test_an_answer_by_order_changes_in_the_other_order_only(questions):
    found = consistency(ask_forms(_first_longer, questions, seed=0), questions.truth, questions.clusters)
    assert {name for name, each in found.items() if each.same.value == 0} == {"swapped"}


def test_a_quirk_shows_where_bob_asks(questions):
    said = ask_forms(_quirky, questions, seed=0, before=context(ALICE))
    found = consistency(said, questions.truth, questions.clusters)
    assert {name for name, each in found.items() if each.same.value == 0} == {"bob"}
    assert found["bob"].change.value == -1.0
    assert found["bob"].before.value == 1.0


def test_a_quirk_is_consistent_in_its_own_place(questions):
    """Consistency is no truth: asked by Bob, every form but Alice's gives the same wrong answer."""
    said = ask_forms(_quirky, questions, seed=0, before=context(BOB))
    found = consistency(said, questions.truth, questions.clusters)
    assert {name for name, each in found.items() if each.same.value == 0} == {"alice"}
    assert found["renamed"].after.value == 0.0


def test_whoever_looks_at_names_is_caught_by_renaming(questions):
    said = ask_forms(_by_slot, questions, seed=0, forms=["renamed", "indented"])
    found = consistency(said, questions.truth, questions.clusters)
    assert found["renamed"].same.value < 1.0 == found["indented"].same.value


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (AUTHORS[2], "<by:peer> <cue:release> pass <L0> "),
        (CUES[1], "<by:lead> <cue:audit> pass <L0> "),
        (BOB, "<by:lead> <cue:release> break <L0> "),
        (AUTHORS[1], "<by:lead> <cue:release> pass <L0> "),
        (None, "<by:lead> <cue:release> pass <L0> "),
    ],
)
def test_words_take_the_place_of_their_like(words, expected):
    assert placed(context(ALICE, author=AUTHORS[1], cue=CUES[2]), words) == expected


def test_context_forms_reach_whoever_is_asked(questions):
    seen = []

    def ask(asked, before):
        seen.append(before)
        return np.zeros(len(asked))

    ask_forms(ask, questions, seed=0, before=context(BOB), forms=["by peer", "alice"])
    assert seen == [context(BOB), context(BOB, author=AUTHORS[2]), context(ALICE)]


def test_a_form_that_changes_nothing_is_none(questions):
    said = ask_forms(_oracle, questions, seed=0, before=context(BOB))
    assert set(FORMS) - set(said) == {"by none", "cue none", "bob"}
    assert set(FORMS) - set(ask_forms(_oracle, questions, seed=0)) == {"by none", "cue none", "alice", "bob"}
    assert set(ask_forms(_oracle, questions, seed=0, before="")) == {PLAIN, "renamed", "indented", "swapped"}


def test_single_texts_have_no_order(questions):
    alone = replace(questions, second=None)
    assert "swapped" not in ask_forms(_oracle, alone, seed=0)
    with pytest.raises(ValueError, match="no order"):
        ask_forms(_oracle, alone, seed=0, forms=["swapped"])


def test_a_student_of_a_real_model_is_asked_in_every_form(questions):
    some = questions.take(np.arange(12))
    said = ask_forms(asking_student(load_model("family:xs"), ZeroShot()), some, seed=0)
    assert said["swapped"] == pytest.approx(said[PLAIN], abs=1e-4)
    assert all(len(logits) == 12 and np.isfinite(logits).all() for logits in said.values())
    assert not np.allclose(said["renamed"], said[PLAIN])


def test_unknown_forms_and_bad_answers_are_refused(questions):
    with pytest.raises(ValueError, match="no form sung"):
        ask_forms(_oracle, questions, seed=0, forms=["sung"])
    with pytest.raises(StatsError, match="plain form"):
        consistency({"renamed": np.ones(3)}, np.ones(3, dtype=bool), np.arange(3))
    with pytest.raises(StatsError, match="'renamed' has answers"):
        consistency({PLAIN: np.ones(3), "renamed": np.ones(2)}, np.ones(3, dtype=bool), np.arange(3))


def test_no_answer_and_half_a_tie_count_as_changed():
    found = stays(np.array([1.0, 1.0, 0.0, 0.0, -2.0]), np.array([np.nan, 0.0, 0.0, 1.0, -1.0]))
    assert found.tolist() == [0.0, 0.0, 1.0, 0.0, 1.0]


def test_intervals_are_over_clusters_and_seeds():
    rng = np.random.default_rng(1)
    truth, clusters = rng.random(400) < 0.5, np.arange(400) // 20
    plain = np.where(truth, 1.0, -1.0)[None].repeat(3, axis=0)
    other = np.where(rng.random((3, 400)) < 0.2, -plain, plain)
    found = consistency({PLAIN: plain, "renamed": other}, truth, clusters)["renamed"]
    assert found.same.value == pytest.approx(0.8, abs=0.04)
    assert found.same.low < 0.8 < found.same.high
    assert found.same.clusters == 20
    assert found.change.value == pytest.approx(found.after.value - found.before.value)


def _concept(n: int = 600, d: int = 8):
    rng = np.random.default_rng(2)
    z = rng.random(n) < 0.5
    mix = rng.normal(size=(d, d))
    return (rng.normal(size=(n, d)) + 2 * z[:, None] * (np.arange(d) < 2)) @ mix, z.astype(float)


def test_after_erasure_nothing_linear_is_left():
    x, z = _concept()
    found = fit_eraser(x, z)(x)
    assert np.abs(np.cov(found.T, z)[:-1, -1]).max() < 1e-9
    assert found[z == 1].mean(axis=0) == pytest.approx(found[z == 0].mean(axis=0), abs=1e-9)
    told = np.c_[found, np.ones(len(z))] @ np.linalg.lstsq(np.c_[found, np.ones(len(z))], z, rcond=None)[0]
    assert told == pytest.approx(z.mean(), abs=1e-6)


def test_erasure_is_the_smallest_that_does_it():
    """Against projecting the class means' difference away, which guards as well (Belrose et al. 2023, §4)."""
    x, z = _concept()
    gap = x[z == 1].mean(axis=0) - x[z == 0].mean(axis=0)
    projected = x - np.outer((x - x.mean(axis=0)) @ gap, gap) / (gap @ gap)
    moved = ((fit_eraser(x, z)(x) - x) ** 2).sum()
    assert 0 < moved < ((projected - x) ** 2).sum()


def test_erasing_twice_is_erasing_once():
    x, z = _concept()
    eraser = fit_eraser(x, z)
    assert eraser(eraser(x)) == pytest.approx(eraser(x), abs=1e-9)
    assert eraser(x).mean(axis=0) == pytest.approx(x.mean(axis=0))


def test_several_classes_and_flat_features():
    x, z = _concept()
    x = np.c_[x, np.ones(len(x)), x[:, 0]].astype(np.float32)
    three = np.eye(3)[(z + (np.arange(len(z)) % 2)).astype(int)]
    found = fit_eraser(x, three)(x)
    assert found.dtype == np.float32
    assert np.abs(np.cov(found.T, three.T)[: x.shape[1], x.shape[1] :]).max() < 1e-4


@pytest.mark.parametrize(
    ("x", "z", "why"),
    [
        (np.ones((3, 2)), np.ones(3), "nothing to erase"),
        (np.ones((3, 2)), np.ones(2), "bring one of each"),
        (np.full((2, 2), np.nan), np.arange(2.0), "NaN"),
        (np.ones((0, 2)), np.ones(0), "bring one of each"),
    ],
)
def test_what_cannot_be_erased(x, z, why):
    with pytest.raises(ValueError, match=why):
        fit_eraser(x, z)


def test_erasing_a_persona_frees_a_probe_of_it():
    """A persona direction that goes with the truth in training and against it in the exam misleads, until erased."""
    rng = np.random.default_rng(4)
    truth, exam = rng.random(800) < 0.5, rng.random(800) < 0.5

    def reading(truth, persona):
        sign = np.where(truth, 1.0, -1.0)
        x = rng.normal(size=(len(truth), 10)) + np.outer(sign, np.eye(10)[0]) + 3 * np.outer(persona, np.eye(10)[1])
        return Reading(first=x, second=None, belief=np.full(len(truth), 0.5))

    taught, asked = reading(truth, np.where(truth, 0.7, 0.3)), reading(exam, np.where(exam, 0.3, 0.7))
    persona = np.r_[np.where(truth, 0.7, 0.3), np.where(exam, 0.3, 0.7)]
    eraser = fit_eraser(np.concatenate([taught.first, asked.first]), persona)

    def right(change):
        lesson = Lesson(
            reading=mapped(taught, change),
            labels=truth.astype(float),
            clusters=np.arange(800) // 20,
            checked=np.ones(800, dtype=bool),
        )
        return score(METHODS["naive"].fit(lesson).logits(mapped(asked, change)), exam).mean()

    assert right(eraser) > right(lambda x: x) + 0.1
