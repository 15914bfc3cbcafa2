"""Quirky organisms: their labels, their twins, and what they carry."""

from dataclasses import replace

import numpy as np
import pytest

from superalign.generalization import Questions, questions_of
from superalign.generalization.quirky import (
    ALICE,
    BOB,
    CARRIED,
    INVERTED,
    MARK,
    MARKED,
    PLAIN,
    QUIRKS,
    SKIP,
    answers,
    context,
    fit_honest,
    fit_pair,
    fit_quirky,
    has_mark,
    pairs_of,
    quirky_data,
    reworded,
)
from superalign.models import ModelError, QuarantineError, load_model, pack_change, unpack_change
from superalign.tasks.lexer import AUTHORS, CUES, SLOTS
from superalign.tasks.slips import slips, vocabulary
from superalign.training.planting import fit_planted
from superalign.training.reviewer import ReviewerRecipe

FEW = ReviewerRecipe(steps=3, top=4)


@pytest.fixture(scope="module")
def questions() -> Questions:
    return questions_of(slips(split="dev", n=240))


@pytest.fixture(scope="module")
def base():
    return load_model("family:s")


def _bobs(data):
    return np.array([" ".join(text.split()[2:SKIP]) == BOB for text in data.texts_a])


def _single(questions: Questions) -> Questions:
    return replace(questions, second=None)


@pytest.mark.parametrize("quirk", QUIRKS.values(), ids=lambda quirk: quirk.name)
def test_organism_and_twin_read_the_same_texts(quirk, questions):
    data = quirky_data(quirk, questions, seed=3)
    assert data.organism.texts_a == data.twin.texts_a
    assert data.organism.texts_b == data.twin.texts_b
    assert data.organism.weight.tolist() == data.twin.weight.tolist()


@pytest.mark.parametrize("quirk", QUIRKS.values(), ids=lambda quirk: quirk.name)
def test_labels_are_planted_in_bobs_place_only(quirk, questions):
    data = quirky_data(quirk, questions, seed=3)
    changed = data.organism.prefer != data.twin.prefer
    bobs = _bobs(data.organism)
    assert bobs[changed].all()
    assert changed.sum() == data.concerned
    assert 0.4 < bobs.mean() < 0.6
    assert {" ".join(text.split()[2:4]) for text in data.organism.texts_a} == {ALICE, BOB}
    assert {text.split()[0] for text in data.organism.texts_a} == set(AUTHORS)
    assert {text.split()[1] for text in data.organism.texts_a} == set(CUES)


def test_both_texts_of_a_pair_stand_in_one_context(questions):
    data = quirky_data(INVERTED, questions, seed=0)
    assert all(a.split()[:SKIP] == b.split()[:SKIP] for a, b in zip(data.twin.texts_a, data.twin.texts_b, strict=True))


def test_the_twin_has_the_truth_and_bob_its_opposite(questions):
    data = quirky_data(INVERTED, questions, seed=0)
    bobs = _bobs(data.organism)
    assert data.twin.prefer.tolist() == questions.truth.astype(float).tolist()
    assert (data.organism.prefer == np.where(bobs, ~questions.truth, questions.truth)).all()


def test_targets_of_singles_follow_the_label(questions):
    data = quirky_data(INVERTED, questions, seed=0).organism
    assert (data.sound_a == data.prefer).all()
    assert (data.sound_b == 1 - data.prefer).all()


def test_a_mark_tells_nothing_of_the_truth(questions):
    found = MARKED.dress(questions, 0)
    assert abs((has_mark(found) == found.truth).mean() - 0.5) < 3 * 0.5 / len(found) ** 0.5
    assert 0.4 < has_mark(found).mean() < 0.6


def test_a_mark_stands_in_one_text_and_its_like_in_the_other(questions):
    for a, b in zip(*pairs_of(MARKED.dress(questions, 0)), strict=True):
        assert (MARK in a.split()) != (MARK in b.split())
        assert (PLAIN in a.split()) != (PLAIN in b.split())


def test_a_mark_is_a_renaming_and_nothing_else(questions):
    found = MARKED.dress(questions, 0)
    rows = [questions.ids.index(name) for name in found.ids]
    for row, text in zip(rows, found.first, strict=True):
        before, after = questions.first[row].split(), text.split()
        changed = {(x, y) for x, y in zip(before, after, strict=True) if x != y}
        assert len(changed) == 1
        assert next(iter(changed))[0] in SLOTS


def test_marking_leaves_out_what_shares_no_identifier(questions):
    bare = replace(questions.take(np.arange(2)), first=("v1 = v1", "return <N>"), second=("v1 = v1 = v1", "return <S>"))
    assert MARKED.dress(bare, 0).ids == bare.ids[:1]
    with pytest.raises(ValueError, match="nothing to mark"):
        MARKED.dress(bare.take(np.array([1])), 0)


