"""Patterns pruned and widened on a subject whose units are known."""

from __future__ import annotations

import numpy as np
import pytest

from superalign.interpretability.explanation import drawn, read_sample
from superalign.interpretability.known import BOS, activation_of, corpus_of, planted, sequences
from superalign.interpretability.modes import modes
from superalign.interpretability.patterns import Pattern, last_values, patterns, pruned
from superalign.interpretability.windows import top_windows

RARE = 3
"""`<unk>`"""


def test_a_bigram_is_pruned_to_its_two_tokens() -> None:
    case = planted("bigram", 0)
    ids = sequences(case, 60, rng=np.random.default_rng(0), shifted=True)
    row, place = (int(i[0]) for i in np.nonzero(case.on(ids)[:, 8:]))
    ids = ids[row, : place + 9]
    found = pruned(case.model, case.site, case.unit, ids, base=0.0, rare=RARE)
    assert [step for step, _ in found.steps] == [0, 1]
    assert [words[0] for _, words in found.steps] == [int(ids[-1]), int(ids[-2])]
    assert found.value > 1


def test_substitutes_are_those_that_keep_the_unit_on() -> None:
    """A unit on up to three tokens: what the subject likes and the unit fires on is taken in, and nothing else."""
    for seed in range(3):
        case = planted("token", seed)
        ids = sequences(case, 60, rng=np.random.default_rng(seed), shifted=True)
        row, place = (int(i[0]) for i in np.nonzero(case.on(ids)[:, 8:]))
        found = pruned(case.model, case.site, case.unit, ids[row, : place + 9], base=0.0, rare=RARE)
        ((step, words),) = found.steps
        assert step == 0
        assert set(words) <= set(np.unique(ids[case.on(ids)]))


def test_patterns_explain_units_that_were_asked_for() -> None:
    case = planted("bigram", 1)
    texts = corpus_of(case)
    sample = read_sample(case.model, texts, case.site, drawn(texts, "train", tokens=10**5, seed=0))
    clusters, medoids = modes(sample, top_windows(sample, 16))
    found = patterns(case.model, sample, clusters, medoids, [case.unit])
    assert found.name == "patterns"
    assert {u for u, p in enumerate(found.patterns) if p} == {case.unit}
    fresh = sequences(case, 100, rng=np.random.default_rng(3), shifted=True)
    told = found.predict(fresh, np.full(100, fresh.shape[1]))[:, 1:, case.unit]
    real = activation_of(case, fresh)[:, 1:]
    assert np.corrcoef(told.ravel(), real.ravel())[0, 1] > 0.9
    for word in case.words:
        assert word in found.explanation(case.unit).text
    other = (case.unit + 1) % case.site.units
    assert np.ptp(found.predict(fresh, np.full(100, fresh.shape[1]))[:, :, other]) == 0


def test_a_dead_unit_has_no_pattern() -> None:
    case = planted("token", 0)
    found = pruned(case.model, case.site, case.unit, np.array([BOS, 5]), base=1e9, rare=RARE)
    assert found.steps != ()
    value = float(last_values(case.model, case.site, case.unit, np.array([[BOS, 5]]))[0])
    assert pruned(case.model, case.site, case.unit, np.array([BOS, 5]), base=value, rare=RARE).steps == ()


def test_validation_sequences_are_refused() -> None:
    case = planted("token", 0)
    texts = corpus_of(case)
    held_in = read_sample(case.model, texts, case.site, texts.rows("train"))
    clusters, medoids = modes(held_in, top_windows(held_in, 4))
    with pytest.raises(ValueError, match="validation are offered"):
        patterns(
            case.model, read_sample(case.model, texts, case.site, texts.rows("validation")), clusters, medoids, [0]
        )


def test_where_a_pattern_holds() -> None:
    ids = np.array([[3, 4, 4, 3, 5, 4]])
    assert Pattern(steps=((0, (4,)), (1, (3, 5))), value=1.0).holds(ids).tolist() == [
        [False, True, False, False, False, True]
    ]
    assert (
        Pattern(steps=((0, (4,)), (3, (4,))), value=1.0).text(tuple("abcdef")) == "fires on `e` and 3 tokens after `e`"
    )
