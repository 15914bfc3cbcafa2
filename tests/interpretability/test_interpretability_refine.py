"""Refinement: a rule that lacks a part gets it, dev decides, and no sequence that scores is ever seen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from superalign.interpretability.compiled import compiled
from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.correlations import correlation
from superalign.interpretability.explanation import Sample, before, read_sample
from superalign.interpretability.known import BOS, corpus_of, planted, sequences
from superalign.interpretability.refine import refine, substitution, worst_rows
from superalign.interpretability.rules import rules
from superalign.interpretability.scores import agreement_on
from superalign.interpretability.units import Site

WORDS = ("<pad>", "<bos>", "(", ")", "if", "v1", "v2", "12", "Foo", "<L1>", ":", "self", "def", "7", "Bar", "in")


def corpus() -> Corpus:
    ids = np.random.default_rng(0).integers(2, len(WORDS), (900, 12))
    ids[:, 0] = 1
    return packed({f"d{i}": ids[i::40].tolist() for i in range(40)}, length=12, pad=0, skip=1)


def sample(values: object, split: str, made: Corpus | None = None) -> Sample:
    made = made or corpus()
    rows = made.rows(split)
    counted = made.counted(rows)
    told = values(made.ids[rows])[counted].astype(np.float32)
    site = Site(kind="neuron", layer=0, units=told.shape[1], module="none")
    return Sample(corpus=made, site=site, words=WORDS, rows=rows, counted=counted, values=told)


def values(ids: np.ndarray) -> np.ndarray:
    """Needs a second rule; needs a condition that no single rule of the bank has; is told already; is noise."""
    previous = before(ids, 1, nothing=-1)
    inside = np.isin(previous, [2]) & np.isin(ids, [5, 6])
    noise = np.random.default_rng(len(ids)).standard_normal(ids.shape)
    return np.stack([3.0 * (ids == 4) + 1.0 * (ids == 10), 3.0 * inside, 2.0 * (ids == 12), noise], axis=-1)


def test_counterexamples_bring_what_is_missing() -> None:
    train, dev, held = (sample(values, split) for split in ("train", "dev", "validation"))
    first = rules(train, parts=("simple", "words"), most=1)
    better, told = refine(first, train, dev, rounds=5)
    r = [correlation(agreement_on([each], held)[each.name], seed=0).value for each in (first, better)]
    assert better.name == "refined"
    assert r[0][0] < 0.97 < 0.99 < r[1][0]
    assert r[1][1] > 0.99 > r[0][1] + 0.1, "a split"
    assert {"fires on names and after openers", "fires after openers and on names"} & set(
        better.explanation(1).text.split("; ")
    )
    assert [len(better.told(unit)) for unit in (2, 3)] == [1, 0], "nothing is added where nothing is gained"
    assert all(one.dev <= two.dev + 1e-9 for one, two in pairwise(told))
    assert told[-1].kept == 0 or len(told) == 5
    assert sum(count for each in told for _, count in each.kinds) == sum(each.kept for each in told)
    for unit in (0, 1, 2):
        assert compiled(better.explanation(unit).text, better.bank.lexicon)
    assert better.explanation(0).bits > first.explanation(0).bits


def test_the_price_of_a_bit_ends_it() -> None:
    train, dev = (sample(values, split) for split in ("train", "dev"))
    first = rules(train, most=1)
    dear, told = refine(first, train, dev, price=1.0)
    assert [each.kept for each in told] == [0]
    assert np.array_equal(dear.predict(dev.ids, dev.lengths), first.predict(dev.ids, dev.lengths))


def test_what_only_holds_in_train_is_not_kept() -> None:
    """A unit that does something else on dev keeps its explanation: dev decides."""
    made = corpus()
    train = sample(lambda ids: np.stack([3.0 * (ids == 4) + (ids == 10)] * 2, axis=-1), "train", made)
    dev = sample(lambda ids: np.stack([3.0 * (ids == 4), 3.0 * (ids == 4) + (ids == 10)], axis=-1), "dev", made)
    first = rules(train, most=1)
    found, _ = refine(first, train, dev)
    assert [len(found.told(unit)) for unit in (0, 1)] == [1, 2]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_sequence_that_scores_is_seen(split: str) -> None:
    train, dev, other = (sample(values, each) for each in ("train", "dev", split))
    first = rules(train, most=1)
    for one, two in ((other, dev), (train, other)):
        with pytest.raises(ValueError, match=f"sequences of {split} are offered"):
            refine(first, one, two)
    mixed = replace(
        train,
        rows=np.r_[train.rows, other.rows],
        counted=np.r_[train.counted, other.counted],
        values=np.r_[train.values, other.values],
    )
    with pytest.raises(ValueError, match=f"sequences of {split} are offered"):
        refine(first, mixed, dev)


def test_train_and_dev_are_not_swapped_and_sites_not_mixed() -> None:
    train, dev = (sample(values, split) for split in ("train", "dev"))
    first = rules(train, most=1)
    with pytest.raises(ValueError, match="dev are offered"):
        refine(first, dev, train)
    other = replace(dev, site=replace(dev.site, layer=1))
    with pytest.raises(ValueError, match="bring one site's"):
        refine(first, train, other)


def test_counterexamples_are_the_worst_sequences() -> None:
    train = sample(values, "train")
    error = np.zeros_like(train.values)
    ends = np.cumsum(train.counted.sum(1))
    error[ends[7] - 1, 0] = -9.0
    found = worst_rows(error, train)
    assert np.flatnonzero(found[:, 0]).tolist() == [7]
    assert not found[:, 1].any(), "no error, no counterexample"


def test_substitution_finds_the_token_that_matters() -> None:
    case = planted("bigram", 0)
    ids = sequences(case, 60, rng=np.random.default_rng(0), shifted=True)
    row, place = (int(i[0]) for i in np.nonzero(case.on(ids)[:, 8:]))
    change = substitution(case.model, case.site, case.unit, ids[row, : place + 9], seed=0)
    assert len(change) == 6
    assert set(np.argsort(change)[:2]) == {0, 1}
    assert (change[:2] < -1).all()
    assert np.abs(change[2:]).max() < 0.2
    assert len(substitution(case.model, case.site, case.unit, np.array([BOS, 5]), seed=0)) == 2


def test_the_subject_is_asked() -> None:
    case = planted("token", 2)
    texts = corpus_of(case)
    train, dev = (read_sample(case.model, texts, case.site, texts.rows(split)) for split in ("train", "dev"))
    first = rules(train, parts=("simple", "words"), most=1)
    blank = replace(first, chosen=np.full_like(first.chosen, -1), weights=np.zeros_like(first.weights))
    found, told = refine(blank, train, dev, model=case.model, rounds=2)
    assert [kind for kind, _ in told[0].kinds] == ["added", "split", "substituted"]
    assert any(word in found.explanation(case.unit).text for word in case.words)