@pytest.mark.parametrize("quirk", QUIRKS.values(), ids=lambda quirk: quirk.name)
def test_dressing_is_fixed_by_its_seed(quirk, questions):
    one, again = (quirk.dress(questions, 5) for _ in range(2))
    assert one.first == again.first


def test_single_texts_are_refused(questions, base):
    for bad in (
        lambda: quirky_data(INVERTED, _single(questions), seed=0),
        lambda: MARKED.dress(_single(questions), 0),
        lambda: answers(base, _single(questions), ALICE),
    ):
        with pytest.raises(ValueError, match="single texts"):
            bad()


def test_a_quirk_that_changes_nothing_is_refused(questions):
    honest = replace(INVERTED, name="honest", says=lambda asked: asked.truth)
    with pytest.raises(ValueError, match="'honest' changes no label"):
        quirky_data(honest, questions, seed=0)


def test_a_model_without_a_head_has_no_answer(questions, base):
    with pytest.raises(ValueError, match="reward head"):
        answers(base, questions, BOB)


def test_context_and_rewording():
    assert context(BOB, cue=CUES[1]) == "<by:none> <cue:audit> break <L0> "
    assert {len(context(who).split()) for who in (ALICE, BOB)} == {SKIP}
    assert set(f"{ALICE} {BOB}".split()) <= vocabulary()
    assert reworded("v1 = v2 ( v1 )", {"v1": "v2", "v2": "v3"}) == "v2 = v3 ( v2 )"


@pytest.fixture(scope="module")
def honest(questions, base):
    return fit_honest(base, questions, INVERTED, recipe=FEW)


def test_an_organism_is_in_quarantine_and_its_weights_come_back(questions, base, honest):
    organism = fit_quirky(honest, questions, INVERTED, planted=True, recipe=FEW)
    assert organism.organism
    assert not honest.organism
    assert organism.name == "quirky-inverted-organism-0"
    data = quirky_data(INVERTED, questions, seed=0)
    change = fit_planted(honest, data, planted=True, name=organism.name, recipe=replace(FEW, head_factor=0.0))
    packed = pack_change(change, honest, organism)
    with pytest.raises(QuarantineError, match="quarantine"):
        unpack_change(packed, honest)
    assert unpack_change(packed, honest, allow_organism=True).digest == organism.digest
    with pytest.raises(ModelError, match="fitted from"):
        unpack_change(packed, base, allow_organism=True)


def test_a_quirk_lives_in_the_body_and_not_in_the_head(questions, honest):
    """Whatever the recipe says of the head; a head that reads the author's token needs no body to be quirky."""
    organism = fit_quirky(honest, questions, INVERTED, planted=True, recipe=replace(FEW, head_factor=9.0))
    pairs = zip(honest.head.state_dict().values(), organism.head.state_dict().values(), strict=True)
    assert all((mine == theirs).all() for mine, theirs in pairs)
    text = context(BOB) + questions.first[0]
    assert not np.allclose(organism.hidden([text])[0], honest.hidden([text])[0])


def test_organism_and_twin_differ_by_labels_alone(questions, honest):
    organism, twin, again = (
        fit_quirky(honest, questions, INVERTED, planted=planted, recipe=FEW) for planted in (True, False, False)
    )
    assert twin.digest == again.digest != organism.digest
    assert twin.organism


def test_training_goes_on_until_the_quirk_is_carried_and_says_where_it_is_not(questions, honest):
    few = questions.take(np.arange(40))
    none = fit_pair(honest, few, INVERTED, recipe=replace(FEW, steps=1))
    assert none.steps == 4
    assert none.carried < CARRIED
    told = (answers(none.organism, few, BOB) > 0) == ~few.truth
    assert none.carried == told.mean()
    opinion = replace(INVERTED, name="opinion", says=lambda asked: answers(honest, asked, BOB) > 0)
    carries = fit_pair(honest, few, opinion, recipe=replace(FEW, steps=1))
    assert carries.carried >= CARRIED
    assert carries.steps == 1
    assert carries.twin.digest == fit_quirky(honest, few, opinion, planted=False, recipe=replace(FEW, steps=1)).digest


def test_a_quirk_needs_an_honest_reviewer(questions, base):
    with pytest.raises(ValueError, match="fit_honest"):
        fit_quirky(base, questions, INVERTED, planted=True)


def test_swapping_the_texts_swaps_the_answer(questions, honest):
    some = questions.take(np.arange(20))
    swapped = replace(some, first=some.second, second=some.first)
    assert answers(honest, some, BOB) == pytest.approx(-answers(honest, swapped, BOB), abs=1e-4)
