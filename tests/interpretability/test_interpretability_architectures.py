"""Units of every architecture are found, recorded and searched, and of one in bfloat16 as of one in float32."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from superalign.interpretability.corpora import text_corpus
from superalign.interpretability.record import record
from superalign.interpretability.reward_units import joined, pooled_reward
from superalign.interpretability.search import pooled
from superalign.interpretability.units import activations, heads, neurons
from superalign.models import LocalModel, RewardHead

MADE = runpy.run_path(str(Path(__file__).parents[1] / "models" / "conftest.py"))
NEURONS, HEADS = {"gpt2": 128, "bloom": 128}, 4
"""Of the factory's networks; 48 where nothing else is said."""
TEXTS = {f"document {i}": f"{text} {i} " * 3 for i, text in enumerate(MADE["SENTENCES"] * 6)}


def made(name: str, dtype: torch.dtype = torch.float32) -> LocalModel:
    tokenizer = MADE["tokenizer_of"](bos=name in MADE["WITH_BOS"], pad=name not in ("gpt2", "neox", "phi"))
    network = MADE["network_of"](name, words=len(tokenizer)).to(dtype)
    return LocalModel(name=name, network=network, tokenizer=tokenizer).sealed()


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, torch.float32) for name in MADE["ARCHITECTURES"]), ("llama", torch.bfloat16)]
)
def test_every_unit_is_recorded(name, dtype):
    model = made(name, dtype)
    sites = (*neurons(model), *heads(model))
    assert [site.units for site in sites] == [NEURONS.get(name, 48)] * 2 + [HEADS] * 2
    corpus = text_corpus(model, TEXTS)
    found = record(model, sites, corpus, seed=0)
    assert found.done.all()
    rows = corpus.rows("train")
    read = list(activations(model, sites, corpus.ids[rows], corpus.lengths[rows]))
    places = np.arange(corpus.ids.shape[1])
    counted = (places >= corpus.skip) & (places < corpus.lengths[rows][:, None])
    for site in sites:
        values = np.concatenate([batch[site.name] for batch in read])[counted]
        assert np.isfinite(values).all()
        assert values.std(0).min() > 0, f"{site.name}: a unit that never moves was not read"
        sketch = found.sketch(site.name, "train")
        assert int(sketch.tokens[0]) == int(counted.sum())
        np.testing.assert_allclose(sketch.high.values[:, 0], values.max(0), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", MADE["ARCHITECTURES"])
def test_network_and_reward_head_are_pooled_together(name):
    model = made(name)
    torch.manual_seed(0)
    model = LocalModel(name=name, network=model.network, tokenizer=model.tokenizer, head=RewardHead(model.width))
    texts = ["The judge reads.", "Who is who, and which answer is right?"]
    sites = (*neurons(model), *heads(model))
    both = joined(pooled(model, sites, texts), pooled_reward(model, texts))
    assert both.values.shape == (2, 2, len(both.names))
    assert np.isfinite(both.values).all()
    assert len(both.names) == sum(site.units for site in sites) + 64 * 3


def test_half_precision_reads_what_full_precision_does():
    full, half = made("llama"), made("llama", torch.bfloat16)
    corpus = text_corpus(full, TEXTS)
    read = [list(activations(each, neurons(each), corpus.ids, corpus.lengths)) for each in (full, half)]
    inside = np.arange(corpus.ids.shape[1]) < corpus.lengths[:, None]
    for site in neurons(full):
        one, two = (np.concatenate([batch[site.name] for batch in some])[inside] for some in read)
        assert one.dtype == two.dtype == np.float32
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.99
