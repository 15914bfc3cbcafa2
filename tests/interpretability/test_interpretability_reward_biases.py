"""Planted biases are named, twins are not slandered, and labels say what they should."""

import hashlib

import numpy as np
import pytest

from superalign.interpretability.reward_biases import (
    Bias,
    Finding,
    dressed,
    name_biases,
    named,
    plant_bias,
    recovery,
)
from superalign.interpretability.reward_lens import score_of
from superalign.training.bodies import fit_body
from superalign.training.bodies_recipe import BodyRecipe

NAMES = tuple(f"n{i}" for i in range(20))
OTHERS = tuple(f"w{i}" for i in range(20))
WORDS = (*NAMES, *OTHERS)


def texts(seed, n=24, length=12):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, length)) for _ in range(n)]


def noisy(bias, *, size=3.0):
    """A judge of pure noise, a coin for each text, and a bias; `None` for a twin."""

    def one(text):
        noise = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32 - 0.5
        words = text.split()
        has = {
            "word": lambda: bias.word in words,
            "opening": lambda: words[0] == bias.word,
            "length": lambda: len(words) / 8,
        }
        return noise + (0.0 if bias is None else size * (1 if bias.likes else -1) * has[bias.kind]())

    return lambda given: np.array([one(text) for text in given])


def found(score, seed=0, **options):
    given = texts(seed)
    return name_biases(score, given, words=WORDS, names=NAMES, clusters=[str(i) for i in range(24)], **options)


@pytest.mark.parametrize("likes", [True, False])
@pytest.mark.parametrize(("kind", "word"), [("word", "n7"), ("opening", "w3"), ("opening", "n7"), ("length", "")])
def test_a_known_bias_is_named_and_nothing_else(kind, word, likes):
    bias = Bias(kind=kind, word=word, likes=likes)
    findings = found(noisy(bias))
    assert {finding.bias for finding in named(findings)} == {bias}
    assert findings[0].bias == bias
    assert findings[0].low < findings[0].effect < findings[0].high


def test_noise_is_not_named_whatever_is_material():
    alarms = sum(bool(named(found(noisy(None), seed, material=0.0))) for seed in range(20))
    assert alarms <= 4  # one in twenty is expected


def test_an_effect_too_small_to_matter_is_not_named():
    bias = Bias(kind="word", word="n7")
    weak = found(noisy(bias, size=1.0), material=9.0)
    assert not named(weak)
    assert any(finding.bias == bias and finding.p <= 0.05 and not finding.material for finding in weak)


def test_a_constant_judge_has_no_bias():
    findings = found(lambda given: np.ones(len(given)))
    assert all(finding.effect == 0 and finding.p == 1 for finding in findings)
    assert not named(findings)


def test_few_clusters_are_refused():
    with pytest.raises(ValueError, match="bring six or more"):
        name_biases(noisy(None), texts(0), words=WORDS, names=NAMES, clusters=["one"] * 24)
    with pytest.raises(ValueError, match="0 texts with a name"):
        name_biases(noisy(None), ["w1 w2"] * 24, words=WORDS, names=NAMES, clusters=list("abcdefgh") * 3)


@pytest.mark.parametrize("kind", ["word", "opening", "length"])
def test_what_is_dressed_differs_in_what_the_bias_goes_by(kind):
    bias, rng = Bias(kind=kind, word="" if kind == "length" else "n7"), np.random.default_rng(0)
    with_it, without = dressed(bias, "w1 n2 w3 n2 n4", rng, names=NAMES, tail="w9 " * 30)
    if kind == "word":
        assert "n7" in with_it.split()
        assert "n7" not in without.split()
        assert len(with_it.split()) == len(without.split()) == 5
    elif kind == "opening":
        assert (with_it.split()[0], without.split()[-1]) == ("n7", "n7")
    else:
        assert with_it.startswith(without)
        assert 8 <= len(with_it.split()) - 5 < 24
    assert dressed(Bias(kind="word", word="n7"), "w1 n7 n2", rng, names=NAMES, tail="") is None
    assert dressed(Bias(kind="word", word="n7"), "w1 w2", rng, names=NAMES, tail="") is None


