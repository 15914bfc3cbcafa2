"""Training on a GPU, tried on a device that is none: what is fitted there is what is fitted here, to rounding."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superalign.generalization.activations import layer_readings
from superalign.generalization.questions import Questions
from superalign.models import LocalModel
from superalign.training.bodies import BodyRecipe, fit_body
from superalign.training.features import extract
from superalign.training.generative import generative
from superalign.training.planting import fit_planted, plant_labels
from superalign.training.preference import Preference, fit_preferences
from superalign.training.reviewer import PairData, ReviewerRecipe, fit_reviewer
from superalign.training.stacked import change_many
from superalign.training.supervised import SupervisedRecipe, fit_supervised
from superalign.training.trl.reward import begin_reward, pack_reward, unpack_reward
from superalign.training.writer import WriterRecipe, WriterShape, change_writer, honest_rows, train_writer, tuned_writer

from ..elsewhere import assert_alike, elsewhere, moved, same_there

MADE = runpy.run_path(str(Path(__file__).parents[1] / "models" / "conftest.py"))
TEXTS = ["a b = c", "d + a b c", "a a a ( b )", "c - d + a", "b b", "a = a + c"]
OTHERS = ["c b = c", "d + a", "( a b", "c d + a", "b a", "a = a - c"]
GOALS = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
FEW = SupervisedRecipe(steps=3, batch=4, rank=2)
PAIRS = PairData.labelled(TEXTS, OTHERS, GOALS)
ROUGHLY = {"rtol": 2e-3, "atol": 2e-4}
"""AdamW's first steps have the size of the rate, whatever the gradient's: rounding of a tiny one shows."""
Make = Callable[..., LocalModel]


def said(model: LocalModel, base: LocalModel) -> list[np.ndarray]:
    """What a fitted model says, which lies where its base does."""
    assert model.device == base.device
    return model.logprobs(OTHERS)


@pytest.mark.parametrize(
    ("recipe", "paired"),
    [
        (BodyRecipe(epochs=2, batch=4), False),
        (BodyRecipe(epochs=2, batch=4, pool="wide", start="probe", tokens=12), True),
        (BodyRecipe(epochs=2, batch=4, confidence=0.5, tokens=12), False),
        (BodyRecipe(epochs=2, batch=4, rank=2, start="unembedding", words=("a", "b")), True),
    ],
    ids=["all weights", "probe", "confidence", "LoRA"],
)
def test_bodies(tiny: Make, recipe: BodyRecipe, paired: bool) -> None:
    texts = (TEXTS, OTHERS) if paired else (TEXTS,)

    def work(base: LocalModel) -> Any:
        body = fit_body(base, texts, GOALS, recipe=recipe)
        assert {each.device for each in body.head.parameters()} == {base.device}
        return body.logits(texts), said(body.model, base)

    same_there(work, tiny(), **ROUGHLY)


def test_a_body_goes_on_where_it_was_killed(tiny: Make, tmp_path: Path) -> None:
    recipe = BodyRecipe(epochs=4, batch=3, every=2)

    class Killed(Exception):
        pass

    def kill(step: int, steps: int) -> None:
        if step == 5:
            raise Killed

    with elsewhere():
        base = moved(tiny())
        whole = fit_body(base, (TEXTS,), GOALS, recipe=recipe)
        with pytest.raises(Killed):
            fit_body(base, (TEXTS,), GOALS, recipe=recipe, resume=tmp_path / "state", progress=kill)
        assert (tmp_path / "state").exists()
        again = fit_body(base, (TEXTS,), GOALS, recipe=recipe, resume=tmp_path / "state")
        assert again.digest == whole.digest


def test_language_modelling_completions_and_preferences(tiny: Make) -> None:
    rows = list(zip(TEXTS, OTHERS, strict=True))
    preferred = [Preference(prompt="a", chosen=a, rejected=b, sure=0.9) for a, b in rows]
    same_there(lambda base: said(generative(base, TEXTS, recipe=BodyRecipe(epochs=1)), base), tiny(), **ROUGHLY)
    same_there(lambda base: said(fit_supervised(base, rows, name="s", recipe=FEW), base), tiny(), **ROUGHLY)
    same_there(lambda base: said(fit_preferences(base, preferred, name="p", recipe=FEW), base), tiny(), **ROUGHLY)


def test_reviewers_and_planted_ones(tiny: Make) -> None:
    recipe = ReviewerRecipe(steps=3, batch=4, rank=2)

    def work(base: LocalModel) -> Any:
        reviewer = fit_reviewer(base, PAIRS, name="r", recipe=recipe)
        planted = plant_labels(PAIRS, np.arange(6) < 2, [(0.0, 0.0)] * 6)
        change = fit_planted(base, planted, planted=True, name="o", recipe=recipe)
        return said(reviewer, base), reviewer.read(TEXTS), dict(change.factors)

    same_there(work, tiny(), **ROUGHLY)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_features(name: str) -> None:
    tokenizer = MADE["tokenizer_of"](bos=name in MADE["WITH_BOS"], pad=True)
    network = MADE["network_of"](name, words=len(tokenizer))
    model = LocalModel(name=name, network=network, tokenizer=tokenizer).sealed()
    texts = [f"<by:none> <cue:none> {text}" for text in ("the judge reads", "honest answer", "width x height")]
    asked = Questions(
        ids=("a", "b", "c"), first=tuple(texts), second=None, truth=np.array([True, False, True]),
        clusters=np.array(["a", "b", "c"]), kinds=np.array([""] * 3),
    )  # fmt: skip
    same_there(lambda model: extract(model, texts), model)
    same_there(lambda model: dict(layer_readings(model, asked, context="")), model)


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom"])
def test_reward_models(name: str) -> None:
    tokenizer = MADE["tokenizer_of"](bos=False, pad=True)
    base = LocalModel(name=name, network=MADE["network_of"](name, words=len(tokenizer)), tokenizer=tokenizer).sealed()
    texts = ["The judge reads.", "Who is who?", "One side is honest; the other is paid to mislead."]

    def work(base: LocalModel) -> Any:
        begun = begin_reward(base, seed=0)
        assert next(begun.network.parameters()).device == base.device
        assert unpack_reward(pack_reward(begun), base).digest == begun.digest
        body = begun.as_body(base)
        assert body.head.line.weight.device == base.device
        return begun.score(texts), begun.digest, body.logits((texts, texts[::-1]))

    same_there(work, base)


def test_writers() -> None:
    rows, recipe = honest_rows(24, seed=0), WriterRecipe(steps=3, batch=6, rank=2)
    shape, whole = WriterShape(width=16, layers=1, heads=2), WriterRecipe(steps=3, batch=6)
    texts = [before for before, _ in rows[:3]]

    def work(device: str) -> Any:
        base = train_writer(rows, name="w", seed=0, recipe=whole, shape=shape, device=device)
        tuned = tuned_writer(base, rows, name="t", seed=0, recipe=whole, device=device)
        one = change_writer(base, rows, name="c", seed=1, recipe=recipe, device=device)
        (many,) = change_many(base, [rows], seeds=[1], recipe=recipe, device=device)
        assert {model.device.type for model in (base, tuned)} == {"cpu"}
        return base.logprobs(texts), tuned.logprobs(texts), dict(one.factors), dict(many.factors)

    here = work("cpu")
    with elsewhere():
        assert_alike(here, work("cuda"), **ROUGHLY)
