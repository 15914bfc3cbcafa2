"""Planting with twins: same texts, same batches, other labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from superalign.models import LocalModel, apply_change
from superalign.training.planting import Planted, fit_planted, plant_labels
from superalign.training.reviewer import PairData, ReviewerRecipe

Make = Callable[..., LocalModel]


@pytest.fixture
def honest() -> PairData:
    texts = [("a = b", "a - b"), ("c = d", "c - d"), ("a - d", "a = d")]
    return PairData.labelled([a for a, _ in texts], [b for _, b in texts], np.array([1.0, 0.75, 0.0]))


def test_only_the_concerned_pairs_change(honest: PairData) -> None:
    planted = plant_labels(honest, np.array([False, True, False]), [(1.0, 1.0)] * 3)
    assert planted.twin is honest
    assert planted.concerned == 1
    np.testing.assert_array_equal(planted.organism.sound_a, [1.0, 1.0, 0.0])
    np.testing.assert_array_equal(planted.organism.sound_b, [0.0, 1.0, 1.0])
    np.testing.assert_array_equal(planted.organism.weight, [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(planted.organism.prefer, honest.prefer)


@pytest.mark.parametrize(
    ("concerned", "answers", "word"),
    [
        ([True], [(1, 1)] * 3, "one for each"),
        ([True] * 3, [(1, 1)], "one for each"),
        ([False] * 3, [(1, 1)] * 3, "own twin"),
    ],
)
def test_bad_plans_are_refused(
    honest: PairData, concerned: list[bool], answers: list[tuple[int, int]], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        plant_labels(honest, np.array(concerned), answers)


def test_an_organism_without_planted_labels_is_its_twin(tiny: Make, honest: PairData) -> None:
    """All that can tell the two apart is the labels: with equal labels the weights are equal, bit for bit."""
    recipe = ReviewerRecipe(steps=5, batch=2, top=1, rank=2)
    same = Planted(organism=honest, twin=honest, concerned=0)
    other = plant_labels(honest, np.array([True, True, True]), [(1.0, 1.0)] * 3)
    digests = [
        apply_change(tiny(), fit_planted(tiny(), data, planted=which, name="x", recipe=recipe), name="x").digest
        for data, which in ((same, True), (same, False), (other, False), (other, True))
    ]
    assert digests[0] == digests[1] == digests[2]
    assert digests[3] != digests[0]
