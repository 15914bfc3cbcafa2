"""The lens says what a score goes by, exactly where the score is known, and its shares add up to the score."""

import numpy as np
import pytest
import torch

from superalign.interpretability.reward_attribution import attribution, score_difference
from superalign.interpretability.reward_lens import (
    _gradient,
    gradient_times_input,
    leave_one_out,
    matched_edits,
    rank_agreement,
    reward_of,
    score_of,
    scored,
    sweep,
    word_classes,
)
from superalign.models import RewardHead
from superalign.training.bodies import fit_body
from superalign.training.bodies_recipe import BodyRecipe

TEXTS = ["a b = c", "d", "a a a ( b )", "c - d + a"]


def judge(texts):
    """Two for each `a`, one off for each word."""
    return np.array([2.0 * text.split().count("a") - len(text.split()) for text in texts])


def body(tiny, pool, *, paired=False):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcd+-"), rng.integers(3, 9))) for _ in range(60)]
    goals = np.array([text.count("a") > text.count("b") for text in texts]).astype(float)
    given = (texts, texts[::-1]) if paired else (texts,)
    recipe = BodyRecipe(pool=pool, start="probe", epochs=1, rate=1e-3)
    return fit_body(tiny(), given, goals if not paired else goals * 0.5 + 0.25, recipe=recipe)


def rewarded(tiny, seed=0):
    torch.manual_seed(seed)
    head = RewardHead(16, hidden=8)
    torch.nn.init.normal_(head.text[2].weight)
    return tiny(seed).sealed(head=head.eval())


def test_leaving_a_word_out_of_a_known_judge():
    found = leave_one_out(judge, TEXTS)
    for text, effects in zip(TEXTS, found, strict=True):
        assert effects.tolist() == [1.0 if word == "a" else -1.0 for word in text.split()]
    assert np.isnan(leave_one_out(judge, ["a b c"], skip=2)[0]).tolist() == [True, True, False]


def test_a_matched_edit_keeps_everything_but_the_word():
    classes = {"a": "name", "b": "name", "c": "name", "+": "sign", "-": "sign", "(": "bracket"}
    found = matched_edits(judge, TEXTS, classes, tries=3)
    assert found[0][0] == 2.0  # `a` for another name, the length as it was
    assert round(-3 * found[0][1] / 2, 6) in (0, 1, 2, 3)  # so many of three draws were `a`
    assert np.isnan(found[0][2])  # `=` has no class
    assert np.isnan(found[2][3])  # `(` is alone in its class
    assert found[3][1] == 0.0
    again = matched_edits(judge, TEXTS, classes, tries=3)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, again, strict=True))


def test_words_of_code_have_classes():
    words = ["v0", "data", "if", "None", "<S>", "(", "==", "<", "<L2>", "<by:lead>", "<bos>"]
    found = word_classes(words)
    known = "slot name keyword constant constant bracket operator operator layout"
    assert " ".join(found.values()) == known
    assert not {"<by:lead>", "<bos>"} & set(found)


def test_each_distinct_text_is_scored_once_and_in_one_call():
    calls = []

    def score(texts):
        calls.append(list(texts))
        return judge(texts)

    leave_one_out(score, ["a a a", "a a", "a a a"])
    assert len(calls) == 1
    assert sorted(calls[0]) == ["a", "a a", "a a a"]


@pytest.mark.parametrize("bad", [np.array([np.nan]), np.array([1.0, 2.0]), np.array([np.inf])])
def test_scores_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="got scores of shape"):
        scored(lambda texts: bad, ["a"])
    assert scored(judge, []).shape == (0,)


def test_a_sweep_puts_every_word_at_every_place():
    found = sweep(judge, ["{} b {}", "{}", "c {}"], ["a", "b"])
    assert found.tolist() == [[1.0, -3.0], [1.0, -1.0], [0.0, -2.0]]
    with pytest.raises(ValueError, match="has no word"):
        sweep(judge, ["a b"], ["a"])


def test_a_sweep_of_a_model_is_a_forward_for_each_word(tiny):
    model = rewarded(tiny)
    words = ["a", "b", "c", "d", "+"]
    found = sweep(reward_of(model), ["c {} d", "{} ="], words)
    for row, frame in enumerate(("c {} d", "{} =")):
        for column, word in enumerate(words):
            alone = model.read([frame.replace("{}", word)])[0].reward
            assert found[row, column] == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("kind", ["head", "wide", "last"])
