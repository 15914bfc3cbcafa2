"""Difficulty, and what students of easy answers know of hard questions, on questions made for it."""

import numpy as np
import pytest

from superalign.generalization import NATURAL, Material, Questions, Reading, questions_of
from superalign.generalization.difficulty import (
    by_construction,
    by_loss,
    by_margin,
    by_names,
    by_person,
    cut_at,
    easy_and_hard,
    graded,
    hardness,
)
from superalign.generalization.easy_to_hard import ARMS, EasyToHard, easy_to_hard, equally_many, sgr
from superalign.tasks.slips import slips


def _questions(*pairs: tuple[str, str]) -> Questions:
    n = len(pairs)
    return Questions(
        ids=tuple(map(str, range(n))),
        first=tuple(a for a, _ in pairs),
        second=tuple(b for _, b in pairs),
        truth=np.arange(n) % 2 == 0,
        clusters=np.array([f"c{i}" for i in range(n)]),
        kinds=np.array([""] * n),
    )


def _material(n: int = 1600, *, seed: int = 0, transfer: bool = True, zero_shot: float = 0.7) -> Material:
    """Easy questions show the truth in feature 0, hard ones too, more faintly; or elsewhere, without `transfer`."""
    rng = np.random.default_rng(seed)
    truth, hard = rng.random(n) < 0.5, np.arange(n) % 2 == 1
    x = rng.normal(size=(n, 6)).astype(np.float32)
    signal = np.where(truth, 1.0, -1.0) * np.where(hard, 0.8, 2.0)
    x[np.arange(n), 0 if transfer else np.where(hard, 1, 0)] += signal
    knows = rng.random(n) < np.where(hard, zero_shot, 0.9)
    belief = np.where(knows == truth, 0.6, 0.4)
    belief = np.where(hard, belief, np.where(belief > 0.5, 0.9, 0.1))
    seen = x + 2 * rng.normal(size=x.shape).astype(np.float32)
    return Material(
        readings={
            "strong": Reading(first=x, second=np.zeros_like(x), belief=belief),
            "weak": Reading(first=seen, second=np.zeros_like(x), belief=belief),
        },
        truth=truth,
        clusters=np.array([f"c{i // 2 % 40}" for i in range(n)]),
        kinds=np.where(hard, "variable", "swapped"),
        difficulty={"made": hard.astype(float)},
    )


def _reading(belief: list[float]) -> Reading:
    p = np.array(belief)
    return Reading(first=np.zeros((len(p), 1)), second=None, belief=p)


def test_kinds_are_easy_or_hard_by_construction_or_refused():
    assert by_construction(np.array(["swapped", "variable", "operator", "lost-doubled"])).tolist() == [0, 1, 1, 0]
    assert by_construction(np.array(["a", "b"]), easy=("a",), hard=("b",)).tolist() == [0, 1]
    with pytest.raises(ValueError, match="kind 'call' is easy or hard"):
        by_construction(np.array(["swapped", "call"]))


def test_a_small_model_finds_hard_what_it_gets_wrong_or_cannot_decide():
    read, truth = _reading([0.9, 0.5, 0.1]), np.array([True, True, True])
    assert by_loss(read, truth) == pytest.approx(-np.log([0.9, 0.5, 0.1]))
    assert by_loss(read, ~truth) == pytest.approx(-np.log([0.1, 0.5, 0.9]))
    margin = by_margin(read)
    assert margin[1] == 0
    assert margin[0] == pytest.approx(margin[2]) == pytest.approx(-np.log(9))
    assert np.isfinite(by_loss(_reading([0.0, 1.0]), np.array([True, False]))).all()


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("a = b <L1> c ( d , e ) <L0> f", "a = b <L1> c ( e , d ) <L0> f", 6),
        ("a = b <L1> c", "a = <L1> b c", 3),
        ("one two\nthree four five", "one two\nthree four", 3),
        ("same", "same", 0),
        ("a <L0> b c d", "a", 3),
    ],
)
def test_people_look_at_the_line_on_which_texts_part(first, second, words):
    assert by_person(_questions((first, second), (second, first))).tolist() == [words, words]


def test_names_that_tell_nothing_are_counted_once_in_both_texts():
    questions = _questions(("v1 = v2 + self", "v1 = v1 + v10"), ("if x : return", "if y : return"))
    assert by_names(questions).tolist() == [3, 0]
    assert "names" not in graded(questions.take(np.array([1]))).difficulty


def test_of_one_text_people_look_at_the_longest_line():
    page = slips(split="dev", view="single", n=20)
    questions = graded(questions_of(page))
    assert questions.difficulty["human"].min() >= 5
    assert questions.difficulty["human"].max() <= 48


def test_difficulty_is_the_same_whichever_text_stands_first():
    questions = questions_of(slips(split="dev", view="pair", n=40))
    swapped = Questions(
        ids=questions.ids,
        first=questions.second or (),
        second=questions.first,
        truth=~questions.truth,
        clusters=questions.clusters,
        kinds=questions.kinds,
    )
    assert (by_person(questions) == by_person(swapped)).all()
    assert set(graded(questions).difficulty) == {"human", "names", "construction"}
    assert set(graded(_questions(("a", "b"))).difficulty) == {"human"}


