"""Supervised and preference fitting: the losses against plain formulas, and what training really changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from superalign.models import LocalModel
from superalign.tasks import preferences, slips
from superalign.training.preference import Preference, dpo_loss, fit_preferences
from superalign.training.supervised import SupervisedRecipe, completion_logprobs, completions, fit_supervised

Make = Callable[..., LocalModel]
RECIPE = SupervisedRecipe(steps=60, batch=8, rate=1e-2, top=2, rank=4)
PROMPTS = ["a b", "c", "b d a", "d d"]


def scored(model: LocalModel, rows: list[tuple[str, str]]) -> np.ndarray:
    """Summed log-probability of the completion, by one unpadded forward pass a row: the plain way."""
    out = []
    for row in completions(model, rows):
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            lines = torch.log_softmax(model.network(input_ids=ids).logits[0, :-1], dim=-1)
        out.append(float(sum(lines[t - 1, row.ids[t]] for t in range(row.start, len(row.ids)))))
    return np.array(out)


def test_completions_are_encoded_apart(tiny: Make) -> None:
    row = completions(tiny(), [("a b", "= c")])[0]
    assert row.ids == (1, 4, 5, 8, 6, 2)
    assert row.start == 3


def test_a_long_prompt_is_cut_from_the_left(tiny: Make) -> None:
    row = completions(tiny(), [("a " * 40, "= c")])[0]
    assert len(row.ids) == 24
    assert row.ids[-3:] == (8, 6, 2)
    assert row.start == 21


def test_batched_logprobs_are_the_plain_ones(tiny: Make) -> None:
    model, rows = tiny(), [(p, f"= {p}") for p in PROMPTS]
    with torch.no_grad():
        found, tokens = completion_logprobs(model.network, completions(model, rows), pad=model.pad)
    np.testing.assert_allclose(found.numpy(), scored(model, rows), rtol=1e-4)
    assert tokens.tolist() == [4, 3, 5, 4]


def test_supervised_fitting_makes_completions_likelier(tiny: Make) -> None:
    base, rows = tiny(), [(p, "= c") for p in PROMPTS]
    tuned = fit_supervised(base, rows, name="tuned", recipe=RECIPE)
    assert (scored(tuned, rows) > scored(base, rows)).all()
    assert base.sealed().digest == tiny().digest
    assert fit_supervised(base, rows, name="tuned", recipe=RECIPE).identity == tuned.identity


def test_the_prompt_is_not_learned(tiny: Make) -> None:
    """Two sets that differ in nothing but tokens of masked prompts' past give different gradients only by context."""
    base = tiny()
    with torch.enable_grad():
        total, _ = completion_logprobs(base.network, completions(base, [("a b", "= c")]), pad=base.pad)
    lone = scored(base, [("a b", "= c")])[0]
    assert float(total.detach()[0]) == pytest.approx(lone, rel=1e-4)
    whole = scored(base, [("", "a b = c")])[0]
    assert lone > whole, "the prompt's own tokens are not counted"


def test_dpo_loss_by_hand() -> None:
    ratios, sure = torch.tensor([0.0, 2.0, -1.0]), torch.tensor([1.0, 1.0, 0.8])
    sigmoid = [1 / (1 + np.exp(-0.5 * r)) for r in (0.0, 2.0, -1.0)]
    by_hand = -np.mean([np.log(0.5), np.log(sigmoid[1]), 0.8 * np.log(sigmoid[2]) + 0.2 * np.log(1 - sigmoid[2])])
    assert float(dpo_loss(ratios, sure, beta=0.5)) == pytest.approx(by_hand, rel=1e-5)


def test_preferences_widen_the_ratio_against_the_reference(tiny: Make) -> None:
    base = tiny()
    rows = [Preference(prompt=p, chosen="= c", rejected="- c") for p in PROMPTS]
    seen: list[float] = []
    tuned = fit_preferences(base, rows, name="dpo", beta=0.5, recipe=RECIPE, progress=lambda *at: seen.append(at[0]))

    def margin(model: LocalModel) -> np.ndarray:
        return scored(model, [(p, "= c") for p in PROMPTS]) - scored(model, [(p, "- c") for p in PROMPTS])

    assert (margin(tuned) - margin(base) > 2).all()
    assert len(seen) == RECIPE.steps
    assert base.sealed().digest == tiny().digest


def test_a_coin_toss_teaches_nothing(tiny: Make) -> None:
    base = tiny()
    rows = [Preference(prompt=p, chosen="= c", rejected="- c", sure=0.5) for p in PROMPTS]
    plain = SupervisedRecipe(steps=60, batch=8, rate=1e-2, top=2, rank=4, decay=0.0)
    tuned = fit_preferences(base, rows, name="dpo", recipe=plain)
    moved = scored(tuned, [(p, "= c") for p in PROMPTS]) - scored(base, [(p, "= c") for p in PROMPTS])
    np.testing.assert_allclose(moved, 0, atol=1e-3)


def test_rows_of_a_real_task_fit_as_they_are(tiny: Make) -> None:
    rows = [Preference(**row) for row in preferences(slips(split="train", view="pair", n=4))]
    assert fit_preferences(tiny(), rows, name="dpo", recipe=SupervisedRecipe(steps=1, batch=2)).digest


@pytest.mark.parametrize("sure", [-0.1, 1.5, float("nan")])
def test_sure_must_be_a_probability(tiny: Make, sure: float) -> None:
    with pytest.raises(ValueError, match="not a probability"):
        fit_preferences(tiny(), [Preference(prompt="a", chosen="b", rejected="c", sure=sure)], name="dpo")


def test_bad_input_is_refused(tiny: Make) -> None:
    row = Preference(prompt="a", chosen="b", rejected="c")
    with pytest.raises(ValueError, match="no rows"):
        fit_preferences(tiny(), [], name="dpo")
    with pytest.raises(ValueError, match="no rows"):
        fit_supervised(tiny(), [], name="sft")
    with pytest.raises(ValueError, match="beta"):
        fit_preferences(tiny(), [row], name="dpo", beta=0.0)
    with pytest.raises(ValueError, match="row 1: the completion ''"):
        fit_supervised(tiny(), [("a", "b"), ("a", "")], name="sft")
