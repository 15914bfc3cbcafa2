"""One reading of a batch adds up what counts and nothing else, and a pass ends where the last site was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from superalign.interpretability import streaming
from superalign.interpretability.batches import Bags, add_squares, extreme, powers
from superalign.interpretability.corpus import Corpus, packed
from superalign.interpretability.reader import Job, Reader, blocks_of
from superalign.interpretability.sketch import COMPACT, Scope
from superalign.interpretability.streaming import places_of
from superalign.interpretability.units import activations, body_of, heads, neurons

SCOPE = Scope(top=4, window=8, strata=2, signs=16, every=2, block=1)


def corpus_of(skip: int) -> Corpus:
    rng = np.random.default_rng(3)
    texts = {f"d{i}": [[1, *rng.integers(4, 13, rng.integers(3, 20)).tolist()] for _ in range(9)] for i in range(30)}
    return packed(texts, length=20, pad=0, skip=skip)


def test_bags_add_up_each_words_values() -> None:
    rng = np.random.default_rng(0)
    words, counted = rng.integers(0, 7, (5, 9)), rng.random((5, 9)) < 0.6
    words[counted & (words == 3)] = 4  # a word that occurs only where nothing counts
    words[0, 0], counted[0, 0] = 3, False
    values = torch.from_numpy(rng.normal(size=(45, 6)).astype(np.float32))
    bags = Bags.of(words, counted)
    sums = torch.nn.functional.embedding_bag(bags.order, values, bags.begins, mode="sum").numpy()
    assert bags.words.tolist() == sorted(set(words[counted].tolist()))
    for word, found in zip(bags.words.tolist(), sums, strict=True):
        mine = (words.ravel() == word) & counted.ravel()
        np.testing.assert_allclose(found, values.numpy()[mine].sum(axis=0), rtol=1e-5, atol=1e-6)


def test_places_are_those_of_nonzero() -> None:
    for share in (0, 0.1, 1):
        mask = np.random.default_rng(1).random((8, 33)) < share
        for mine, its in zip(places_of(mask), np.nonzero(mask), strict=True):
            np.testing.assert_array_equal(mine, its)


def test_powers_are_those_of_the_values() -> None:
    values = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for power, found in enumerate(powers(values), start=1):
        torch.testing.assert_close(found, (values**power).sum(dim=0))


@pytest.mark.parametrize("skip", [0, 2])
def test_squares_and_extremes_leave_out_what_does_not_count(tiny: Callable[..., Any], skip: int) -> None:
    model, corpus = tiny(), corpus_of(skip)
    reader = Reader(model=model, sites=neurons(model), corpus=corpus, seed=0, scope=SCOPE)
    batch = reader.batch(corpus.rows("train")[:11])
    assert batch.short
    shape = (*batch.counted.shape, 5)
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values[~torch.from_numpy(batch.counted)] = torch.nan  # read once, it would show
    squares = torch.zeros(4, *shape[1:])
    for first in range(0, 11, 4):
        add_squares(squares, values[first : first + 4], batch, first)
    kept = values.numpy()[batch.counted]
    np.testing.assert_allclose(squares.sum(dim=(0, 1)).numpy(), (kept**2).sum(axis=0), rtol=1e-5)
    for sign, whole in ((1, values[:, skip:].amax(dim=1)), (-1, values[:, skip:].amin(dim=1))):
        best = np.where(batch.counted[..., None], sign * values.numpy(), -np.inf).max(axis=1)
        np.testing.assert_array_equal(extreme(whole, values, batch, sign), best)


@pytest.mark.parametrize("scope", [SCOPE, COMPACT], ids=["all", "compact"])
@pytest.mark.parametrize("cached", [1, 20_000, 1 << 30])
def test_sums_are_those_of_brute_force_without_classes(
    tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, cached: int, scope: Scope
) -> None:
    monkeypatch.setattr(streaming, "CACHED", cached)
    model, corpus = tiny(), corpus_of(1)
    site = neurons(model)[-1]
    reader = Reader(model=model, sites=(site,), corpus=corpus, seed=0, scope=scope)
    wanted = tuple(i for i, block in enumerate(blocks_of(corpus, scope)) if block.split == "train")
    found, rows = reader.read(Job("train", wanted))[site.name], corpus.rows("train")
    read = activations(model, (site,), corpus.ids[rows], corpus.lengths[rows])
    values, counted = np.concatenate([each[site.name] for each in read]), corpus.counted(rows)
    kept = values[counted].astype(float)
    # sums of single precision, in an order that processors choose: some roundings apart, no value is missing
    np.testing.assert_allclose(found.mean, kept.mean(axis=0), rtol=1e-6, atol=2e-7)
    np.testing.assert_allclose(found.variance, kept.var(axis=0), rtol=2e-6)
    if scope.table:
        words = corpus.ids[rows][counted]
        for word in np.unique(words):
            np.testing.assert_allclose(found.token_means()[word], kept[words == word].mean(axis=0), atol=1e-6)


def test_a_pass_ends_where_the_last_site_was_read(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of(1)
    early, late = neurons(model)[0], neurons(model)[-1]
    passed: list[bool] = []
    handle = body_of(model).get_submodule(late.module).register_forward_hook(lambda *_: passed.append(True))
    found = {}
    for sites in ((early,), (late, early), (early, *heads(model)), (late,)):
        reader = Reader(model=model, sites=sites, corpus=corpus, seed=0, scope=SCOPE)
        read = reader.read(Job("train", (0,)))
        assert set(read) == {site.name for site in sites}
        found |= {(len(sites), name): sketch for name, sketch in read.items()}
    handle.remove()
    assert not passed  # the last projection is never made, as what enters it was the last to be read
    np.testing.assert_array_equal(found[1, early.name].sums, found[2, early.name].sums)
