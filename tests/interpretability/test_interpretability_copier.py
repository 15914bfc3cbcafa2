"""The copier: heads that people know form by training, are found, and carry the second copy's loss."""

from __future__ import annotations

import numpy as np
import pytest

from superalign.interpretability.copier import FIRST, CopierRecipe, copier, passages, untrained
from superalign.interpretability.heads import ablated, head_scores, repeated
from superalign.models import LocalModel


@pytest.fixture(scope="module")
def trained() -> LocalModel:
    return copier(seed=0)


def test_its_heads_are_found(trained: LocalModel) -> None:
    ids, half = repeated(trained, rows=48, half=12, seed=1)
    scores = head_scores(trained, ids, half)
    assert scores.best("previous")[0] == 0
    assert scores.best("induction")[0] == 1
    for pattern, least in (("previous", 0.5), ("induction", 0.8)):
        low = scores.interval(pattern, scores.best(pattern)).low  # type: ignore[arg-type]
        assert low is not None
        assert low > least
    before = head_scores(untrained(seed=0), ids, half)
    assert before.mean("induction").max() < 0.2, "none of it is there before training"
    assert before.mean("previous").max() < 0.3


def test_without_them_it_cannot_copy(trained: LocalModel) -> None:
    ids, half = repeated(trained, rows=48, half=12, seed=2)
    scores = head_scores(trained, ids, half)
    for pattern in ("previous", "induction"):
        chosen = scores.found(pattern, least=0.4)  # type: ignore[arg-type]
        assert chosen, "two heads of the second block share the work: both have to go"
        told = ablated(trained, ids, half, chosen, seed=0)
        assert told.first.value is not None
        assert told.second.value is not None
        assert told.rise.low is not None
        assert told.second.value < 0.3 < 3 < told.first.value
        assert told.rise.low > 1


def test_passages_are_what_they_say() -> None:
    recipe = CopierRecipe()
    ids, known = passages(np.random.default_rng(0), 200, recipe)
    assert ids.shape == known.shape == (200, recipe.length)
    assert (ids[:, 0] == 1).all()
    assert ids[:, 1:].min() >= FIRST
    for row, told in zip(ids, known, strict=True):
        at = np.flatnonzero(told)
        assert recipe.shortest - 1 <= len(at) <= recipe.longest - 1
        (first,) = {int(i) for i in np.flatnonzero(row[: at[0] - 1] == row[at[0] - 1])[-1:]}
        size = at[0] - 1 - first
        assert len(at) == size - 1
        np.testing.assert_array_equal(row[at], row[at - size])
        assert len(set(row[at].tolist())) == len(at)
    again, _ = passages(np.random.default_rng(0), 200, recipe)
    np.testing.assert_array_equal(ids, again)


def test_the_mlps_say_nothing(trained: LocalModel) -> None:
    for block in trained.network.transformer.h:
        assert block.mlp.c_proj.weight.abs().max() == 0
        assert block.mlp.c_proj.bias.abs().max() == 0


def test_another_seed_is_another_copier() -> None:
    assert untrained(seed=0).digest == untrained(seed=0).digest != untrained(seed=1).digest