def test_gradient_times_input_is_the_slope_along_the_input(tiny, kind):
    model = rewarded(tiny) if kind == "head" else body(tiny, kind)
    local = model if kind == "head" else model.model
    score = reward_of(model) if kind == "head" else score_of(model)
    modules = [local.network.get_input_embeddings()] + ([model.head.identity] if kind == "head" else [])
    ids = torch.tensor(local.encode(["a b + c d"]))
    total = float(_gradient(model, ids, torch.ones_like(ids)).sum())

    def scaled(by):
        handles = [m.register_forward_hook(lambda module, given, made: made * by) for m in modules]
        value = float(score(["a b + c d"])[0])
        for handle in handles:
            handle.remove()
        return value

    assert total == pytest.approx((scaled(1.01) - scaled(0.99)) / 0.02, rel=0.05, abs=0.01)


def test_gradients_of_a_batch_are_those_of_each_text_and_leave_nothing_behind(tiny):
    model = rewarded(tiny)
    together = gradient_times_input(model, TEXTS)
    for text, values in zip(TEXTS, together, strict=True):
        assert values.shape == (len(text.split()),)
        assert values == pytest.approx(gradient_times_input(model, [text])[0], abs=1e-4)
    assert all(p.grad is None for p in model.network.parameters())
    assert not model.network.get_input_embeddings()._forward_hooks
    with pytest.raises(ValueError, match="no reward head"):
        gradient_times_input(tiny(), TEXTS)


def test_rank_agreement_is_one_with_itself_and_leaves_out_what_cannot_be_ranked():
    effects = [np.array([1.0, 2.0, 3.0, np.nan]), np.array([5.0, 1.0, 2.0, 0.0]), np.array([1.0, 1.0, 1.0])]
    found = rank_agreement({"a": effects, "b": [-e for e in effects], "c": [e**3 for e in effects]})
    assert found["a", "b"].value == pytest.approx(-1)
    assert found["a", "c"].value == pytest.approx(1)
    assert found["a", "c"].n == 2
    assert rank_agreement({"a": effects[:1], "b": effects[:1]})["a", "b"].value is None


@pytest.mark.parametrize("pool", ["wide", "last"])
@pytest.mark.parametrize("paired", [False, True])
def test_shares_add_up_to_the_score(tiny, pool, paired):
    fitted = body(tiny, pool, paired=paired)
    told, scores = attribution(fitted, TEXTS), score_of(fitted)(TEXTS)
    assert [each.score for each in told] == pytest.approx(scores.tolist(), abs=2e-4)
    assert [len(each.shares) for each in told] == [len(ids) for ids in fitted.model.encode(TEXTS)]
    said = fitted.logits((TEXTS[:1], TEXTS[1:2]))[0] if paired else fitted.logits((TEXTS[:1],))[0]
    expected = told[0].score - told[1].score if paired else told[0].score
    assert said == pytest.approx(expected, abs=2e-4)
    assert told[2].tokens == ("<bos>", "a", "a", "a", "(", "b", ")", "<eos>")


@pytest.mark.parametrize("pair", [("a b = c", "a d = c"), ("a b", "a b c + d"), ("a", "a")])
def test_the_difference_of_two_scores_is_shared_out_over_aligned_tokens(tiny, pair):
    fitted = body(tiny, "wide")
    lines, scores = score_difference(fitted, *pair), score_of(fitted)(list(pair))
    assert sum(line.share for line in lines) == pytest.approx(scores[0] - scores[1], abs=2e-4)
    assert [line.first for line in lines if line.first] == ["<bos>", *pair[0].split(), "<eos>"]
    assert [line.second for line in lines if line.second] == ["<bos>", *pair[1].split(), "<eos>"]


def test_a_word_that_decides_ranks_first_by_every_method(tiny):
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(list("abcd"), 6)) for _ in range(400)]
    goals = np.array(["a" in text for text in texts]).astype(float)
    fitted = fit_body(tiny(), (texts,), goals, recipe=BodyRecipe(pool="wide", epochs=12, rate=3e-3, batch=50))
    classes = dict.fromkeys("abcd", "name")
    shown = ["b c a d b", "a c d d b", "b b c d a"]
    score = score_of(fitted)
    for effects in (leave_one_out(score, shown), matched_edits(score, shown, classes)):
        assert [int(np.nanargmax(e)) for e in effects] == [text.split().index("a") for text in shown]
