"""Probes find what is there, in every family; control tasks and words that state the label find nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from superalign.interpretability.aggregation import States, aggregate, token_states
from superalign.interpretability.probe import (
    FAMILIES,
    control_labels,
    fit_probe,
    probe_scores,
    train_probe,
)
from superalign.interpretability.probe_fit import L2
from superalign.stats import auroc

POOLED = ("logistic", "mean-difference", "whitened")


def drawn(seed, n=240, length=7, width=8, *, everywhere=1.0, somewhere=0.0, correlated=0.0):
    """States whose labels show in feature 3 of every token, or of one token of each text."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    values = rng.normal(size=(n, length, width)).astype(np.float32)
    values[:, :, 4] += correlated * rng.normal(size=(n, 1))
    values[:, :, 3] += everywhere * labels[:, None] + values[:, :, 4] * (correlated > 0)
    values[np.arange(n), rng.integers(1, length - 2, n), 3] += somewhere * labels
    mask = np.arange(length) < rng.integers(length - 1, length + 1, n)[:, None]
    mask[:, 0] = False
    values[:, 0] = 50 * rng.normal(size=(n, width))  # what does not count may say anything
    return States(values=values, mask=mask, layer=1, skip=1, hidden=()), labels


def area(probe, states, labels):
    return auroc(probe.of(states), labels).value


@pytest.mark.parametrize(
    ("pool", "expected"),
    [("mean", 2.0), ("max", 3.0), ("last", 3.0), ("multimax", 3.0), ("attention", (1 + 3 * np.e) / (1 + np.e))],
)
def test_each_pool_on_one_text(pool, expected):
    scores = np.array([[[9.0], [1.0], [3.0], [-7.0]]])
    mask = np.array([[False, True, True, False]])
    keys = np.array([[[99.0], [0.0], [1.0], [99.0]]])
    assert aggregate(scores, mask, pool, keys) == pytest.approx([expected])


def test_heads_add_up_and_attention_needs_keys():
    scores = np.array([[[1.0, -1.0], [3.0, -5.0]]])
    assert aggregate(scores, np.ones((1, 2), dtype=bool), "multimax") == pytest.approx([2.0])
    with pytest.raises(ValueError, match="attention with keys"):
        aggregate(scores, np.ones((1, 2), dtype=bool), "attention")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_reads_a_planted_direction(family):
    train, dev, test = (drawn(seed) for seed in range(3))
    probe = train_probe(*train, *dev, family=family)
    assert area(probe, *test) > (0.8 if family == "multimax" else 0.9)  # a maximum sees one token of many
    rng = np.random.default_rng(9)
    noise = train_probe(train[0], rng.integers(0, 2, 240), dev[0], rng.integers(0, 2, 240), family=family)
    assert 0.3 < area(noise, test[0], rng.integers(0, 2, 240)) < 0.7


def test_one_telling_token_is_diluted_by_a_mean_and_not_by_a_maximum():
    kinds = {"everywhere": 0.0, "somewhere": 5.0, "length": 30}
    train, dev, test = (drawn(seed, **kinds) for seed in range(3))
    mean = area(train_probe(*train, *dev, family="logistic"), *test)
    for family, pool in (("multimax", "multimax"), ("token", "max")):
        assert area(train_probe(*train, *dev, family=family, pool=pool), *test) > max(0.9, mean + 0.05)


def test_whitening_takes_out_what_varies_in_both_classes():
    train, dev, test = (drawn(seed, everywhere=0.7, correlated=4.0) for seed in range(3))
    plain, white = (area(train_probe(*train, *dev, family=f), *test) for f in ("mean-difference", "whitened"))
    assert white > plain + 0.1


