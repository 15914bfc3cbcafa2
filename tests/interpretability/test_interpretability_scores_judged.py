"""Detection, fuzzing, intruder, all-and-only, and the controls: exact against a reference, at chance where due."""

from __future__ import annotations

import numpy as np
import pytest

from superalign.interpretability.controls import all_and_only, best_cuts, shuffled, untrained
from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.correlations import correlation
from superalign.interpretability.explanation import Sample
from superalign.interpretability.judging import (
    areas,
    detection,
    fuzzing,
    highlights,
    intruder,
    intruders,
    predicted,
    shown_windows,
    threshold,
)
from superalign.interpretability.scores import agreement_on
from superalign.interpretability.tables import unigram
from superalign.interpretability.units import Site
from superalign.models import LocalModel, load_model
from superalign.stats import auroc
from superalign.training.family import fresh_model

WORDS = tuple(f"w{i}" for i in range(40))
LENGTH = 40


def corpus(documents: int = 40, each: int = 8) -> Corpus:
    rng = np.random.default_rng(0)
    named = {f"d{i}": rng.integers(1, len(WORDS), (each, LENGTH)).tolist() for i in range(documents)}
    return packed(named, length=LENGTH, pad=0, skip=1)


def sample(split: str, made: Corpus | None = None) -> Sample:
    """Units on w3, on w4, silent, noise, and on everything."""
    made = made or corpus()
    rows = made.rows(split)
    counted = made.counted(rows)
    ids = made.ids[rows]
    noise = np.random.default_rng(1).standard_normal(ids.shape)
    values = np.stack([1.0 * (ids == 3), 2.0 * (ids == 4), 0 * ids, noise, np.ones(ids.shape)], axis=-1)
    site = Site(kind="neuron", layer=0, units=5, module="none")
    told = values[counted].astype(np.float32)
    return Sample(corpus=made, site=site, words=WORDS, rows=rows, counted=counted, values=told)


def test_windows_are_shown_as_they_are() -> None:
    held = sample("validation")
    shown = shown_windows(held, each=10, radius=5, seed=0)
    limit = threshold(held)
    for unit, word in ((0, 3), (1, 4)):
        for k in np.flatnonzero(shown.windows.rows[:, unit] >= 0):
            row, place = shown.windows.rows[k, unit], shown.windows.places[k, unit]
            near = held.corpus.ids[row, max(1, place - 5) : place + 6]
            assert (word in near) == shown.label[k]
            if shown.label[k]:
                assert held.corpus.ids[row, place] == word
            assert shown.active[k, :, unit].sum() == (near == word).sum()
    assert (shown.windows.rows[shown.label][:, [2, 4]] == -1).all(), "what never varies is never active"
    assert shown.touched == (shown.windows.rows >= 0).sum()
    assert (limit[:2] > 0).all()


def test_a_right_explanation_is_detected_and_a_wrong_one_is_not() -> None:
    train, held = sample("train"), sample("validation")
    shown = shown_windows(held, radius=5, seed=0)
    table = unigram(train)
    right = predicted(shown, table, held, radius=5)
    wrong = predicted(shown, shuffled(table, 5, seed=0), held, radius=5)
    for score in (detection(shown, right), fuzzing(shown, right, seed=0)):
        assert (score.value[:2] == 1).all()
        assert np.isnan(score.value[[2, 4]]).all()
    for score in (detection(shown, wrong), fuzzing(shown, wrong, seed=0)):
        assert (score.value[:2] < 0.7).all()
    assert detection(shown, right).windows == shown.touched


def test_areas_are_those_of_stats_unit_by_unit() -> None:
    rng = np.random.default_rng(2)
    score, label = rng.integers(0, 6, (60, 7)).astype(float), rng.random((60, 7)) < 0.4
    score += label
    documents = rng.integers(0, 12, (60, 7))
    documents[rng.random((60, 7)) < 0.1] = -1
    found = areas(score, label, documents, windows=60)
    for unit in range(7):
        kept = documents[:, unit] >= 0
        wanted = auroc(score[kept, unit], label[kept, unit].astype(float), clusters=documents[kept, unit])
        assert found.value[unit] == pytest.approx(wanted.value)
        assert found.low[unit] == pytest.approx(wanted.low)
        assert found.high[unit] == pytest.approx(wanted.high)


