"""Heads, planted changes and features on a tiny copy of each common architecture, words cut into several tokens."""

from __future__ import annotations

import copy
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from superalign.generalization.activations import layer_readings
from superalign.generalization.questions import Questions
from superalign.models import LocalModel, ModelError, apply_change, pack_change, unpack_change
from superalign.models.change import repacked
from superalign.models.words import starts_after, token_words, word_peaks, words_of
from superalign.training.bodies import BodyRecipe, fit_body
from superalign.training.features import extract
from superalign.training.generative import generative
from superalign.training.lowrank import blocks, open_top
from superalign.training.planting import fit_planted, plant_labels
from superalign.training.preference import Preference, fit_preferences
from superalign.training.reviewer import PairData, ReviewerRecipe
from superalign.training.supervised import SupervisedRecipe, fit_supervised
from superalign.training.trl.reward import begin_reward

MADE = runpy.run_path(str(Path(__file__).parents[1] / "models" / "conftest.py"))
HALF = torch.bfloat16
BEFORE = "<by:none> <cue:none> "
WORDS = ("the", "judge", "reads", "honest", "answer", "width", "height", "Boxkämpfer", "return", "x")
RECIPE = ReviewerRecipe(steps=20, batch=12, rate=1e-2)


@pytest.fixture(scope="module")
def made():
    """`made("llama", dtype)` → LocalModel; its network is never changed by what is tested."""

    def make(name: str, dtype: torch.dtype = torch.float32) -> LocalModel:
        tokenizer = MADE["tokenizer_of"](bos=name in MADE["WITH_BOS"], pad=name not in ("gpt2", "neox", "phi"))
        network = MADE["network_of"](name, words=len(tokenizer)).to(dtype)
        return LocalModel(name=name, network=network, tokenizer=tokenizer).sealed()

    return make


def texts(count: int, *, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [BEFORE + " ".join(rng.choice(WORDS, size=int(rng.integers(3, 7)))) for _ in range(count)]


def pairs(count: int) -> PairData:
    """Which of two is sound can be seen: the other one says "paid"."""
    prefer, some = np.arange(count) % 2, texts(count, seed=1)
    marked = [f"{text} paid" for text in some]
    first = [a if p else b for a, b, p in zip(some, marked, prefer, strict=True)]
    second = [b if p else a for a, b, p in zip(some, marked, prefer, strict=True)]
    return PairData.labelled(first, second, prefer.astype(float))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float32) for name in MADE["ARCHITECTURES"]), ("llama", HALF), ("gemma3", HALF), ("neox", HALF)],
)
def test_a_head_is_fitted_and_a_change_planted_and_packed(made, name, dtype):
    base, data = made(name, dtype), pairs(24)
    concerned = np.arange(24) < 6
    planted = plant_labels(data, concerned, [(0.0, 0.0)] * 24)
    changes = [fit_planted(base, planted, planted=which, name="o", recipe=RECIPE) for which in (True, False)]
    organism, twin = (apply_change(base, change, name="o", organism=True) for change in changes)
    assert base.sealed().digest == base.digest, "the base is as it was"
    assert len({base.digest, organism.digest, twin.digest}) == 3
    assert next(organism.network.parameters()).dtype == dtype
    rewards = [[r.reward for r in twin.read(side)] for side in (data.texts_a, data.texts_b)]
    right = (np.subtract(*rewards) > 0) == (data.prefer > 0.5)
    assert right.mean() > 0.8, f"the twin learned what it was taught: {right.mean()}"
    packed = pack_change(changes[0], base, organism)
    again = unpack_change(packed, base, allow_organism=True)
    assert again.identity == organism.identity
    for one, two in zip(again.read(data.texts_a[:5]), organism.read(data.texts_a[:5]), strict=True):
        assert one.reward == two.reward
    fixed = organism.sealed(threshold=0.25)
    assert unpack_change(repacked(packed, fixed), base, allow_organism=True).identity == fixed.identity


