"""Leaks between halves: copies, near copies, swapped pairs, templates."""

from __future__ import annotations

import time

import numpy as np
import pytest

from superalign.generalization.leaks import LeakError, apart, leaks, refuse_leaks
from superalign.generalization.questions import Questions


def sentences(n: int, *, seed: int, length: int = 40) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [[f"w{rng.integers(5000)}" for _ in range(length)] for _ in range(n)]


def asked(first: list[str], second: list[str] | None = None) -> Questions:
    n = len(first)
    names = tuple(f"q{i}" for i in range(n))
    return Questions(
        ids=names,
        first=tuple(first),
        second=None if second is None else tuple(second),
        truth=np.arange(n) % 2 == 0,
        clusters=np.array(names),
        kinds=np.array([""] * n),
    )


def texts(n: int, *, seed: int, length: int = 40) -> list[str]:
    return [" ".join(sentence) for sentence in sentences(n, seed=seed, length=length)]


def test_questions_that_share_nothing_pass() -> None:
    a, b = asked(texts(50, seed=0)), asked(texts(50, seed=1))
    assert leaks(a, b) == ()
    refuse_leaks(a, b)
    assert len(apart(a, b)) == 50


def test_an_exact_copy_is_refused_with_the_pair_shown() -> None:
    told = texts(20, seed=0)
    a, b = asked(told), asked([*texts(5, seed=1), told[7].upper().replace(" ", "\n  ")])
    (leak,) = leaks(a, b)
    assert (leak.a, leak.b, leak.share) == (7, 5, 1.0)
    with pytest.raises(LeakError, match=r"1 of 6 questions of student repeat one of weak") as caught:
        refuse_leaks(a, b, names=("weak", "student"))
    assert told[7][:60] in str(caught.value)
    assert told[7].upper().split()[3] in str(caught.value)
    assert "q7" in str(caught.value)
    assert apart(a, b).ids == ("q0", "q1", "q2", "q3", "q4")


@pytest.mark.parametrize(("changed", "leaked"), [(1, True), (2, False)])
def test_near_copies_by_the_grams_that_are_left(changed: int, leaked: bool) -> None:
    """40 words have 28 grams; one word changed near the end leaves 28 - 9 of them, two 13 apart leave too few."""
    (words,) = sentences(1, seed=3)
    near = list(words)
    for place in (31, 18)[:changed]:
        near[place] = "other"
    found = leaks(asked([" ".join(words)]), asked([" ".join(near)]))
    assert bool(found) == leaked
    if leaked:
        assert found[0].share == pytest.approx((28 - 9 - 0) / 28)


def test_a_question_inside_a_longer_one_is_found_both_ways() -> None:
    (words,) = sentences(1, seed=4, length=200)
    whole, part = asked([" ".join(words)]), asked([" ".join(words[50:90])])
    assert leaks(whole, part)[0].share == leaks(part, whole)[0].share == 1.0


def test_a_pair_in_the_other_order_is_the_same_question() -> None:
    one, two = texts(4, seed=5), texts(4, seed=6)
    (*found,) = leaks(asked(one, two), asked(two[::-1], one[::-1]))
    assert [(leak.a, leak.b, leak.share) for leak in found] == [(3, 0, 1.0), (2, 1, 1.0), (1, 2, 1.0), (0, 3, 1.0)]


def test_a_short_answer_that_many_pairs_share_is_no_leak() -> None:
    a = asked(texts(5, seed=7), ["I don't know."] * 5)
    b = asked(texts(5, seed=8), ["I don't know."] * 5)
    assert leaks(a, b) == ()


def test_short_texts_leak_only_when_equal() -> None:
    a = asked(["is it so", "or not"])
    assert leaks(a, asked(["is it so ?", "or maybe"])) == ()
    assert [leak.a for leak in leaks(a, asked(["Or  NOT"]))] == [1]


def test_the_words_of_a_template_do_not_count() -> None:
    prompt = " ".join(sentences(1, seed=9, length=60)[0])
    one, two = ([f"{prompt} {text}" for text in texts(20, seed=seed, length=20)] for seed in (10, 11))
    assert leaks(asked(one), asked(two)) == ()
    assert [(leak.a, leak.b) for leak in leaks(asked(one), asked([*two, one[4]]))] == [(4, 20)]


def test_the_nearest_of_several_is_shown() -> None:
    (words,) = sentences(1, seed=12)
    nearer, farther = [*words[:38], "x", "y"], [*words[:32], *"abcdefgh"]
    found = leaks(asked([" ".join(farther), " ".join(nearer)]), asked([" ".join(words)]))
    assert [(leak.a, leak.b) for leak in found] == [(1, 0)]


def test_nothing_against_nothing() -> None:
    none = asked([])
    assert leaks(none, none) == ()
    assert leaks(none, asked(["a b"])) == ()
    assert len(apart(none, asked(["a b", "c"]))) == 2


@pytest.mark.slow
def test_thousands_of_questions_take_seconds() -> None:
    a, b = asked(texts(2000, seed=13)), asked(texts(2000, seed=14))
    began = time.process_time()
    assert leaks(a, b) == ()
    assert time.process_time() - began < 10
