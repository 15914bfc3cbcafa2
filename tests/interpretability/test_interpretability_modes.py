"""Modes: a unit that does two things gets two rules, and one that does one gets one."""

from __future__ import annotations

import numpy as np
import pytest

from superalign.interpretability.compiled import compiled
from superalign.interpretability.conditions import lexicon
from superalign.interpretability.corpus import packed
from superalign.interpretability.explanation import Sample, before
from superalign.interpretability.modes import modes
from superalign.interpretability.units import Site
from superalign.interpretability.windows import Windows, top_windows

WORDS = tuple(f"w{i}" for i in range(40))


def toy(values: object, *, split: str = "train") -> Sample:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, len(WORDS), (600, 12))
    ids[::3, 5], ids[::3, 6] = 3, 4  # w4 after w3
    ids[1::3, 8] = 7
    named = {f"d{i}": ids[i::40].tolist() for i in range(40)}
    corpus = packed(named, length=12, pad=0, skip=1)
    rows = corpus.rows(split)
    counted = corpus.counted(rows)
    told = values(corpus.ids[rows])[counted].astype(np.float32)
    site = Site(kind="neuron", layer=0, units=told.shape[1], module="none")
    return Sample(corpus=corpus, site=site, words=WORDS, rows=rows, counted=counted, values=told)


def values(ids: np.ndarray) -> np.ndarray:
    """Two things, about as strong; one of them; a token with anything before it; nothing; not a number."""
    first = (ids == 4) & (before(ids, 1, nothing=-1) == 3)
    second = ids == 7
    jitter = 0.01 * np.random.default_rng(1).random(ids.shape)
    units = [
        first + second + jitter * (first | second),
        first * (1 + jitter),
        second * (1 + jitter),
        0 * ids,
        ids * np.nan,
    ]
    return np.stack(units, axis=-1)


def test_two_things_get_two_rules() -> None:
    sample = toy(values)
    found, medoids = modes(sample, top_windows(sample, 24))
    steps = [{pattern.steps for pattern in found.patterns[unit]} for unit in range(3)]
    bigram, token = ((0, (4,)), (1, (3,))), ((0, (7,)),)
    assert steps == [{bigram, token}, {bigram}, {token}]
    assert found.patterns[4] == ()
    for k, unit in zip(*np.nonzero(medoids.rows[:, :3] >= 0), strict=True):
        ids = sample.corpus.ids[medoids.rows[k, unit]]
        step, words = found.patterns[unit][k].steps[0]
        assert ids[medoids.places[k, unit] - step] in words, "a mode's medoid is an instance of it"


def test_predictions_and_words() -> None:
    sample, fresh = toy(values), toy(values, split="validation")
    found, _ = modes(sample, top_windows(sample, 24))
    told = found.predict(fresh.ids, fresh.lengths)[fresh.counted]
    for unit in range(3):
        assert np.corrcoef(told[:, unit], fresh.values[:, unit])[0, 1] > 0.98
    assert found.explanation(1).text == "fires on `w4` and after `w3`"
    assert found.explanation(4).text == "no pattern was found"
    for unit in range(3):
        assert compiled(found.explanation(unit).text, lexicon(sample))
    assert found.explanation(0).bits > found.explanation(1).bits


def test_values_are_means_not_extremes() -> None:
    """A token that fires once in a while is not predicted at its maximum."""

    def rare(ids: np.ndarray) -> np.ndarray:
        lucky = np.random.default_rng(2).random(ids.shape) < 0.3
        return ((ids == 7) * lucky * 1.0)[..., None]

    sample = toy(rare)
    (pattern,) = modes(sample, top_windows(sample, 10))[0].patterns[0]
    assert pattern.value == pytest.approx(0.3, abs=0.12)


def test_exemplars_have_to_be_of_the_sample() -> None:
    sample = toy(values)
    outside = Windows(rows=np.full((1, 5), 599), places=np.full((1, 5), 3))
    with pytest.raises(ValueError, match="outside of the sample"):
        modes(sample, outside)
    with pytest.raises(ValueError, match="test are offered"):
        modes(toy(values, split="test"), outside)
    none = Windows(rows=np.full((1, 5), -1), places=np.zeros((1, 5), dtype=int))
    assert modes(sample, none)[0].patterns == ((),) * 5