def test_hardness_comes_from_where_it_can_be_told():
    material = _material(200)
    assert (hardness(material, "made") == material.difficulty["made"]).all()
    assert (hardness(material, "construction") == material.difficulty["made"]).all()
    assert (hardness(material, "margin", small="strong") == by_margin(material.readings["strong"])).all()
    with pytest.raises(ValueError, match=r"'human' can't be told .* graded by made"):
        hardness(material, "human")
    with pytest.raises(ValueError, match="'loss' can't be told"):
        hardness(material, "loss", small="tiny")


@pytest.mark.parametrize(
    ("values", "share", "easy"),
    [
        ([1, 2, 3, 4], 0.5, 2),
        ([1, 2, 3, 4], 0.25, 1),
        ([0, 0, 0, 1], 0.5, 3),
        ([0, 1, 1, 1], 0.9, 1),
        ([5, 5, 5, 6, 7], 0.5, 3),
    ],
)
def test_cuts_part_the_values_next_to_the_share(values, share, easy):
    rows, rest = easy_and_hard(np.array(values, dtype=float), cut_at(np.array(values, dtype=float), share))
    assert len(rows) == easy
    assert sorted([*rows, *rest]) == list(range(len(values)))


@pytest.mark.parametrize(
    ("values", "share", "why"),
    [
        (np.ones(5), 0.5, "equally hard"),
        (np.array([]), 0.5, "equally hard"),
        (np.arange(5.0), 1.0, "between 0 and 1"),
        (np.array([1.0, np.nan]), 0.5, "1 of 2 difficulties are no numbers"),
    ],
)
def test_what_cannot_be_cut_is_refused(values, share, why):
    with pytest.raises(ValueError, match=why):
        cut_at(values, share)


def test_easy_answers_teach_hard_questions_where_both_show_the_same():
    found = easy_to_hard(_material(), _material(2400, seed=9), NATURAL, "made", seeds=range(3))
    assert set(found.logits) == set(ARMS)
    assert found.logits["easy"].shape == (3, 1200) == (len(found.taught_on), len(found.truth))
    gap = sgr(found)
    assert gap.quotable
    assert gap.value.value == pytest.approx(1.0, abs=0.25)
    assert gap.value.low < gap.value.value < gap.value.high
    right = {arm: found.correct(arm).mean() for arm in ARMS}
    assert right["chance"] == 0.5
    assert right["zero-shot"] == pytest.approx(0.7, abs=0.04)
    assert right["noisy hard"] < right["hard"]


def test_easy_answers_teach_nothing_where_hard_questions_show_it_elsewhere():
    exam = _material(2400, seed=9, transfer=False)
    found = easy_to_hard(_material(transfer=False), exam, NATURAL, "made", seeds=range(2))
    gap = sgr(found, unsupervised="chance")
    assert gap.value.value == pytest.approx(0.0, abs=0.25)
    noisy = sgr(found, arm="noisy hard", unsupervised="chance")
    assert noisy.value.value > gap.value.value


def test_no_number_where_hard_answers_gain_nothing_over_none():
    """The guard: a zero-shot belief as good as training on hard questions leaves no gap."""
    found = easy_to_hard(_material(zero_shot=0.79), _material(seed=9, zero_shot=0.79), NATURAL, "made", seeds=range(2))
    gap = sgr(found)
    assert not gap.quotable
    assert gap.value.note


def test_the_formula_by_hand():
    logits = {
        "zero-shot": np.array([[1.0, 1.0, -1.0, -1.0] * 50]),
        "easy": np.array([[1.0, 1.0, 1.0, -1.0] * 50]),
        "hard": np.array([[1.0, 1.0, 1.0, 1.0] * 50]),
    }
    n = 200
    found = EasyToHard(
        way="made",
        cut=0.5,
        truth=np.ones(n, dtype=bool),
        clusters=np.array([f"c{i // 4 % 25}" for i in range(n)]),
        rows=np.arange(n),
        taught_on=(10,),
        logits=logits,
    )
    assert sgr(found).value.value == 0.5


def test_all_arms_learn_from_equally_many_questions_of_half_b():
    values = np.array([0.0] * 150 + [1.0] * 50)
    rows = np.random.default_rng(0).permutation(200)[:120]
    easy, hard = equally_many(rows, values, 0.5, seed=4)
    assert len(easy) == len(hard) == (values[rows] == 1).sum()
    assert set(easy) | set(hard) <= set(rows)
    assert (values[easy] == 0).all()
    assert (values[hard] == 1).all()
    assert (equally_many(rows, values, 0.5, seed=4)[0] == easy).all()
    assert (equally_many(rows, values, 0.5, seed=5)[0] != easy).any()


def test_too_few_of_one_side_are_refused():
    with pytest.raises(ValueError, match="3 hard questions"):
        equally_many(np.arange(100), np.array([0.0] * 97 + [1.0] * 3), 0.5, seed=0)
    material = _material(200)
    easy_only = material.take(np.flatnonzero(material.difficulty["made"] == 0))
    with pytest.raises(ValueError, match="none of 100 exam questions is hard"):
        easy_to_hard(material, easy_only, NATURAL, "made", seeds=[0])
