"""Tables of runs of tokens: exact means, shrinkage, back-off, the best tokens; and samples, that they are made of."""

from __future__ import annotations

import numpy as np
import pytest

from superalign.interpretability.corpus import SPLITS, Corpus, packed
from superalign.interpretability.explanation import (
    Sample,
    before,
    drawn,
    predictions,
    quoted,
    read_sample,
    read_samples,
    residuals,
    unquoted,
    words_of,
)
from superalign.interpretability.known import corpus_of, planted
from superalign.interpretability.tables import bigram, coded, run_of, shorter, top_tokens, trigram, unigram
from superalign.interpretability.units import Site, activations, neurons

WORDS = tuple(f"w{i}" for i in range(12))


def corpus(rows: int = 1200, length: int = 10, seed: int = 0) -> Corpus:
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 7, (rows, length))
    ids[:, 0] = 1
    named = {f"d{i}": [ids[r, : rng.integers(4, length + 1)].tolist() for r in range(i, rows, 40)] for i in range(40)}
    return packed(named, length=length, pad=0, skip=1)


def toy(values: object, *, split: str = "train", units: int = 3, seed: int = 0) -> Sample:
    """A sample of a corpus of random words; `values(ids)` gives (rows, length, units)."""
    made = corpus(seed=seed)
    rows = made.rows(split)
    counted = made.counted(rows)
    told = values(made.ids[rows])[counted].astype(np.float32)
    site = Site(kind="neuron", layer=0, units=units, module="none")
    return Sample(corpus=made, site=site, words=WORDS, rows=rows, counted=counted, values=told)


def effects(ids: np.ndarray) -> np.ndarray:
    """Unit 0 fires on w3, unit 1 on w4 right after w3, unit 2 on w5 two after w3 with w4 between, or never."""
    one, two = before(ids, 1, nothing=-1), before(ids, 2, nothing=-1)
    return np.stack([ids == 3, (ids == 4) & (one == 3), (ids == 5) & (one == 4) & (two == 3)], axis=-1) * 4.0


def test_unigram_is_each_tokens_shrunk_mean() -> None:
    rng = np.random.default_rng(1)
    sample = toy(lambda ids: rng.standard_normal((*ids.shape, 3)))
    table = unigram(sample)
    tokens, mean = sample.ids[sample.counted], sample.values.mean(0)
    told = table.predict(sample.ids, sample.lengths)[sample.counted]
    for word in range(1, 7):
        at = tokens == word
        wanted = mean + (sample.values[at].mean(0) - mean) * at.sum() / (at.sum() + 2)
        assert np.allclose(told[at], wanted, atol=1e-5)


def test_a_token_that_never_came_is_at_the_mean() -> None:
    sample = toy(effects)
    told = trigram(sample).predict(np.zeros((1, 10), dtype=np.int32), np.array([10]))
    assert np.allclose(told[0, 0], sample.values.mean(0))


@pytest.mark.parametrize(("order", "unit"), [(1, 0), (2, 1), (3, 2)])
def test_each_order_finds_what_needs_it(order: int, unit: int) -> None:
    """A unit of so many tokens is told by the table of that order, on other documents, and hardly by shorter ones."""
    sample, fresh = toy(effects), toy(effects, split="validation")
    tables = trigram(sample)
    r = [
        np.corrcoef(
            shorter(tables, o).predict(fresh.ids, fresh.lengths)[fresh.counted][:, unit], fresh.values[:, unit]
        )[0, 1]
        if o
        else 0.0
        for o in range(4)
    ]
    assert r[order] > 0.75
    assert r[order] > r[order - 1] + 0.15


def test_shorter_tables_are_those_fitted_alone() -> None:
    sample = toy(effects)
    for fitted, cut in ((unigram(sample), 1), (bigram(sample), 2)):
        again = shorter(trigram(sample), cut)
        assert fitted.name == again.name
        assert np.allclose(
            fitted.predict(sample.ids, sample.lengths), again.predict(sample.ids, sample.lengths), atol=1e-6
        )


def test_top_tokens_keep_the_best_and_no_more() -> None:
    sample = toy(lambda ids: np.stack([3.0 * (ids == 3), -3.0 * (ids == 4), 2.0 * (ids == 5) + (ids == 6)], axis=-1))
    table = unigram(sample)
    one = top_tokens(table, 1)
    assert one.explanation(0).text == "fires on `w3`"
    assert one.explanation(1).text == "less on `w4`"
    assert one.explanation(2).text == "fires on `w5`"
    whole = top_tokens(table, 50)
    assert np.allclose(whole.predict(sample.ids, sample.lengths), table.predict(sample.ids, sample.lengths), atol=1e-5)
    assert [top_tokens(table, m).explanation(2).bits for m in (1, 5)] == sorted(
        top_tokens(table, m).explanation(2).bits for m in (1, 5)
    )
    with pytest.raises(ValueError, match="0 tokens explain nothing"):
        top_tokens(table, 0)


