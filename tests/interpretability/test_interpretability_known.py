"""The known-answer suite: what is planted is there, right explanations pass, wrong ones and shortcuts don't."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from superalign.interpretability.corpus import Corpus
from superalign.interpretability.explanation import Explainer, Explanation
from superalign.interpretability.known import (
    KINDS,
    Kind,
    Planted,
    activation_of,
    corpus_of,
    planted,
    repeats,
    sequences,
    suite,
)
from superalign.interpretability.units import Site
from superalign.models import LocalModel

SEEDS = (0, 1)


@dataclass(frozen=True, kw_only=True)
class Said:
    """An explainer from a function of ids; for one unit, in words given."""

    function: Callable[[np.ndarray], np.ndarray]
    units: int
    unit: int
    text: str = ""
    name: str = "said"

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        told = np.zeros((*ids.shape, self.units), dtype=np.float32)
        told[..., self.unit] = self.function(ids)
        return told

    def explanation(self, unit: int) -> Explanation:
        return Explanation(text=self.text, bits=8.0 * len(self.text))


@cache
def truth_of(name: str) -> Planted:
    kind, seed = name.split("-")[1:]
    return planted(kind, int(seed))  # type: ignore[arg-type]


def oracle(model: LocalModel, corpus: Corpus, site: Site, unit: int) -> Explainer:
    case = truth_of(model.name)
    return Said(function=case.on, units=site.units, unit=unit, text=case.means)


def table(model: LocalModel, corpus: Corpus, site: Site, unit: int) -> Explainer:
    """A real explainer: the mean activation of each token on train."""
    case, rows = truth_of(model.name), corpus.rows("train")
    ids = corpus.ids[rows][:, 1:].ravel()
    sums = np.bincount(ids, weights=activation_of(case, corpus.ids[rows])[:, 1:].ravel(), minlength=40)
    means = sums / np.maximum(np.bincount(ids, minlength=40), 1)
    return Said(function=lambda some: means[some], units=site.units, unit=unit, text=f"w{int(means.argmax()) - 4}")


@pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind in KINDS for seed in (0, 1)])
def test_what_is_planted_is_there(kind: Kind, seed: int) -> None:
    """On fresh texts, of either distribution: on is at least 1.8, off is nothing, nothing in between."""
    case = truth_of(f"planted-{kind}-{seed}")
    for shifted in (False, True):
        ids = sequences(case, 150, rng=np.random.default_rng([seed, 7]), shifted=shifted)
        found, on = activation_of(case, ids)[:, 1:], case.on(ids)[:, 1:]
        assert 0.01 < on.mean() < 0.99
        assert found[on].min() > 1.8
        assert np.abs(found[~on]).max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_other_units_are_not_planted(kind: Kind) -> None:
    case = truth_of(f"planted-{kind}-0")
    ids = sequences(case, 40, rng=np.random.default_rng(1), shifted=False)
    from superalign.interpretability.units import activations

    values = np.concatenate([b[case.site.name] for b in activations(case.model, [case.site], ids, np.full(40, 32))])
    on = case.on(ids)[:, 1:].ravel()
    rs = [abs(np.corrcoef(on, values[:, 1:, u].ravel())[0, 1]) for u in range(case.site.units) if u != case.unit]
    assert max(rs) < 0.9
    assert len(rs) == 63


def test_the_same_seed_plants_the_same() -> None:
    for kind in KINDS:
        first, second = (truth_of(f"planted-{kind}-{seed}").model.digest for seed in (0, 1))
        assert planted(kind, 1).model.digest == second != first
    with pytest.raises(ValueError, match="no planted kind"):
        planted("trigram", 0)  # type: ignore[arg-type]


def test_truth_by_hand() -> None:
    ids = np.array([[1, 5, 6, 5, 7, 6]])
    assert repeats(ids)[0].tolist() == [False, False, False, True, False, True]
    counting = truth_of("planted-counting-0")
    word = int(counting.words[0][1:]) + 4
    ids = np.array([[1, word, 9, word, 9, word, word]])
    least = int(counting.means.split()[-2])
    assert counting.on(ids)[0].tolist() == [n >= least for n in (0, 1, 1, 2, 2, 3, 4)]


def test_corpora_have_every_split_and_the_unit_in_it() -> None:
    for case in (truth_of(f"planted-{kind}-{seed}") for kind in KINDS for seed in (0, 1)):
        corpus = corpus_of(case)
        for split in ("train", "dev", "validation"):
            rows = corpus.rows(split)  # type: ignore[arg-type]
            assert len(rows) >= 20
            assert case.on(corpus.ids[rows])[corpus.counted(rows)].any()


def test_the_oracle_is_right_everywhere() -> None:
    told = suite(oracle, seeds=SEEDS)
    assert told.right.value == 1
    assert told.named.value == 1
    assert len(told.answers) == len(KINDS) * len(SEEDS)
    assert told.right.low is not None
    assert told.right.low > 0.65


def test_a_unigram_table_is_right_about_tokens_only() -> None:
    told = suite(table, seeds=SEEDS)
    by_kind = {kind: told.of(kind).value for kind in KINDS}
    assert by_kind == {"token": 1, "bigram": 0, "position": 0, "counting": 0, "induction": 0}
    tokens = [answer for answer in told.answers if answer.kind == "token"]
    assert all(answer.f1 > 0.99 for answer in tokens)


def test_a_shortcut_that_holds_on_the_corpus_only_is_wrong() -> None:
    """Counting by place: later tokens have more behind them. Right often enough on the corpus, wrong on fresh texts."""

    def later(model: LocalModel, corpus: Corpus, site: Site, unit: int) -> Explainer:
        return Said(
            function=lambda ids: np.broadcast_to(np.arange(ids.shape[1]), ids.shape), units=site.units, unit=unit
        )

    told = suite(later, kinds=["counting"], seeds=SEEDS)
    assert told.right.value == 0
    assert all(0.3 < answer.f1 < 0.95 for answer in told.answers)


@pytest.mark.parametrize(
    ("function", "note"),
    [
        (lambda ids: np.full(ids.shape, np.nan), "not finite"),
        (lambda ids: np.zeros(ids.shape), "all the same"),
    ],
)
def test_garbage_is_counted_as_wrong(function: Callable[[np.ndarray], np.ndarray], note: str) -> None:
    def explain(model: LocalModel, corpus: Corpus, site: Site, unit: int) -> Explainer:
        return Said(function=function, units=site.units, unit=unit)

    told = suite(explain, kinds=["token"], seeds=[0, 1])
    assert told.right.value == 0
    assert told.right.n == 2
    assert all(note in answer.note for answer in told.answers)


def test_another_shape_is_counted_as_wrong() -> None:
    def explain(model: LocalModel, corpus: Corpus, site: Site, unit: int) -> Explainer:
        return Said(function=lambda ids: ids, units=1, unit=0)

    (answer,) = suite(explain, kinds=["token"], seeds=[0]).answers
    assert not answer.right
    assert "(rows, length, units)" in answer.note
