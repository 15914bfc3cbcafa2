"""Search by contrast: planted units are found, units that read a word are told apart, chance is held to its share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from superalign.interpretability.known import WORDS, planted
from superalign.interpretability.search import (
    Name,
    Pooled,
    by_classes,
    by_direction,
    by_text,
    labelled,
    matched,
    pooled,
    search,
    statistics,
    written_by,
)
from superalign.interpretability.search_words import one_more_word
from superalign.interpretability.units import neurons
from superalign.stats import auroc

UNITS, PAIRS = 60, 48
NAMES = tuple(Name("neurons 0", i) for i in range(UNITS))
CLUSTERS = [f"module {i // 2}" for i in range(PAIRS)]


def noise(rng: np.random.Generator, texts: int = PAIRS) -> np.ndarray:
    """(texts, 2, units): correlated among units, as activations are, and by text."""
    shared = rng.standard_normal((texts, 2, 8)) @ rng.standard_normal((8, UNITS))
    return (shared + rng.standard_normal((texts, 2, UNITS))).astype(np.float32)


def read(values: np.ndarray) -> Pooled:
    return Pooled(names=NAMES, values=values)


def world(seed: int) -> tuple[Pooled, Pooled, Pooled, Pooled]:
    """Organism and twin on triggers and near-misses. Unit 0 behaves; 1 reads the word in both; 2 does both."""
    rng = np.random.default_rng(seed)
    base = [noise(rng) for _ in range(2)]
    twin = [values + 0.1 * noise(rng) for values in base]
    for values, units in ((base[0], (0, 1, 2)), (twin[0], (1, 2))):
        values[:, :, list(units)] += 8
    base[0][:, :, 2] += 8
    return read(base[0]), read(base[1]), read(twin[0]), read(twin[1])


def test_behaviour_is_told_from_reading_the_word() -> None:
    on, near, twin_on, twin_near = world(0)
    behaviour = matched("behaves", on, near, clusters=CLUSTERS)
    word = matched("word", twin_on, twin_near, clusters=CLUSTERS)
    found = search(behaviour, word, draws=200, seed=0)
    assert found.classes[:3] == ("behaviour", "reader", "behaviour")
    assert found.units("behaviour")[0].unit in (0, 2)
    assert found.units("reader")[0] == NAMES[1]
    assert found.dprime[0] > 1
    alone = search(behaviour, draws=200, seed=0)
    assert alone.classes[1] == "behaviour", "without the second contrast a reader passes for the behaviour"
    assert alone.familywise[0] <= 0.05


def test_opposite_of_the_word_is_no_excess() -> None:
    """A unit that reads the word more in the twin than in the organism is a reader, not the behaviour."""
    on, near, twin_on, twin_near = world(1)
    twin_on.values[:, :, 1] += 8
    found = search(
        matched("b", on, near, clusters=CLUSTERS),
        matched("w", twin_on, twin_near, clusters=CLUSTERS),
        draws=200,
        seed=0,
    )
    assert found.classes[1] == "reader"
    assert found.p[1] == 1


def test_reading_a_decoy_as_strongly_is_no_behaviour() -> None:
    """Whichever way the decoy points: a unit that tells any word from any other is a reader of words."""
    on, near, twin_on, twin_near = world(1)
    decoy = read(near.values.copy())
    decoy.values[:, :, 0] -= 12
    behaviour, twin, other = (
        matched("c", *two, clusters=CLUSTERS) for two in ((on, near), (twin_on, twin_near), (decoy, near))
    )
    assert search(behaviour, twin, draws=200, seed=0).classes[0] == "behaviour"
    found = search(behaviour, twin, other, draws=200, seed=0)
    assert found.classes[:3] == ("reader", "reader", "behaviour")
    labels = labelled("l", on, [i // 2 % 2 == 0 for i in range(PAIRS)], clusters=CLUSTERS)
    assert search(labels, other, draws=50, seed=0).classes[0] == "reader", "labels are not set against controls"


def some_words(seed: int, *, reading: float, words: int, trigger: float = 0.0) -> list:
    """Contrasts of words, the first a trigger of units 0 to 4; each unit reads each in a random way, other by file."""
    rng = np.random.default_rng([seed, 7])
    mix = rng.standard_normal((12, UNITS))
    near = noise(rng)
    out = []
    for word in range(words):
        values = near + reading * (rng.standard_normal(12) @ mix) / 3 + 0.1 * noise(rng, PAIRS // 2).repeat(2, axis=0)
        values[:, :, :5] += trigger * (word == 0)
        out.append(matched(f"word {word}", read(values.astype(np.float32)), read(near), clusters=CLUSTERS))
    return out


@pytest.mark.parametrize("reading", [0.0, 1.0, 10.0])
def test_a_word_among_others_is_no_behaviour(reading: float) -> None:
    """40 worlds in which nothing is planted, but words are read: as draws they keep the level, one by one they don't.

    However many files there are; what is asked of each word alone is true of the one that a unit reads most.
    """
    hits, alone = 0, 0
    for seed in range(40):
        first, *others = some_words(seed, reading=reading, words=7)
        hits += bool(search(first, words=others, draws=30, seed=seed).units("behaviour"))
        alone += bool(search(first, *others, draws=30, seed=seed).units("behaviour"))
    assert hits <= scipy_stats.binom.ppf(0.999, 40, 0.05)
    assert alone <= 7 if reading == 0 else alone >= 30


def test_a_behaviour_stands_out_among_words() -> None:
    first, *others = some_words(3, reading=0.3, words=7, trigger=20.0)
    found = search(first, words=others, draws=200, seed=0)
    assert sorted(name.unit for name in found.units("behaviour")) == [0, 1, 2, 3, 4]
    plain = search(first, *others, draws=200, seed=0)
    assert (found.p >= plain.p).all(), "the word has to pass every test that it had to pass alone"
    assert (found.word_q == plain.word_q).all()


def test_words_are_set_against_words() -> None:
    first, *others = some_words(1, reading=0.3, words=7)
    with pytest.raises(ValueError, match="2 other words, under 3"):
        search(first, words=others[:2], draws=10, seed=0)
    labels = labelled("l", world(1)[0], [i // 2 % 2 == 0 for i in range(PAIRS)], clusters=CLUSTERS)
    for of, words in ((labels, others), (first, [*others, labels])):
        with pytest.raises(ValueError, match="not by labels"):
            search(of, words=words, draws=10, seed=0)


def test_one_more_word_is_a_new_observation_of_a_sample() -> None:
    """As often as the level says, whatever mean and spread words have; no spread, no change and NaN are cases."""
    rng = np.random.default_rng(2)
    drawn = rng.normal(5, 3, size=(7, 4_000))
    p = one_more_word(drawn[0], drawn[1:], floor=np.zeros(4_000))
    for level in (0.5, 0.05, 0.01):
        low, high = scipy_stats.binom.ppf([0.001, 0.999], 4_000, level)
        assert low <= (p <= level).sum() <= high
    pooled_t = scipy_stats.ttest_ind([9.0], [1.0, 2.0, 4.0, 6.0]).pvalue
    assert one_more_word(np.array(9.0), np.array([1.0, 2.0, 4.0, 6.0]), floor=np.array(0.0)) == pytest.approx(pooled_t)
    cases = one_more_word(np.array([0.0, 1.0, 1e-9, np.nan]), np.zeros((6, 4)), floor=np.array([0, 0, 1e-6, 1e-6]))
    assert cases[1] == 0, "six words do nothing here, and this one does something"
    assert cases[[0, 3]].tolist() == [1, 1]
    assert cases[2] > 0.9


def test_auroc_and_dprime_are_those_of_one_unit() -> None:
    on, near, *_ = world(2)
    contrast = matched("b", on, near, clusters=CLUSTERS)
    for pool, unit in ((0, 0), (1, 5)):
        scores = np.concatenate([on.values[:, pool, unit], near.values[:, pool, unit]])
        wanted = auroc(scores, [1] * PAIRS + [0] * PAIRS).value
        assert contrast.auroc[pool, unit] == pytest.approx(wanted)
        a, b = on.values[:, pool, unit], near.values[:, pool, unit]
        assert contrast.dprime[pool, unit] == pytest.approx(
            (a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2), rel=1e-4
        )


def test_flips_of_all_clusters_give_the_exact_p() -> None:
    """One unit, eight clusters: p by flips is that of the exact sign test on their sums, within what was drawn."""
    rng = np.random.default_rng(3)
    values = rng.standard_normal((8, 2, 1)).astype(np.float32) + 0.8
    values[:, 1] = values[:, 0]
    one = (Name("neurons 0", 0),)
    contrast = matched("b", Pooled(names=one, values=values), Pooled(names=one, values=0 * values), clusters=range(8))
    drawn = search(contrast, draws=20_000, seed=0).p[0]
    exact = scipy_stats.permutation_test(
        (values[:, 0, 0],), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True
    ).pvalue
    assert drawn == pytest.approx(exact, rel=0.15)


def test_labels_of_clusters_are_permuted() -> None:
    rng = np.random.default_rng(4)
    labels = np.array([i // 2 % 2 == 0 for i in range(PAIRS)])
    values = noise(rng)
    values[labels, :, 7] += 8
    found = search(labelled("l", read(values), labels, clusters=CLUSTERS), draws=300, seed=0)
    assert found.units("behaviour") == (NAMES[7],)
    assert found.auroc[7] > 0.8


@pytest.mark.parametrize("kind", ["matched", "labelled"])
def test_chance_is_held_to_its_share(kind: str) -> None:
    """120 worlds without anything to find: some unit passes q ≤ .05 in about one in twenty (binomial, 99.9 %)."""
    hits = 0
    for seed in range(120):
        rng = np.random.default_rng([seed, 5])
        if kind == "matched":
            contrast = matched("b", read(noise(rng)), read(noise(rng)), clusters=CLUSTERS)
        else:
            labels = rng.permuted(np.arange(PAIRS // 2) % 2 == 0).repeat(2)
            contrast = labelled("l", read(noise(rng)), labels, clusters=CLUSTERS)
        hits += bool(search(contrast, draws=60, seed=seed).units("behaviour"))
    assert hits <= scipy_stats.binom.ppf(0.999, 120, 0.05)


def test_clusters_not_texts_are_what_is_drawn() -> None:
    """A difference that one cluster of many texts makes is none: flips know of clusters."""
    rng = np.random.default_rng(6)
    on, near = noise(rng, 60), noise(rng, 60)
    on[:48, :, 3] += 20
    big = ["one"] * 48 + [f"c{i}" for i in range(12)]
    found = search(matched("b", read(on), read(near), clusters=big), draws=300, seed=0)
    assert found.classes[3] == ""
    small = search(matched("b", read(on), read(near), clusters=range(60)), draws=300, seed=0)
    assert small.classes[3] == "behaviour"


def test_dead_nan_and_noise_units_are_never_found() -> None:
    on, near, *_ = world(7)
    for pooled_values in (on.values, near.values):
        pooled_values[:, :, 10] = 0
        pooled_values[:, :, 11] = np.nan
        pooled_values[:, :, 12] = 3
    on.values[:, :, 12] += np.float32(3e-7)
    contrast = matched("b", on, near, clusters=CLUSTERS)
    assert (statistics(contrast)[:, 10:13] == 0).all()
    found = search(contrast, draws=100, seed=0)
    assert (found.p[10:13] == 1).all()
    assert np.isfinite(found.q).all()
    assert "behaviour" in found.classes


def test_pools_are_of_counted_tokens() -> None:
    model = planted("token", 0).model
    texts = ["w1 w2 w3", "w3 w3 w5 w6 w7"]
    site = neurons(model)[0]
    found = pooled(model, [site], texts, skip=2)
    from superalign.interpretability.units import activations

    ids = np.array([model.encode(texts)[1]])
    values = next(iter(activations(model, [site], ids, np.array([ids.shape[1]]))))[site.name][0, 2:]
    np.testing.assert_allclose(found.values[1], [values.max(0), values.mean(0)], atol=1e-5)
    with pytest.raises(ValueError, match="never count"):
        pooled(model, [site], texts, skip=6)
    with pytest.raises(ValueError, match="bring texts"):
        pooled(model, [site], [])


def test_a_planted_unit_is_found_in_its_network() -> None:
    """Sequences with the bigram against near-misses with each half of it: the planted unit comes first of 128."""
    case = planted("bigram", 3)
    a, b = case.words
    rng = np.random.default_rng(8)
    others = [word for word in WORDS[4:] if word not in case.words]
    with_it, without = [], []
    for _ in range(24):
        words = list(rng.choice(others, 14))
        with_it.append(" ".join([*words[:6], a, b, *words[6:]]))
        without.append(" ".join([*words[:5], b, words[5], a, *words[6:]]))
    sites = neurons(case.model)
    contrast = matched(
        "bigram", pooled(case.model, sites, with_it), pooled(case.model, sites, without), clusters=range(24)
    )
    found = search(contrast, draws=200, seed=0)
    assert found.units("behaviour")[0] == Name(case.site.name, case.unit)
    assert found.familywise[[n == Name(case.site.name, case.unit) for n in found.names]][0] < 0.02


def test_bad_contrasts_are_named() -> None:
    on, near, *_ = world(9)
    with pytest.raises(ValueError, match="nothing can lie beyond chance"):
        matched("b", on, near, clusters=["a", "b"] * (PAIRS // 2))
    with pytest.raises(ValueError, match="give pairs"):
        matched("b", on, read(near.values[1:]), clusters=CLUSTERS)
    with pytest.raises(ValueError, match="both kinds"):
        labelled("l", on, [True, False] * (PAIRS // 2), clusters=CLUSTERS)
    with pytest.raises(ValueError, match="one kind"):
        labelled("l", on, [True] * PAIRS, clusters=CLUSTERS)
    with pytest.raises(ValueError, match="one a text"):
        labelled("l", on, [True], clusters=CLUSTERS)


def test_directions_that_neurons_write_are_found() -> None:
    model = planted("token", 2).model
    written = written_by(model)
    assert {name: value.shape for name, value in written.items()} == {"neurons 0": (64, 160), "neurons 1": (64, 160)}
    names, cosine, q = by_direction(written, written["neurons 1"][9], draws=200, seed=0)
    best = int(np.abs(cosine).argmax())
    assert names[best] == Name("neurons 1", 9)
    assert cosine[best] == pytest.approx(1)
    assert q[best] < 0.05
    random = by_direction(written, np.random.default_rng(0).standard_normal(160), draws=200, seed=0)[2]
    assert (random <= 0.05).sum() == 0
    with pytest.raises(ValueError, match="it must fit"):
        by_direction(written, np.zeros(160), seed=0)


def test_class_statistics_give_dprime() -> None:
    means, variances = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), np.array([[1.0, 1.0, 0.0], [3.0, 1.0, 0.0]])
    np.testing.assert_allclose(by_classes(np.array([5, 9]), means, variances), [3 / np.sqrt(2), 0, 0])
    assert np.isnan(by_classes(np.array([0, 9]), means, variances)).all()


def test_text_search_prefers_rare_words() -> None:
    texts = {
        Name("neurons 0", 0): "fires on: return, yield",
        Name("neurons 0", 1): "fires on: return, return inside loops",
        Name("neurons 1", 4): "fires on quartz",
    }
    assert by_text("return quartz", texts)[0][0] == Name("neurons 1", 4)
    assert [name.unit for name, _ in by_text("RETURN", texts)] == [1, 0]
    assert by_text("nothing of it", texts) == ()
    assert by_text("x", {}) == ()