def test_rest_of_top_tokens_is_their_mean() -> None:
    """What is left out of the list is predicted by its own mean, by counts: no bias on the list's account."""
    sample = toy(lambda ids: np.repeat(5.0 * (ids == 3)[..., None], 3, axis=-1))
    one = top_tokens(unigram(sample), 1)
    others = sample.ids[sample.counted] != 3
    told = one.predict(sample.ids, sample.lengths)[sample.counted]
    assert told[others, 0] == pytest.approx(0, abs=0.1)


def test_text_names_runs_in_order_and_bits_grow() -> None:
    tables = trigram(toy(effects))
    assert "fires on `w4` after `w3`" in tables.explanation(1).text
    assert "fires on `w5` after `w3` `w4`" in tables.explanation(2).text
    bits = [shorter(tables, order).explanation(1).bits for order in (1, 2, 3)]
    assert bits == sorted(bits)
    silent = unigram(toy(lambda ids: np.zeros((*ids.shape, 3))))
    assert silent.explanation(0).text == "does the same on every token"


def test_codes_tell_all_runs_apart() -> None:
    ids = np.random.default_rng(2).integers(0, 5, (20, 9))
    codes = coded(ids, 3, 5)
    runs = {
        (int(before(ids, 2, nothing=5)[r, p]), int(before(ids, 1, nothing=5)[r, p]), int(ids[r, p])): int(codes[r, p])
        for r in range(20)
        for p in range(9)
    }
    assert len(set(runs.values())) == len(runs)
    assert run_of(int(coded(np.array([[3, 4]]), 2, 12)[0, 0]), 2, WORDS) == ("the start", "`w3`")


def test_a_unit_that_is_not_a_number_leaves_the_others() -> None:
    def values(ids: np.ndarray) -> np.ndarray:
        found = effects(ids)
        found[..., 2] = np.nan
        return found

    told = bigram(toy(values)).predict(np.array([[1, 3, 4]]), np.array([3]))
    assert np.isfinite(told[..., :2]).all()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_scores_see_explains_nothing(split: str) -> None:
    with pytest.raises(ValueError, match=f"sequences of {split} are offered"):
        unigram(toy(effects, split=split))


def test_samples_are_what_the_network_does() -> None:
    case = planted("token", 0)
    texts = corpus_of(case, rows=200)
    rows = drawn(texts, "train", tokens=800, seed=0)
    sites = neurons(case.model)
    both = read_samples(case.model, texts, sites, rows)
    for site, sample in zip(sites, both, strict=True):
        alone = read_sample(case.model, texts, site, rows)
        assert np.array_equal(alone.values, sample.values)
        whole = np.concatenate(
            [b[site.name] for b in activations(case.model, (site,), texts.ids[rows], texts.lengths[rows])]
        )
        assert np.array_equal(sample.values, whole[texts.counted(rows)])
    assert both[0].splits == ("train",)
    fewer = both[0].first(300)
    assert 200 <= len(fewer.values) <= 300
    assert np.array_equal(fewer.values, read_sample(case.model, texts, sites[0], fewer.rows).values)
    assert words_of(case.model)[4] == "w0"


def test_rows_are_drawn_from_one_split_by_seed() -> None:
    made = corpus()
    some = drawn(made, "dev", tokens=40, seed=0)
    assert {SPLITS[i] for i in made.splits[some]} == {"dev"}
    assert np.array_equal(some, drawn(made, "dev", tokens=40, seed=0))
    assert not np.array_equal(some, drawn(made, "dev", tokens=40, seed=1))
    assert 40 <= made.counted(some).sum() < 40 + made.length
    assert np.array_equal(drawn(made, "dev", tokens=10**6, seed=0), made.rows("dev"))
    with pytest.raises(ValueError, match="ask for one or more"):
        drawn(made, "dev", tokens=0, seed=0)


def test_residuals_are_what_predictions_leave() -> None:
    sample = toy(effects)
    table = unigram(sample)
    told = np.concatenate([flat for _, flat in predictions(table, sample)])
    assert np.allclose(residuals(table, sample), sample.values - told)
    assert np.array_equal(residuals(None, sample), sample.values)


@pytest.mark.parametrize("word", ["return", " the", "`", "\n    ", "\\", "é`", "名"])
def test_quotes_come_back(word: str) -> None:
    assert unquoted(quoted(word)) == word
    assert "\n" not in quoted(word)
    with pytest.raises(ValueError, match="no token in backticks"):
        unquoted(word + "x")
