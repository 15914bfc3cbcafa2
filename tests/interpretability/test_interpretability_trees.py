"""Shallow trees: the same as fitted on every token, and what they say compiles."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.tree import DecisionTreeRegressor

from superalign.interpretability.compiled import compiled
from superalign.interpretability.corpus import packed
from superalign.interpretability.explanation import Sample, before
from superalign.interpretability.trees import Trees, trees
from superalign.interpretability.units import Site

WORDS = ("<pad>", "<bos>", "(", ")", "if", "v1", "v2", "12", "Foo", "<L1>", ":", "self")


def toy(values: object, *, split: str = "train") -> Sample:
    ids = np.random.default_rng(0).integers(2, len(WORDS), (600, 12))
    ids[:, 0] = 1
    named = {f"d{i}": ids[i::40].tolist() for i in range(40)}
    corpus = packed(named, length=12, pad=0, skip=1)
    rows = corpus.rows(split)
    counted = corpus.counted(rows)
    told = values(corpus.ids[rows])[counted].astype(np.float32)
    site = Site(kind="neuron", layer=0, units=told.shape[1], module="none")
    return Sample(corpus=corpus, site=site, words=WORDS, rows=rows, counted=counted, values=told)


def values(ids: np.ndarray) -> np.ndarray:
    """Names after an opener: a conjunction of classes; or else digits; and a silent unit."""
    previous = before(ids, 1, nothing=-1)
    both = np.isin(ids, [5, 6]) & (previous == 2)
    return np.stack([3.0 * both, 1.0 * (ids == 7) - 2.0 * (ids == 9), 0 * ids], axis=-1)


def columns(found: Trees, sample: Sample) -> np.ndarray:
    held = found.bank.matrix(sample.ids, sample.lengths)[:, found.columns].toarray()
    return held[sample.counted.ravel()]


def test_conjunctions_are_found() -> None:
    found, fresh = trees(toy(values)), toy(values, split="validation")
    told = found.predict(fresh.ids, fresh.lengths)[fresh.counted]
    assert np.allclose(told, fresh.values, atol=0.05)
    text = found.explanation(0).text
    assert text.startswith("fires ")
    assert {"on names", "after openers"} <= {
        part.strip() for part in text.removeprefix("fires ").split(";")[0].split(" and ")
    }
    assert found.explanation(2).text == "does the same everywhere"
    assert found.explanation(2).bits < found.explanation(0).bits


def test_patterns_give_the_tree_that_all_tokens_do() -> None:
    noise = np.random.default_rng(1)
    sample = toy(lambda ids: values(ids)[..., :2] + noise.standard_normal((*ids.shape, 2)))
    found = trees(sample, depth=3)
    asked = columns(found, sample)
    share = max(1, len(sample.values) // 500) / len(sample.values)
    for unit in range(2):
        tree = DecisionTreeRegressor(max_depth=3, min_weight_fraction_leaf=share, random_state=0)
        wanted = tree.fit(asked, sample.values[:, unit]).predict(asked)
        told = found.predict(sample.ids, sample.lengths)[sample.counted][:, unit]
        error = [((each - sample.values[:, unit]) ** 2).mean() for each in (wanted, told)]
        assert error[1] == pytest.approx(error[0], rel=1e-3)


def test_what_they_say_compiles() -> None:
    found = trees(toy(values))
    for unit in (0, 1):
        assert compiled(found.explanation(unit).text, found.bank.lexicon)


def test_no_deeper_than_asked() -> None:
    noise = np.random.default_rng(2)
    found = trees(toy(lambda ids: noise.standard_normal((*ids.shape, 1))), depth=2)
    assert found.trees[0].get_depth() <= 2
    for depth in (0, 5):
        with pytest.raises(ValueError, match=f"trees of depth {depth}"):
            trees(toy(values), depth=depth)
    with pytest.raises(ValueError, match="test are offered"):
        trees(toy(values, split="test"))


def test_a_unit_that_is_not_a_number_leaves_the_others() -> None:
    found = trees(toy(lambda ids: np.stack([ids * np.nan, 1.0 * (ids == 7)], axis=-1)))
    assert np.isfinite(found.predict(np.array([[1, 7]]), np.array([2]))).all()
    assert "digits" in found.explanation(1).text
