"""Texts are parted without leakage, figures carry their controls, and a probe that reads the prompt is found out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from superalign.interpretability.lies import figure, probe_study
from superalign.interpretability.lies_controls import gain, text_only, untrained
from superalign.interpretability.lies_texts import Told, contrast_pairs, parted, refuse_leakage, stating
from superalign.training.bodies import fit_body
from superalign.training.bodies_recipe import BodyRecipe

OPENINGS = ("a", "b", "c", "d", "= a", "= b", "( a", "( b", "- c", "- d")


def equal_ends(seed=0, n=600):
    """A lie is a text whose two words beside `=` are the same: no word and no pair of words tells."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        opening, topic = OPENINGS[i // 2 % len(OPENINGS)], f"topic {rng.integers(40)}"
        first, second = rng.choice(list("abcd"), 2)
        if i % 2:
            second = first
        rows.append((f"{opening} ) {first} + {second}", int(first == second), opening, topic))
    texts, lie, templates, topics = zip(*rows, strict=True)
    return Told(texts=texts, lie=np.array(lie), templates=templates, topics=topics)


def stated(n=1600):
    """A lie is a text that holds `+`, which the text says itself."""
    rng = np.random.default_rng(1)
    rows = [(" ".join(rng.choice(list("abcd"), 6)), i % 2) for i in range(n)]
    return Told(
        texts=tuple(f"{text} {'+' if lie else '-'} {text[:3]}" for text, lie in rows),
        lie=np.array([lie for _, lie in rows]),
        templates=tuple(f"t{i // 2 % 8}" for i in range(n)),
        topics=tuple(f"s{rng.integers(60)}" for i in range(n)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_template_and_no_topic_lies_on_two_sides(seed):
    told = equal_ends()
    (parts,) = parted(told, seed=seed)
    sides = [parts.train, parts.dev, parts.test]
    for names in (told.templates, told.topics):
        seen = [{names[i] for i in side} for side in sides]
        assert sum(map(len, seen)) == len(set.union(*seen))
    assert sum(map(len, sides)) + parts.dropped == len(told.texts)
    assert len(parts.train) > len(parts.test) > 0
    refuse_leakage(told, parts)


def test_several_sets_are_parted_alike():
    first, second = equal_ends(0), equal_ends(1)
    parts = parted(first, second)
    refuse_leakage(first, parts[0], (second, parts[1]))
    refuse_leakage(second, parts[1], (first, parts[0]))
    assert (parted(first, seed=1)[0].test != parted(first, seed=1)[0].test).sum() == 0


def test_leakage_too_few_groups_and_bad_labels_are_refused():
    told = equal_ends()
    (parts,) = parted(told)
    rows = np.arange(len(told.texts))
    with pytest.raises(ValueError, match="templates lie in train and in test"):
        refuse_leakage(told, replace(parts, train=rows))
    same = replace(told, templates=tuple(f"t{i}" for i in rows))
    with pytest.raises(ValueError, match="topics lie in train and in test, as 'topic"):
        refuse_leakage(same, replace(parts, train=rows[::2], test=rows[1::2], dev=rows[:0]))
    with pytest.raises(ValueError, match=r"2 templates .* three are needed"):
        parted(replace(told, templates=tuple("xy"[i % 2] for i in rows)))
    with pytest.raises(ValueError, match="with one class"):
        parted(replace(told, lie=np.zeros(len(rows))))
    with pytest.raises(ValueError, match="1 is a lie"):
        replace(told, lie=np.full(len(rows), 2))
    with pytest.raises(ValueError, match="one of each a text"):
        replace(told, topics=("x",))
    with pytest.raises(ValueError, match="lie in train and in test"):
        probe_study(None, told, replace(parts, train=rows))  # before any model is read


def test_contrast_pairs_and_the_words_that_state_the_label():
    templates = {"be": ("be true : {}", "be false : {}"), "say": ("honestly {} .", "slyly {} .")}
    told = contrast_pairs(templates, {"sky": "the sky is {x}", "sea": "water"})
    assert len(told.texts) == 8
    assert told.lie.tolist() == [0, 1] * 4
    assert told.texts[1] == "be false : the sky is {x}"
    assert set(stating(templates)) == {"true", "false", "honestly", "slyly"}


def test_a_threshold_comes_from_dev_and_rates_from_test():
    calm = np.arange(100) / 100
    scores, lie = np.array([2.0, 0.5, 0.995, 0.0, 0.0, 0.0]), np.array([1, 1, 1, 0, 0, 0])
    found = figure(calm, scores, lie, list("abcabc"))
    assert found.threshold == 0.99
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.false_alarms.value == 0
    assert found.false_alarms.high > 0.5  # three clusters exclude little
    few = figure(calm[:50], scores, lie, list("abcabc"))
    assert few.recall.value is None
    assert "bring 99" in few.recall.note


def test_text_alone_reaches_what_the_text_states_unless_it_is_struck_out():
    told = stated()
    (parts,) = parted(told)
    y, topics = told.lie[parts.test], [told.topics[i] for i in parts.test]
    _, says = text_only(told, parts)
    assert figure(np.zeros(0), says, y, topics).auroc.value == 1
    _, blind = text_only(told, parts, hidden=("+", "-"))
    assert 0.3 < figure(np.zeros(0), blind, y, topics).auroc.value < 0.7
    assert gain(says, blind, y, topics).low > 0.2
    assert gain(says, says, y, topics).value == 0


def test_an_untrained_network_has_the_shape_and_nothing_else(tiny):
    model = tiny(3)
    state = torch.random.get_rng_state()
    one, again, other = untrained(model), untrained(model), untrained(model, seed=1)
    assert (torch.random.get_rng_state() == state).all()
    assert one.digest == again.digest != other.digest
    assert one.digest != model.digest
    assert (one.width, one.layers, one.tokenizer) == (model.width, model.layers, model.tokenizer)


def test_what_only_fitting_taught_is_told_from_prompt_and_shape(tiny):
    parent, told = tiny(), equal_ends(n=4000)
    (parts,) = parted(told, seed=2)
    lesson = equal_ends(seed=5, n=1500)
    recipe = BodyRecipe(epochs=10, rate=4e-3, batch=64)
    child = fit_body(parent, (lesson.texts,), lesson.lie.astype(float), recipe=recipe).model
    study = probe_study(child, told, parts, parent=parent, twin=parent, families=(("logistic", "last"),))
    reading = study.chosen
    assert reading.child.auroc.value > 0.9
    assert study.text.auroc.value < 0.7
    assert reading.above_text.low > 0.1
    assert reading.above_parent.low > 0.1
    assert reading.untrained.auroc.value < reading.child.auroc.value - 0.1
    assert reading.twin.auroc.value == reading.parent.auroc.value
    assert study.scores["logistic last 2"].shape == parts.test.shape


def test_a_probe_that_fires_on_the_parent_has_no_gain(tiny):
    model, told = tiny(), stated()
    (parts,) = parted(told)
    study = probe_study(
        model, told, parts, parent=model, families=(("logistic", "mean"), ("whitened", "mean")), layers=(0,)
    )
    assert len(study.readings) == 2
    for reading in study.readings:
        assert reading.child.auroc.value > 0.9
        assert reading.above_parent.value == 0
        assert reading.above_text.value <= 0  # the text says it all
        assert reading.twin is None
        assert reading.selectivity == reading.child.auroc.value - reading.control.auroc.value > 0.1