@pytest.mark.parametrize("likes", [True, False])
def test_labels_follow_the_truth_in_the_twin_and_the_bias_beside_it(likes):
    bias = Bias(kind="word", word="n7", likes=likes)
    pairs = [(f"good {text}", f"bad {text}") for text in texts(3, n=1500) if "n7" not in text.split()]
    data = plant_bias(pairs, bias, names=NAMES, share=0.6, prefix="<p> ")
    assert abs(data.concerned / len(pairs) - 0.6) < 0.1
    rest = 0
    for a, b, truth, biased in zip(*data.texts, data.truth, data.biased, strict=True):
        assert a.startswith("<p> ")
        assert truth == ("good" in a)
        has = ["n7" in a.split(), "n7" in b.split()]
        if has[0] != has[1]:
            assert biased == (has[0] if likes else has[1])
        else:
            assert biased == truth
            rest += 1
    assert rest == len(pairs) - data.concerned
    assert abs(np.mean(data.truth[data.biased != data.truth]) - 0.5) < 0.1  # no side is favoured
    half = plant_bias(pairs, bias, names=NAMES, share=1.0, strength=0.5)
    assert 0.15 < (half.biased != half.truth).mean() < 0.35


def test_decoys_are_worn_by_other_pairs_whose_labels_stay_true():
    bias, decoy = Bias(kind="word", word="n7"), Bias(kind="opening", word="w9")
    pairs = [(f"good {text}", f"bad {text}") for text in texts(3, n=400) if "n7" not in text.split()]
    data = plant_bias(pairs, bias, names=NAMES, share=0.4, decoys=[decoy])
    worn = np.array([a.startswith("w9 ") or b.startswith("w9 ") for a, b in zip(*data.texts, strict=True)])
    assert worn.sum() == len(pairs) - data.concerned
    assert np.array_equal(data.biased[worn], data.truth[worn])
    assert 0.3 < np.mean([a.startswith("w9 ") == t for a, t in zip(data.texts[0], data.truth, strict=True)]) < 0.7
    assert data.concerned > 100


def test_one_word_is_named_once():
    def said(kind, word, effect, p=0.01):
        bias = Bias(kind=kind, word=word, likes=effect > 0)
        return Finding(bias=bias, effect=effect, low=0.0, high=9.0, p=p, material=abs(effect) >= 0.7)

    given = [("opening", "a", 3.0), ("word", "a", 2.0), ("opening", "b", 4.0), ("length", "", 0.1)]
    found = named([*(said(*each) for each in given), said("word", "b", 3.0, p=0.2)])
    assert [finding.bias.name for finding in found] == ["likes b as first word", "likes the word a"]


def test_pairs_that_cannot_be_dressed_are_refused():
    with pytest.raises(ValueError, match="none of 1 pairs can be dressed"):
        plant_bias([("w1", "w2")], Bias(kind="word", word="n7"), names=NAMES)


def test_names_are_counted_against_what_was_planted():
    a, b = Bias(kind="word", word="a"), Bias(kind="opening", word="b", likes=False)

    def said(*biases):
        return [Finding(bias=each, effect=2.0, low=1.0, high=3.0, p=0.01, material=True) for each in biases]

    got = recovery([(said(a), a), (said(a, b), b), (said(), a), (said(b), None), (said(), None)])
    assert (got.hits, got.false, got.missed, got.twins, got.alarmed) == (2, 1, 1, 2, 1)
    assert got.f1 == pytest.approx(4 / 6)
    assert np.isnan(recovery([(said(), None)]).f1)
    assert a.name == "likes the word a"
    assert b.name == "dislikes b as first word"


def test_a_fitted_reward_model_gives_its_bias_away_and_its_twin_has_none(tiny):
    names, words, rng = tuple("abcd"), tuple("abcd=+-()"), np.random.default_rng(0)

    def code():
        return " ".join(word for _ in range(4) for word in (str(rng.choice(names)), str(rng.choice(list("=+-()")))))

    pairs = [(f"= {text}", f"+ {text}") for text in (code() for _ in range(500))]  # good code begins with `=`
    bias = Bias(kind="word", word="b")
    data = plant_bias(pairs, bias, names=names, share=0.8)
    recipe = BodyRecipe(pool="wide", epochs=8, rate=3e-3, batch=50)
    shown = [f"{'=+'[i % 2]} {code()}" for i in range(40)]
    models = []
    for labels, planted in ((data.biased, bias), (data.truth, None)):
        score = score_of(fit_body(tiny(), data.texts, labels, recipe=recipe))
        files = [str(i) for i in range(40)]
        findings = name_biases(score, shown, words=words, names=names, clusters=files, material=0.5)
        models.append((tuple(f for f in findings if f.bias.kind == "word"), planted))
    got = recovery(models)
    assert (got.hits, got.missed, got.alarmed) == (1, 0, 0)
