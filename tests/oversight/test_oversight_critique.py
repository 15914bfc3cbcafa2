"""The judge checks only the claim; each check counts."""

import numpy as np
import pytest

from superalign.oversight import Checker, Critiques, claim_holds

TRUTHS = [{"answer": 0, "place": 5}, {"answer": 1, "place": 9}, {"answer": 0, "place": 2}, {"answer": 1, "place": 7}]


@pytest.mark.parametrize(
    ("side", "place", "holds"),
    [(1, 5, True), (1, 6, True), (1, 7, False), (0, 5, False)],
)
def test_a_claim_names_side_and_place(side, place, holds):
    assert claim_holds(side, place, TRUTHS[0]) is holds


def _checker(budget: int) -> Checker:
    critiques = Critiques(
        side=np.array([1, 0, 1, 1]), place=np.array([5, 9, 40, 7]), belief=np.array([0.9, 0.1, 0.8, 0.7])
    )
    return Checker(critiques=critiques, truths=TRUTHS, budget=budget)


def test_only_claims_that_hold_settle_a_pair():
    labels = np.array([0.4, 0.6, 0.4, 0.4])
    given, checked, spent = _checker(4).critique(np.arange(4), labels, np.random.default_rng(0))
    assert spent == 4
    assert checked.tolist() == [True, True, False, False]
    assert given.tolist() == [1.0, 0.0, 0.4, 0.4]


@pytest.mark.parametrize("way", ["critique", "at_random", "own_choice"])
def test_no_more_checks_than_the_budget(way):
    _, checked, spent = getattr(_checker(2), way)(np.arange(4), np.full(4, 0.5), np.random.default_rng(0))
    assert spent == 2
    assert checked.sum() <= 2


def test_checked_labels_are_the_truth():
    given, checked, _ = _checker(4).at_random(np.arange(4), np.full(4, 0.5), np.random.default_rng(0))
    assert checked.all()
    assert given.tolist() == [1.0, 0.0, 1.0, 0.0]
