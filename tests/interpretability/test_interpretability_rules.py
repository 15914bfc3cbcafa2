"""Rules: the bank holds what its conditions say, choosing is least squares, and planted units are found in words."""

from __future__ import annotations

import numpy as np
import pytest

from superalign.interpretability.bank import PARTS, bank_of
from superalign.interpretability.conditions import Condition, holds
from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.explanation import Sample, before, drawn, read_sample
from superalign.interpretability.known import suite
from superalign.interpretability.rules import Rules, held_on, moments, rules
from superalign.interpretability.units import Site
from superalign.models import LocalModel

WORDS = ("<pad>", "<bos>", "(", ")", "if", "v1", "v2", "12", "Foo", "<L1>", ":", "self", "def", "7", "Bar", "_x")


def toy(values: object, *, split: str = "train", seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, len(WORDS), (900, 12))
    ids[:, 0] = 1
    named = {f"d{i}": [ids[r, : 7 + r % 6].tolist() for r in range(i, 900, 40)] for i in range(40)}
    corpus = packed(named, length=12, pad=0, skip=1)
    rows = corpus.rows(split)
    counted = corpus.counted(rows)
    told = values(corpus.ids[rows])[counted].astype(np.float32)
    site = Site(kind="neuron", layer=0, units=told.shape[1], module="none")
    return Sample(corpus=corpus, site=site, words=WORDS, rows=rows, counted=counted, values=told)


def planted_units(ids: np.ndarray) -> np.ndarray:
    """Of each kind that a bank knows."""
    previous, place = before(ids, 1, nothing=-1), np.arange(ids.shape[1])
    near = np.stack([before(ids, k, nothing=-1) == 11 for k in range(1, 6)]).any(0)
    come = np.cumsum(ids == 4, axis=1)
    again = np.tril(ids[:, :, None] == ids[:, None, :], k=-1).any(2)
    units = [
        ids == 4, np.isin(ids, [5, 6]), (ids == 10) & (previous == 3), near, ~near, come >= 2, again,
        np.broadcast_to(place <= 3, ids.shape), np.isin(previous, [2, 3]),
        2.0 * np.isin(ids, [7, 13]) - np.isin(ids, [8, 14]),
    ]  # fmt: skip
    return np.stack(units, axis=-1) * 3.0 + 0.5


TEXTS = (
    "fires on `if`", "fires on names", "fires on `:` and after `)`", "fires when `self` stands within 5 tokens before",
    "less when `self` stands within 5 tokens before", "fires once `if` has come 2 times",
    "fires on a token seen before",
    "fires at the first 3 places", "fires after punctuation; less after `:`", "fires on digits; less on capitals",
)  # fmt: skip


def test_the_bank_holds_what_its_conditions_say() -> None:
    sample = toy(planted_units).first(400)
    bank = bank_of(sample)
    bank = bank.joined([(0, 5), (len(bank.rules) - 1, 2), (0, 5)])
    assert len(bank.products) == 2
    held = bank.matrix(sample.ids, sample.lengths).toarray().astype(bool)
    assert held.shape == (sample.ids.size, len(bank.rules))
    for column, rule in enumerate(bank.rules):
        assert np.array_equal(held[:, column], holds(rule, sample.ids, sample.lengths, bank.lexicon).ravel()), rule
    kinds = {condition.kind for rule in bank.rules for condition in rule}
    assert kinds >= {"token", "after", "near", "count", "class", "afterclass", "firsts", "brackets", "seen"}


def test_each_part_alone() -> None:
    sample = toy(planted_units).first(400)
    whole = bank_of(sample)
    assert whole.rules == tuple(rule for part in PARTS for rule in bank_of(sample, parts=(part,)).rules)
    with pytest.raises(ValueError, match="no part colours"):
        bank_of(sample, parts=("colours",))


def test_planted_rules_are_found_and_said() -> None:
    found = rules(toy(planted_units))
    for unit, text in enumerate(TEXTS):
        assert found.explanation(unit).text == text
    fresh = toy(planted_units, split="validation")
    told = found.predict(fresh.ids, fresh.lengths)[fresh.counted]
    assert np.abs(told - fresh.values).max() < 0.05, "ridge and a rare float are all that is left"


def test_weights_are_least_squares_on_the_chosen_rules() -> None:
    rng = np.random.default_rng(3)
    sample = toy(lambda ids: planted_units(ids)[..., :4] + rng.standard_normal((*ids.shape, 4)))
    found = rules(sample, most=3)
    held = held_on(found.bank, sample).toarray()
    for unit in range(4):
        used = found.chosen[unit][found.chosen[unit] >= 0]
        design = np.c_[np.ones(len(held)), held[:, used]]
        wanted, *_ = np.linalg.lstsq(design, sample.values[:, unit], rcond=None)
        assert np.allclose(np.r_[found.base[unit], found.weights[unit][: len(used)]], wanted, atol=0.02)


def test_moments_are_those_of_dense_columns() -> None:
    sample = toy(planted_units).first(500)
    bank = bank_of(sample)
    found, held = moments(bank, sample), held_on(bank, sample).toarray().astype(float)
    assert np.allclose(found.cov, np.cov(held.T, bias=True), atol=1e-6)
    assert np.allclose(
        found.cross[:, 1], held.T @ (sample.values[:, 1] - sample.values[:, 1].mean()) / len(held), atol=1e-5
    )


def test_noise_silence_and_nan_get_no_rule() -> None:
    rng = np.random.default_rng(4)

    def values(ids: np.ndarray) -> np.ndarray:
        return np.stack([rng.standard_normal(ids.shape), 0 * ids, ids * np.nan, ids == 4], axis=-1)

    found = rules(toy(values))
    assert [len(found.told(unit)) for unit in range(4)] == [0, 0, 0, 1]
    assert found.explanation(1).text == "does the same everywhere"
    assert found.explanation(1).bits < found.explanation(3).bits
    assert np.isfinite(found.predict(np.array([[1, 4]]), np.array([2]))[..., [0, 1, 3]]).all()


def test_more_rules_only_where_they_explain_enough() -> None:
    def values(ids: np.ndarray) -> np.ndarray:
        return (5.0 * (ids == 4) + 0.3 * (ids == 5))[..., None]

    assert len(rules(toy(values), least=0.01).told(0)) == 1
    assert len(rules(toy(values), least=0.0005).told(0)) >= 2


def test_held_in_only() -> None:
    with pytest.raises(ValueError, match="validation are offered"):
        rules(toy(planted_units, split="validation"))


def explain(model: LocalModel, corpus: Corpus, site: Site, unit: int) -> Rules:
    return rules(read_sample(model, corpus, site, drawn(corpus, "train", tokens=10**6, seed=0)))


@pytest.mark.slow
def test_known_answers_in_real_networks() -> None:
    """Token, bigram, position, counting and induction units, told apart on texts of another distribution, and named."""
    told = suite(explain, seeds=range(2))
    assert told.right.value == 1, [answer for answer in told.answers if not answer.right]
    assert told.named.value == 1, [answer.text for answer in told.answers if not answer.named]


def test_ties_go_to_the_simpler_rule() -> None:
    """Where a class and a word hold together, it is the class that is told: it comes first in the bank."""
    found = rules(toy(lambda ids: (ids == 15)[..., None] * 1.0))
    assert found.told(0)[0][0] == (Condition("class", label="underscores"),)