def test_areas_where_a_class_is_missing_or_all_in_order() -> None:
    label = np.array([[True, True], [True, False]])
    found = areas(np.array([[1.0, 1.0], [2.0, 0.0]]), label, np.zeros((2, 2), dtype=int), windows=2)
    assert np.isnan(found.value[0])
    assert found.value[1] == 1
    assert np.isnan(found.low).all()
    with pytest.raises(ValueError, match="infinite"):
        areas(np.array([[np.inf], [0.0]]), label[:, :1], np.zeros((2, 1), dtype=int), windows=2)


def test_wrong_highlights_are_as_many_never_active_and_anywhere() -> None:
    """Peers highlight the same place each time, or as many tokens as are active on average: both give them away."""
    held = sample("validation")
    shown = shown_windows(held, radius=8, seed=0)
    which, marked = highlights(shown, seed=0)
    half = len(which) // 2
    right, wrong = marked[:half], marked[half:]
    active = shown.active[which[:half]]
    assert (right.sum(1) == wrong.sum(1)).all()
    assert not (wrong & active).any()
    assert not (right & ~active).any()
    assert not (wrong & ~shown.counted[which[:half]]).any()
    where = np.nonzero(wrong[:, :, 0])[1]
    assert len(np.unique(where)) > 6
    assert not np.array_equal(highlights(shown, seed=1)[1], marked)


def test_intruder() -> None:
    vectors = np.eye(3)[[0, 0, 1, 0, 0]]
    assert intruder(vectors @ vectors.T, 2)
    assert not intruder(vectors @ vectors.T, 1)
    rng = np.random.default_rng(3)
    active, quiet = np.tile(np.eye(8)[0], (6, 1)), np.eye(8)[rng.integers(1, 8, 6)]
    clear = intruders(np.stack([active, quiet]) + 0.01 * rng.random((2, 6, 8)), rounds=60, seed=0)
    assert clear.value == 1
    chance = intruders(rng.standard_normal((2, 40, 30)), rounds=400, seed=0)
    assert chance.low is not None
    assert chance.high is not None
    assert chance.low < 0.2 < chance.high
    assert intruders(np.zeros((2, 3, 4)), rounds=9, seed=0).value is None


def test_all_and_only() -> None:
    """A right table gets 1, another unit's next to nothing, and a unit that never fires has no score."""
    dev, held = sample("dev"), sample("validation")
    table = unigram(sample("train"))
    found = all_and_only(table, dev, held, seed=0)
    assert (found.value[:2] == 1).all()
    assert np.isnan(found.value[2])
    assert found.windows == len(held.rows)
    wrong = all_and_only(shuffled(table, 5, seed=0), dev, held, seed=0)
    assert (wrong.value[:2] < 0.3).all()
    cuts = best_cuts(table, dev)[:2]
    assert (cuts > 0).all()
    assert (cuts < [1, 2]).all()
    with pytest.raises(ValueError, match="validation are offered"):
        all_and_only(table, held, held, seed=0)


def test_shuffled_is_never_the_units_own() -> None:
    table = unigram(sample("train"))
    for seed in range(5):
        wrong = shuffled(table, 5, seed=seed)
        assert (wrong.order != np.arange(5)).all()
        assert sorted(wrong.order) == list(range(5))
    assert wrong.explanation(0) == table.explanation(int(wrong.order[0]))
    held = sample("validation")
    r = correlation(agreement_on([wrong], held)["unigram, shuffled"], seed=0).value
    assert np.nanmax(np.abs(r)) < 0.2
    with pytest.raises(ValueError, match="takes two"):
        shuffled(table, 1, seed=0)


def test_untrained_is_the_family_recipes_fresh_model() -> None:
    trained = load_model("family:xs")
    fresh = untrained(trained, seed=7)
    wanted = LocalModel(name="w", network=fresh_model("xs", seed=7), tokenizer=trained.tokenizer).sealed()
    assert fresh.digest == wanted.digest != trained.digest
    assert untrained(trained, seed=8).digest != fresh.digest
