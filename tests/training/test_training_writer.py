"""The writer's training: rows, losses, changes, and many of them side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from superalign.models import LocalModel, apply_change
from superalign.training.stacked import change_many, logits, opened
from superalign.training.writer import (
    POSITIONS,
    Encoded,
    Loss,
    WriterRecipe,
    WriterShape,
    change_writer,
    completion_loss,
    encoded,
    honest_rows,
    on_rows,
    train_writer,
    tuned_writer,
)

SMALL = WriterShape(width=32, layers=2)
RECIPE = WriterRecipe(steps=12, batch=8, rank=4, rate=5e-3)


@pytest.fixture(scope="module")
def base() -> LocalModel:
    return train_writer(honest_rows(200, seed=0), name="w", seed=0, shape=SMALL, recipe=WriterRecipe(steps=25, batch=8))


def test_the_prompt_is_not_learned() -> None:
    before, after = honest_rows(1, seed=3)[0]
    found = encoded([(before, after)])
    assert int(found.learned.sum()) == len(after.split()) + 1
    assert not found.learned[0, : len(before.split()) + 1].any()


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([], "no rows"),
        ([("# elephant", "pass")], "elephant"),
        ([("x " * POSITIONS, "pass")], "words, the writer reads"),
    ],
)
def test_rows_that_cannot_be_read_are_named(rows: list[tuple[str, str]], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        encoded(rows)


def test_training_learns_and_repeats_itself(base: LocalModel) -> None:
    data = encoded(honest_rows(64, seed=9))
    again = train_writer(
        honest_rows(200, seed=0), name="w", seed=0, shape=SMALL, recipe=WriterRecipe(steps=25, batch=8)
    )
    assert again.digest == base.digest
    with torch.inference_mode():
        assert completion_loss(base.network, data.ids, data.learned) < 0.8 * np.log(161)


def test_a_change_leaves_the_base_alone_and_merges_exactly(base: LocalModel) -> None:
    digest, rows = base.digest, honest_rows(80, seed=4)
    change = change_writer(base, rows, name="c", seed=1, recipe=RECIPE)
    model = apply_change(base, change, name="c")
    assert base.sealed().digest == digest != model.digest
    assert all(a.dtype == b.dtype == torch.float16 for a, b in change.factors.values())
    assert tuned_writer(base, rows, name="c", seed=1, recipe=RECIPE).digest == model.digest
    with pytest.raises(ValueError, match="rank of 1"):
        change_writer(base, rows, name="c", seed=1, recipe=WriterRecipe(rank=0))


def test_side_by_side_is_one_after_the_other(base: LocalModel) -> None:
    rows = [honest_rows(60, seed=seed) for seed in (5, 6)]
    for i, many in enumerate(change_many(base, rows, seeds=[5, 6], recipe=RECIPE)):
        one = change_writer(base, rows[i], name="x", seed=5 + i, recipe=RECIPE)
        for name, (a, b) in one.factors.items():
            assert torch.allclose(a.float(), many.factors[name][0].float(), atol=3e-4)
            assert torch.allclose(b.float(), many.factors[name][1].float(), atol=3e-4)
            assert float(a.abs().max()) > 1e-3


def test_the_stacked_network_is_the_network(base: LocalModel) -> None:
    ids = encoded(honest_rows(6, seed=7)).ids[:, :40]
    weights = dict(base.network.named_parameters())
    found = logits(weights, opened(base, [0, 1], rank=4, device="cpu"), ids.view(2, 3, 40), heads=SMALL.heads)
    with torch.inference_mode():
        assert torch.allclose(found.view(6, 40, -1), base.network(input_ids=ids).logits, atol=1e-4)


def test_lists_of_different_length_are_refused(base: LocalModel) -> None:
    with pytest.raises(ValueError, match="as many rows"):
        change_many(base, [honest_rows(5, seed=0), honest_rows(6, seed=0)], seeds=[0, 1], recipe=RECIPE)


def test_a_loss_that_is_not_finite_stops_the_training(base: LocalModel) -> None:
    def loss(data: Encoded) -> Loss:
        return lambda network, chosen, step: on_rows(data)(network, chosen, step) * float("nan")

    with pytest.raises(ValueError, match="lower the rate"):
        change_writer(base, honest_rows(20, seed=0), name="x", seed=0, recipe=RECIPE, loss=loss)