def test_the_penalty_is_the_best_on_dev():
    train, dev, test = (drawn(seed, n=40, width=30, everywhere=0.4) for seed in range(3))
    chosen = train_probe(*train, *dev)
    assert chosen.l2 in L2
    other_dev = train_probe(*train, *test)
    assert area(chosen, *dev) >= area(other_dev, *dev)
    assert area(other_dev, *test) >= area(chosen, *test)


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_scores_are_the_line_on_pooled_states(tiny, pool):
    model = tiny()
    texts = [f"{a} {b} = {c}" for a in "abcd" for b in "abcd" for c in "ab"]
    labels = np.array([text.endswith("a") for text in texts]).astype(int)
    states = token_states(model, texts, layer=2, skip=1)
    probe = train_probe(states, labels, states, labels, pool=pool)
    first = model.hidden(texts[:1], layer=2)[0][1:]
    pooled = first.mean(0) if pool == "mean" else first[-1]
    assert probe.scores(model, texts)[0] == pytest.approx(float(pooled @ probe.values[0]) + probe.offset, abs=1e-4)
    assert probe.digest != replace(probe, offset=probe.offset + 1).digest


def test_transitions_are_the_state_before_times_the_embedding(tiny):
    model, texts = tiny(), ["a b = c", "d"]
    states = token_states(model, texts, layer=2, transitions=True)
    own = model.hidden(texts, layer=2)
    embedding = model.network.get_input_embeddings().weight.detach().numpy()
    ids = model.encode(texts)[0]
    assert states.values.shape == (2, 6, 32)
    assert states.values[0, :, :16] == pytest.approx(own[0], abs=1e-5)
    assert states.values[0, 3, 16:] == pytest.approx(4 * own[0][2] * embedding[ids[3]], abs=1e-4)
    assert not states.values[:, 0, 16:].any()
    labels = np.array([0, 1])
    probe = train_probe(states, labels, states, labels)
    assert probe.transitions
    assert probe.scores(model, texts) == pytest.approx(probe.of(states))


def test_words_that_state_the_label_are_read_and_never_scored(tiny):
    model = tiny()
    states = token_states(model, ["a b c", "c d"], layer=1, skip=1, hidden=("b", "nowhere"))
    assert states.mask.tolist() == [[False, True, False, True, True], [False, True, True, True, False]]
    with pytest.raises(ValueError, match=r"text 0 .* no token that counts"):
        token_states(model, ["a"], layer=1, skip=3)


def test_what_cannot_be_read_or_fitted_is_refused(tiny):
    model, (states, labels) = tiny(), drawn(0, n=20)
    with pytest.raises(ValueError, match="no layer 5"):
        token_states(model, ["a"], layer=5)
    with pytest.raises(ValueError, match="no texts"):
        token_states(model, [], layer=1)
    with pytest.raises(ValueError, match="both 0 and 1"):
        train_probe(states, np.ones(20), states, labels)
    with pytest.raises(ValueError, match="one of logistic"):
        train_probe(states, labels, states, labels, family="svm")
    for family in POOLED:
        with pytest.raises(ValueError, match="`token` takes the maximum"):
            train_probe(states, labels, states, labels, family=family, pool="max")
    with pytest.raises(ValueError, match="fitted on layer 1, width 8"):
        train_probe(states, labels, states, labels).of(token_states(model, ["a"], layer=1))
    with torch.no_grad():
        model.network.transformer.h[0].mlp.c_fc.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not all finite"):
        token_states(model, ["a"], layer=1)


def test_features_that_never_vary_do_no_harm():
    train, dev, test = (drawn(seed) for seed in range(3))
    for states, _ in (train, dev, test):
        states.values[:, :, 0] = 0.25
    for family in ("logistic", "whitened", "multimax"):
        assert area(train_probe(*train, *dev, family=family), *test) > 0.8


def test_probe_reads_a_planted_direction_and_not_noise():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    x = rng.normal(size=(600, 20))
    x[:, 3] += 2 * labels
    fitted = fit_probe(x[:300], labels[:300], layer=1)
    right = ((probe_scores(fitted, x[300:]) > 0) == labels[300:]).mean()
    assert right > 0.75
    noise = fit_probe(x[:300], rng.integers(0, 2, 300), layer=1)
    assert 0.35 < ((probe_scores(noise, x[300:]) > 0) == labels[300:]).mean() < 0.65


def test_control_labels_are_a_function_of_the_opening():
    texts = ["<a> <b> x y z one", "<a> <b> x y z two", "<a> <b> p q r one"]
    found = control_labels(["c"] * 3, texts, seed=0)
    assert found[0] == found[1]
    assert set(found) <= {0, 1}
