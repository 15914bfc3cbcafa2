"""The decayed bag of what stands before: the same as ridge regression on explicit bags, and only where it helps."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from superalign.interpretability.context import bags, context
from superalign.interpretability.corpus import packed
from superalign.interpretability.explanation import Sample, before
from superalign.interpretability.tables import unigram
from superalign.interpretability.units import Site

WORDS = tuple(f"w{i}" for i in range(9))


def toy(values: object, *, split: str = "train", seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, len(WORDS), (300, 12))
    named = {f"d{i}": [ids[r, : 6 + r % 7].tolist() for r in range(i, 300, 40)] for i in range(40)}
    corpus = packed(named, length=12, pad=0, skip=1)
    rows = corpus.rows(split)
    counted = corpus.counted(rows)
    told = values(corpus.ids[rows])[counted].astype(np.float32)
    site = Site(kind="neuron", layer=0, units=told.shape[1], module="none")
    return Sample(corpus=corpus, site=site, words=WORDS, rows=rows, counted=counted, values=told)


def decayed(ids: np.ndarray, word: int, decay: float = 0.8) -> np.ndarray:
    found = np.zeros(ids.shape)
    for step in range(1, ids.shape[1]):
        found += decay ** (step - 1) * (before(ids, step, nothing=-1) == word)
    return found


def values(ids: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(5).standard_normal((*ids.shape, 2))
    return np.stack([2 * decayed(ids, 3) - decayed(ids, 4) + (ids == 5), 0 * ids], axis=-1) + 0.1 * noise


def test_bags_are_the_sum_over_steps() -> None:
    sample = toy(values)
    wanted = np.stack([decayed(sample.ids, word)[sample.counted] for word in range(len(WORDS))], axis=1)
    assert np.allclose(bags(sample, 0.8).toarray(), wanted, atol=1e-5)


def test_fit_and_prediction_are_those_of_ridge_on_explicit_bags() -> None:
    sample, fresh = toy(values), toy(values, split="validation")
    found = context(sample, ridge=100.0)
    reference = Ridge(alpha=100.0).fit(bags(sample, 0.8).toarray(), sample.values)
    wanted = reference.predict(bags(fresh, 0.8).toarray())
    assert np.allclose(found.predict(fresh.ids, fresh.lengths)[fresh.counted], wanted, atol=2e-3)


def test_over_a_table_it_adds_what_the_table_leaves() -> None:
    sample, fresh = toy(values), toy(values, split="validation")
    table = unigram(sample)
    found = context(sample, over=table)
    assert found.name == "unigram+context"
    r = [
        np.corrcoef(e.predict(fresh.ids, fresh.lengths)[fresh.counted][:, 0], fresh.values[:, 0])[0, 1]
        for e in (table, context(sample), found)
    ]
    assert r[2] > 0.98 > r[1] > r[0] + 0.3, "the noise alone leaves .998"
    text = found.explanation(0).text
    assert "fires when `w3`" in text
    assert "less when `w4`" in text
    assert found.explanation(0).bits > table.explanation(0).bits


def test_on_noise_it_predicts_next_to_nothing() -> None:
    sample, fresh = toy(values), toy(values, split="validation")
    told = context(sample).predict(fresh.ids, fresh.lengths)[fresh.counted][:, 1]
    assert told.std() < 0.02


def test_a_silent_unit_stays_silent() -> None:
    found = context(toy(lambda ids: np.zeros((*ids.shape, 1))))
    assert np.abs(found.predict(np.full((1, 12), 3), np.array([12]))).max() == 0
    assert found.explanation(0).text == "no word before it matters"


def test_refused() -> None:
    with pytest.raises(ValueError, match="decay 1"):
        context(toy(values), decay=1)
    with pytest.raises(ValueError, match="ridge 0"):
        context(toy(values), ridge=0)
    with pytest.raises(ValueError, match="test are offered"):
        context(toy(values, split="test"))
