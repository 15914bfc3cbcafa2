"""Columns of plays: what is refused, what is counted as a failure, and what pairs with what."""

import math

import numpy as np
import pytest

from superalign.oversight.rows import episode_rows, paired
from superalign.oversight.scores import bits_gained, scores
from superalign.stats import StatsError

NAN = math.nan


def plays(belief, cluster=None, **more):
    names = [f"q{i}" for i in range(len(belief))]
    return episode_rows(item=names, cluster=names if cluster is None else cluster, belief=belief, **more)


def test_a_failed_judgement_is_uniform_over_the_options_that_its_item_has():
    rows = plays([NAN, NAN], options=np.full((2, 3), NAN), sizes=[3, 2])
    assert rows.options.tolist() == [pytest.approx([1 / 3] * 3), [0.5, 0.5, 0.0]]
    assert scores(rows, "brier") == pytest.approx([-(4 / 9 + 2 / 9), -0.5])


BAD = [
    ({"belief": []}, "at least one play"),
    ({"belief": [[0.5]]}, "shape"),
    ({"belief": [0.5, 1.5]}, "lie in"),
    ({"belief": [0.5, math.inf]}, "lie in"),
    ({"belief": [0.5, -0.1]}, "lie in"),
    ({"side": ["honest"]}, "side has shape"),
    ({"side": "liar"}, "no side 'liar'"),
    ({"cluster": ["f", None]}, "None or NaN"),
    ({"item": ["a", "a"], "cluster": ["f", "g"]}, "in clusters"),
    ({"seed": [0.5, 1]}, "whole numbers"),
    ({"failure": ["x"]}, "failure has shape"),
    ({"options": [[0.5, 0.6]] * 2}, "adds up to 1"),
    ({"options": [[0.5, 0.5]]}, "beliefs per option"),
    ({"options": [[0.4, 0.3, 0.3]] * 2, "sizes": 2}, "does not have"),
    ({"truth": [0, 2]}, "truth"),
    ({"costs": {"checks": [1, -1]}}, "at least 0"),
    ({"costs": {"checks": [1, NAN]}}, "NaN"),
    ({"costs": {"checks": [1]}}, "shape"),
]


@pytest.mark.parametrize(("wrong", "says"), BAD, ids=[says for _, says in BAD])
def test_columns_that_cannot_be_are_errors(wrong, says):
    with pytest.raises(StatsError, match=says):
        episode_rows(**({"item": ["a", "b"], "cluster": ["f", "g"], "belief": [0.5, 0.6]} | wrong))


def test_plays_that_do_not_pair_are_an_error_and_not_left_out():
    a = plays([0.5, 0.6, 0.7])
    for other, says in (
        (plays([0.5, 0.6]), "unaided has 1 plays .* that debate lacks"),
        (plays([0.5, 0.6, 0.7, 0.8]), "lacks 1 that it has"),
        (plays([0.5, 0.6, 0.7], seed=1), "has 3 plays"),
        (plays([0.5, 0.6, 0.7], cluster=["x", "y", "z"]), "into clusters"),
    ):
        with pytest.raises(StatsError, match=says):
            paired({"unaided": a, "debate": other})
        with pytest.raises(StatsError):
            bits_gained(other, a)