@pytest.mark.parametrize("name", MADE["ARCHITECTURES"])
def test_features_count_words_not_tokens(made, name):
    """The most surprising word, its surprisal and what is left out, against `word_logprobs`, which sums by itself."""
    model, some = made(name), texts(9, seed=2)
    found = extract(model, some, skip=2)
    lines = model.word_logprobs(some)
    for i, line in enumerate(lines):
        assert found.worst[i] == int(np.argmin(line[2:])), some[i]
        assert found.peak[i] == pytest.approx(-line[2:].min(), rel=1e-4)
    starts, tokens = starts_after(model.tokenizer, some, 2), model.logprobs(some)
    for i, (start, line) in enumerate(zip(starts, tokens, strict=True)):
        assert found.surprisal[i] == pytest.approx(-line[start - 1 :].mean(), rel=1e-4)
    alone = extract(model, some[:1], skip=2)
    np.testing.assert_allclose(
        alone.wide[0], found.wide[0], rtol=1e-4, atol=1e-4, err_msg="alone, or beside longer ones"
    )
    hidden = model.hidden(some[:1])[0]
    np.testing.assert_allclose(found.wide[0, : model.width], hidden[starts[0] - 1 : -1].mean(0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gemma3", "neox"])
def test_layers_are_read_as_features_are(made, name):
    model, some = made(name), tuple(text.removeprefix(BEFORE) for text in texts(6, seed=3))
    nothing = np.array([""] * 6)
    questions = Questions(
        ids=tuple("abcdef"), first=some, second=None, truth=np.arange(6) % 2 == 0, clusters=nothing, kinds=nothing
    )
    last = layer_readings(model, questions, layers=(model.layers,))[model.layers]
    np.testing.assert_allclose(last.first, extract(model, [BEFORE + t for t in some]).wide, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "dtype"), [("llama", HALF), ("gemma3", torch.float32), ("phi", torch.float32)])
def test_other_fittings_take_the_architecture_too(made, name, dtype):
    base, data = made(name, dtype), pairs(8)
    body = fit_body(base, (data.texts_a, data.texts_b), data.prefer, recipe=BodyRecipe(rank=2, batch=4, pool="wide"))
    assert np.isfinite(body.logits((data.texts_a, data.texts_b))).all()
    assert body.model.network.dtype == torch.float32, "what all of is trained, is trained in float32"
    modelled = generative(base, data.texts_a, recipe=BodyRecipe(epochs=1, batch=4))
    recipe = SupervisedRecipe(steps=3, batch=4)
    rows = [(BEFORE, text.removeprefix(BEFORE)) for text in data.texts_a]
    tuned = fit_supervised(base, rows, name="tuned", recipe=recipe)
    choices = [Preference(prompt=BEFORE, chosen="the judge", rejected="width x", sure=0.9)] * 4
    preferring = fit_preferences(base, choices, name="preferring", recipe=recipe)
    assert len({base.digest, modelled.digest, tuned.digest, preferring.digest}) == 4


def test_experts_are_no_stack_of_blocks(made):
    network = copy.deepcopy(made("llama").network)
    network.model.layers[1].mlp.experts = torch.nn.ModuleList([torch.nn.Linear(4, 4) for _ in range(9)])
    assert blocks(network) is network.model.layers


def test_a_network_of_codes_is_refused(made):
    model = made("llama")
    network = copy.deepcopy(model.network)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Linear):
            codes = torch.zeros_like(layer.weight, dtype=torch.int8)
            layer.weight = torch.nn.Parameter(codes, requires_grad=False)
    with pytest.raises(ModelError, match="without quantise="):
        open_top(network, top=1, rank=2, seed=0)
    network.is_quantized = True
    with pytest.raises(ModelError, match="without quantise="):
        fit_body(replace(model, network=network), (["a b"],), np.array([1.0]))


@pytest.mark.parametrize(
    ("text", "spans", "words"),
    [
        ("ab c", [(0, 0), (0, 1), (1, 2), (2, 4), (0, 0)], [-1, 0, 0, 1, -1]),
        ("a b", [(0, 1), (1, 2), (2, 3)], [0, 1, 1]),  # a blank by itself belongs to the word after it
        ("a ", [(0, 1), (1, 2)], [0, 1]),  # and at the end to no word
        ("a b c", [(0, 5)], [2]),  # one token over three words ends in the last
        ("", [(0, 0)], [-1]),
    ],
)
def test_the_word_of_each_token(text, spans, words):
    assert token_words(text, spans).tolist() == words


def test_words_and_starts_of_every_tokenizer(made):
    some = [*texts(5, seed=4), "  two  blanks\n\tand a tab "]
    for name in ("llama", "gpt2"):  # with and without a first special token
        tokenizer = made(name).tokenizer
        for text, words, start in zip(some, words_of(tokenizer, some), starts_after(tokenizer, some, 2), strict=True):
            pieces = tokenizer(text, add_special_tokens=True)["input_ids"]
            assert len(words) == len(pieces)
            third = tokenizer.decode(pieces[start:]).split()
            assert third == text.split()[2:], (name, text)
            assert max(words[:start]) < 2
    assert starts_after(tokenizer, some, 0).tolist() == [1] * len(some)
    assert starts_after(tokenizer, ["one two"], 2)[0] > 100, "beyond the last token"


def test_the_peak_of_each_word():
    found = word_peaks(np.array([0, 0, 1, 1, -1]), np.array([2.0, 5.0, 7.0, 9.0]), 3)
    np.testing.assert_array_equal(found, [2.0, 7.0, np.nan])


@pytest.mark.parametrize(("name", "told", "limit"), [("llama", 10, 96), ("bloom", 10, 10), ("bloom", int(1e30), 1024)])
def test_a_reward_model_reads_as_far_as_its_base(made, name, told, limit):
    """What a configuration does not say, the tokenizer does: BLOOM has no places that could run out."""
    base = made(name)
    base.tokenizer.model_max_length = told
    begun, seen = begin_reward(base, seed=0), []
    begun.network.base_model.register_forward_pre_hook(
        lambda module, given, named: seen.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    begun.score(["x" * 1100])
    assert seen == [limit] == [base.context]
