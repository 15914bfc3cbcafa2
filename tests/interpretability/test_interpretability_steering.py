"""Steering: doses, side effects, and what it does to a planted unit's behaviour."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from superalign.interpretability.corpus import Corpus
from superalign.interpretability.known import BOS, Planted, corpus_of, planted
from superalign.interpretability.steering import dose_curve, side_effects, spread_of, steered
from superalign.interpretability.units import Site, activations, directions, heads
from superalign.models import LocalModel


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted("token", 1)


@pytest.fixture(scope="module")
def corpus(case: Planted) -> Corpus:
    return corpus_of(case, rows=200)


def word_up(case: Planted) -> int:
    """The word that the planted unit's output weights raise the most."""
    part = case.model.network.transformer.h[case.site.layer].mlp.c_proj.weight
    return int(part[case.unit, :40].argmax())


def behaviour(case: Planted, model: LocalModel) -> np.ndarray:
    """Log-probability of that word after eight starts."""
    ids = torch.tensor([[BOS, 4 + i, 20 - i] for i in range(8)])
    with torch.inference_mode():
        said: np.ndarray = torch.log_softmax(model.network(input_ids=ids).logits[:, -1], -1)[:, word_up(case)].numpy()
    return said


def test_a_planted_unit_steers_what_it_writes(case: Planted, corpus: Corpus) -> None:
    rows = corpus.rows("dev")
    curve = dose_curve(case.model, case.site, [case.unit], (-2, 0, 2, 6), lambda m: behaviour(case, m),
                       corpus=corpus, rows=rows)  # fmt: skip
    change = [dose.change.value for dose in curve.doses]
    effect = [dose.side_effect.value for dose in curve.doses]
    assert None not in change
    assert None not in effect
    assert change[0] < 0 < change[2] < change[3]  # type: ignore[operator]
    assert change[1] == 0
    assert effect[1] == pytest.approx(0, abs=1e-9)
    assert 0 < effect[2] < effect[3]  # type: ignore[operator]
    assert curve.doses[3].change.low is not None
    assert curve.doses[3].change.low > 0
    assert curve.doses[0].side_effect.clusters == len(np.unique(corpus.clusters(rows)))
    np.testing.assert_allclose(curve.spread, spread_of(case.model, corpus, rows, case.site)[case.unit], rtol=1e-6)


def test_what_is_added_arrives(case: Planted, corpus: Corpus) -> None:
    rng = np.random.default_rng(0)
    stream = directions(case.model, 1, rng.standard_normal((3, 160)))
    ids, lengths = corpus.ids[:4], corpus.lengths[:4]
    for site in (case.site, stream, heads(case.model)[0]):
        amounts = (0.5, 1.5)
        plain = next(iter(activations(case.model, [site], ids, lengths)))[site.name]
        with steered(case.model, site, [0, 2], amounts):
            pushed = next(iter(activations(case.model, [site], ids, lengths)))[site.name]
        np.testing.assert_allclose((pushed - plain)[..., [0, 2]], np.broadcast_to(amounts, (4, 32, 2)), atol=2e-3)
        if site.kind != "direction":
            np.testing.assert_array_equal(pushed[..., 1], plain[..., 1])


def test_a_head_never_turns_round(case: Planted, corpus: Corpus) -> None:
    site = heads(case.model)[0]
    with steered(case.model, site, [1], [-1e6]):
        pushed = next(iter(activations(case.model, [site], corpus.ids[:4], corpus.lengths[:4])))[site.name]
    np.testing.assert_allclose(pushed[..., 1], 0, atol=1e-6)


def test_afterwards_nothing_is_left(case: Planted, corpus: Corpus) -> None:
    rows = corpus.rows("dev")[:4]
    before = side_effects(case.model, corpus, rows, case.site, [0], [0.0])
    side_effects(case.model, corpus, rows, case.site, [case.unit], [5.0])
    np.testing.assert_array_equal(side_effects(case.model, corpus, rows, case.site, [0], [0.0]), before)


def test_behaviour_that_is_no_number_is_refused(case: Planted, corpus: Corpus) -> None:
    curve = dose_curve(case.model, case.site, [case.unit], (1,), lambda m: np.array([0.0, np.nan]),
                       corpus=corpus, rows=corpus.rows("dev")[:8])  # fmt: skip
    assert curve.doses[0].change.value is None
    assert "not finite" in curve.doses[0].change.note


def test_bad_input_is_named(case: Planted, corpus: Corpus) -> None:
    rows, ask = corpus.rows("dev")[:4], (lambda m: np.zeros(3))
    for units, doses, some in (([], (1,), rows), ([0], (), rows), ([0], (1,), rows[:0])):
        with pytest.raises(ValueError, match="give some of each"):
            dose_curve(case.model, case.site, units, doses, ask, corpus=corpus, rows=some)
    dead = directions(case.model, 0, np.zeros((1, 160)))
    with pytest.raises(ValueError, match="never changes"):
        dose_curve(case.model, dead, [0], (1,), ask, corpus=corpus, rows=rows)
    assert isinstance(dead, Site)
