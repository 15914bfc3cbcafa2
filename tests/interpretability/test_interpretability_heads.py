"""Heads: planted ones are found, measures are what they say, ablation shows in the second copy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from superalign.interpretability.heads import (
    PATTERNS,
    HeadScores,
    ablated,
    attending,
    head_scores,
    patterns,
    repeated,
    target,
)
from superalign.interpretability.known import Planted, planted
from superalign.models import LocalModel

Make = Callable[..., LocalModel]


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted("induction", 0)


def test_patterns_are_where_they_should_be() -> None:
    ids = np.array([[1, 5, 6, 7, 5, 6, 7]])
    assert np.argwhere(target(ids, "previous")[0]).tolist() == [[i, i - 1] for i in range(1, 7)]
    assert np.argwhere(target(ids, "duplicate")[0]).tolist() == [[4, 1], [5, 2], [6, 3]]
    assert np.argwhere(target(ids, "induction")[0]).tolist() == [[4, 2], [5, 3], [6, 4]]


def test_stimulus_is_repeated_and_random(case: Planted) -> None:
    ids, half = repeated(case.model, rows=5, half=12, seed=0)
    assert ids.shape == (5, 25)
    assert (ids[:, 0] == 1).all()
    np.testing.assert_array_equal(ids[:, 1 : half + 1], ids[:, half + 1 :])
    assert ids[:, 1:].min() >= 4, "special tokens stay out"
    assert all(len(set(row[1 : half + 1])) == half for row in ids)
    assert not np.array_equal(ids, repeated(case.model, rows=5, half=12, seed=1)[0])
    few, _ = repeated(case.model, rows=5, half=12, seed=0, words=["w1", "w2"])
    assert set(np.unique(few[:, 1:])) <= {5, 6}


def test_planted_heads_are_found(case: Planted) -> None:
    ids, half = repeated(case.model, rows=12, half=15, seed=0)
    scores = head_scores(case.model, ids, half)
    for pattern, head in case.heads:
        assert scores.best(pattern) == head  # type: ignore[arg-type]
        assert scores.found(pattern) == (head,)  # type: ignore[arg-type]
        interval = scores.interval(pattern, head)  # type: ignore[arg-type]
        assert interval.low is not None
        assert interval.low > 0.95
    assert scores.found("duplicate") == ()


def test_measures_by_hand(case: Planted) -> None:
    """Attention spread evenly: the share on one place is the mean of 1/(t + 1), and abs is 2·share − 1."""
    ids, half = repeated(case.model, rows=4, half=10, seed=0)
    network = case.model.network
    before = {name: part.clone() for name, part in network.state_dict().items()}
    with torch.no_grad():
        for block in network.transformer.h:
            block.attn.c_attn.weight.zero_()
            block.attn.c_attn.bias.zero_()
    scores = head_scores(case.model, ids, half)
    network.load_state_dict(before)
    later = np.mean([1 / (t + 1) for t in range(half + 1, 21)])
    for pattern in PATTERNS:
        wanted = np.mean([1 / (t + 1) for t in range(1, 21)]) if pattern == "previous" else later
        np.testing.assert_allclose(scores.mean(pattern), wanted, rtol=1e-5)
        np.testing.assert_allclose(scores.mean(pattern, "abs"), 2 * wanted - 1, rtol=1e-4, atol=1e-5)


def test_attention_is_read_eagerly_and_left_as_it_was(case: Planted) -> None:
    before = case.model.network.config._attn_implementation
    assert before != "eager"
    (attention,) = patterns(case.model, np.array([[1, 5, 6, 7]]))
    assert attention.shape == (1, 2, 4, 4, 4)
    np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
    assert np.triu(attention, k=1).max() == 0
    assert case.model.network.config._attn_implementation == before
    with pytest.raises(RuntimeError, match="stop"), attending(case.model, "eager"):
        raise RuntimeError("stop")
    assert case.model.network.config._attn_implementation == before


def test_a_model_that_cannot_be_switched_is_named(case: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(case.model.network), "set_attn_implementation", lambda self, how: None)
    with pytest.raises(ValueError, match="load it with"):
        next(patterns(case.model, np.array([[1, 5]])))


def test_ablation_is_of_the_second_copy(case: Planted) -> None:
    """The planted match moves the loss, by what its unit writes; a head that does nothing does not."""
    ids, half = repeated(case.model, rows=24, half=15, seed=2)
    told = ablated(case.model, ids, half, [(1, 0)], seed=0)
    idle = ablated(case.model, ids, half, [(1, 2)], seed=0)
    assert told.rise.value is not None
    assert idle.rise.value is not None
    assert told.others is not None
    assert abs(told.rise.value) > 20 * abs(idle.rise.value)
    assert told.without.value == pytest.approx(told.second.value + told.rise.value)  # type: ignore[operator]
    every = [(layer, head) for layer in range(2) for head in range(4)]
    assert ablated(case.model, ids, half, every, seed=0).others is None


def test_bad_input_is_named(case: Planted, tiny: Make) -> None:
    with pytest.raises(ValueError, match="2 to 15"):
        repeated(case.model, rows=2, half=16, seed=0)
    with pytest.raises(ValueError, match="unknown word 'zebra'"):
        repeated(case.model, rows=2, half=8, seed=0, words=["zebra"])
    ids, half = repeated(tiny(), rows=2, half=8, seed=0)
    for chosen in ([(0, 9)], [(7, 0)], []):
        with pytest.raises(ValueError, match=r"from \(0, 0\)"):
            ablated(tiny(), ids, half, chosen, seed=0)
    lying = tiny()
    lying.network.config.num_hidden_layers = 3
    with pytest.raises(ValueError, match="attention patterns of 2 blocks"):
        next(patterns(lying, ids))


def test_ties_go_to_the_first_head() -> None:
    flat = {pattern: np.zeros((2, 2, 3)) for pattern in PATTERNS}
    scores = HeadScores(mul=flat, abs=flat)
    assert scores.best("induction") == (0, 0)
    assert scores.found("induction", least=0.0)[0] == (0, 0)
    assert scores.found("induction") == ()
