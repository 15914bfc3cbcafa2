"""Recording finds what brute force finds, to the bit whatever the shards, workers and interruptions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from superalign.interpretability import record as module
from superalign.interpretability import streaming
from superalign.interpretability.corpus import SPLITS, Corpus, Split, packed
from superalign.interpretability.reader import Reader, blocks_of, keys_of
from superalign.interpretability.record import record
from superalign.interpretability.recording import Recording
from superalign.interpretability.sketch import COMPACT, LARGEST, Scope
from superalign.interpretability.units import Site, activations, body_of, directions, heads, neurons
from superalign.models import LocalModel

SCOPE = Scope(top=5, window=8, strata=3, signs=64, every=2, sample=20, block=2)


def corpus_of(documents: int = 30, *, seed: int = 0, classes: bool = False, most: int = 40) -> Corpus:
    rng = np.random.default_rng(seed)
    texts = {
        f"d{i}": [[1, *rng.integers(4, 13, rng.integers(3, 23)).tolist()] for _ in range(rng.integers(5, most))]
        for i in range(documents)
    }
    told = {name: [int(rng.integers(-1, 2)) for _ in rows] for name, rows in texts.items()} if classes else None
    return packed(texts, length=24, pad=0, skip=1, classes=told)


def all_sites(model: LocalModel) -> tuple[Site, ...]:
    rows = np.random.default_rng(1).normal(size=(3, model.width))
    return (*neurons(model), *heads(model), directions(model, 1, rows))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOB", 2)
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)


@pytest.fixture
def little_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sequences of a site of 64 units at a time."""
    monkeypatch.setattr(streaming, "CACHED", 20_000)


def brute(model: LocalModel, sites: tuple[Site, ...], corpus: Corpus, split: Split) -> dict[str, np.ndarray]:
    """All activations of a split, in the recording's own batches."""
    rows = corpus.rows(split)
    read = list(activations(model, sites, corpus.ids[rows], corpus.lengths[rows]))
    return {site.name: np.concatenate([batch[site.name] for batch in read]) for site in sites}


@pytest.mark.usefixtures("little_cache")
def test_it_finds_what_brute_force_finds(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of(classes=True)
    sites = all_sites(model)
    found = record(model, sites, corpus, seed=0, scope=SCOPE)
    assert found.complete
    for split, site in itertools.product(("train", "test"), sites):
        rows = corpus.rows(split)  # type: ignore[arg-type]
        values, counted = brute(model, (site,), corpus, split)[site.name], corpus.counted(rows)  # type: ignore[arg-type]
        sketch, flat = found.sketch(site.name, split), values[counted]  # type: ignore[arg-type]
        assert sketch.tokens[0] == len(flat)
        np.testing.assert_allclose(sketch.mean, flat.mean(axis=0, dtype=float), atol=2e-6)
        np.testing.assert_allclose(sketch.variance, flat.var(axis=0, dtype=float), rtol=1e-5)
        thin = Reader(model=model, sites=sites, corpus=corpus, seed=0, scope=SCOPE).thinned[rows]
        some = values[thin][counted[thin]].astype(float)
        away = (some - some.mean(axis=0)) / some.std(axis=0)
        assert sketch.tokens[1] == len(some)
        np.testing.assert_allclose(sketch.skewness, (away**3).mean(axis=0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(sketch.kurtosis, (away**4).mean(axis=0), rtol=1e-3)
        assert sketch.histogram is not None
        assert (sketch.histogram.sum(axis=(0, 2)) == len(some)).all()
        for word in (4, 9):
            own = values[counted & (corpus.ids[rows] == word)]
            np.testing.assert_allclose(sketch.token_means()[word], own.mean(axis=0), rtol=1e-4, atol=1e-5)
        labels = corpus.classes[rows] if corpus.classes is not None else rows
        for label in (0, 1):
            own = values[counted & (labels == label)[:, None]]
            np.testing.assert_allclose(sketch.class_means()[0][label], own.mean(axis=0, dtype=float), atol=1e-5)
            np.testing.assert_allclose(sketch.class_means()[1][label], own.var(axis=0, dtype=float), rtol=1e-4)


@pytest.mark.usefixtures("little_cache")
def test_extremes_are_bit_equal_to_brute_force_with_their_windows(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of()
    sites = all_sites(model)
    found = record(model, sites, corpus, seed=0, scope=SCOPE)
    rows, read = corpus.rows("train"), brute(model, sites, corpus, "train")
    counted = corpus.counted(rows)
    for site, sign in itertools.product(sites, (1, -1)):
        values = np.where(counted[..., None], read[site.name], np.nan)
        best = np.nanmax(sign * values, axis=1)
        top = found.sketch(site.name, "train").high if sign > 0 else found.sketch(site.name, "train").low
        assert top is not None
        assert top.windows is not None
        starts = top.starts(corpus.length)
        for unit in range(site.units):
            order = np.lexsort((rows, -best[:, unit]))[: SCOPE.top]
            assert top.rows[unit].tolist() == rows[order].tolist()
            np.testing.assert_array_equal(top.values[unit], sign * best[order, unit])
            assert top.places[unit].tolist() == np.nanargmax(sign * values[order, :, unit], axis=1).tolist()
            for i, at in enumerate(order):
                own = values[at, starts[unit, i] : starts[unit, i] + SCOPE.window, unit]
                np.testing.assert_array_equal(top.windows[unit, i], own.astype(np.float16))


@pytest.mark.usefixtures("little_cache")
def test_samples_are_drawn_by_priority_inside_each_octave(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of()
    site = neurons(model)[1]
    found = record(model, (site,), corpus, seed=3, scope=SCOPE)
    ranks = keys_of(corpus, 3) >> np.uint64(32)
    for split in SPLITS:
        rows = corpus.rows(split)
        assert set(found.sample[split]) == set(rows[np.argsort(ranks[rows])[: SCOPE.sample]])
        strata = found.sketch(site.name, split).strata
        assert strata is not None
        values = np.where(corpus.counted(rows)[..., None], brute(model, (site,), corpus, split)[site.name], -np.inf)
        best, scale = values.max(axis=1), found.sketch(site.name, split).scales
        octave = np.where(best > 0, np.clip(np.floor(np.log2(np.maximum(best, 1e-30))) - scale + 6, 0, 9), 0)
        for unit, stratum in itertools.product(range(0, site.units, 7), range(10)):
            own = rows[octave[:, unit] == stratum]
            kept = strata.rows[unit, stratum]
            assert kept[kept >= 0].tolist() == own[np.argsort(ranks[own])][: SCOPE.strata].tolist()


def test_a_priority_depends_on_seed_document_and_number_alone() -> None:
    many, few = corpus_of(30), corpus_of(20)
    name = {(many.names[d], i): k for d, i, k in _numbered(many, keys_of(many, 0))}
    assert all(name[few.names[d], i] == k for d, i, k in _numbered(few, keys_of(few, 0)))
    assert not (keys_of(many, 0) == keys_of(many, 1)).any()
    assert len(set(keys_of(many, 0).tolist())) == len(many)


def _numbered(corpus: Corpus, keys: np.ndarray) -> Iterator[tuple[int, int, int]]:
    seen: dict[int, int] = {}
    for document, key in zip(corpus.documents.tolist(), keys.tolist(), strict=True):
        yield document, seen.setdefault(document, 0), key
        seen[document] += 1


def test_shards_make_the_same_bits_in_any_order(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of(classes=True)
    sites = all_sites(model)
    one = record(model, sites, corpus, seed=0, scope=SCOPE)
    shards = [record(model, sites, corpus, seed=0, scope=SCOPE, shard=(i, 3)) for i in range(3)]
    assert not any(shard.complete for shard in shards)
    for order in ((0, 1, 2), (2, 0, 1)):
        assert Recording.merged([shards[i] for i in order]).digest == one.digest
    assert len({one.digest, *(shard.digest for shard in shards)}) == 4
    assert record(model, sites, corpus, seed=1, scope=SCOPE).digest != one.digest
    with pytest.raises(ValueError, match="differ in plan or share blocks"):
        Recording.merged([shards[0], shards[0]])


def test_a_stopped_run_goes_on_to_the_same_bits(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model, corpus = tiny(), corpus_of()
    sites = all_sites(model)
    undisturbed = record(model, sites, corpus, seed=0, scope=SCOPE)

    class Killed(Exception):
        pass

    def stop_after(jobs: int) -> Callable[[int], None]:
        left = itertools.count(jobs - 1, -1)

        def progress(sequences: int) -> None:
            if next(left) == 0:
                raise Killed

        return progress

    for stop in (1, 2):
        with pytest.raises(Killed):
            record(model, sites, corpus, seed=0, scope=SCOPE, folder=tmp_path, progress=stop_after(stop))
    assert 0 < Recording.load(tmp_path / module.STATE).done.sum() < len(undisturbed.done)
    read: list[int] = []
    resumed = record(model, sites, corpus, seed=0, scope=SCOPE, folder=tmp_path, progress=read.append)
    assert resumed.digest == undisturbed.digest
    assert 0 < sum(read) < len(corpus)
    again: list[int] = []
    assert record(model, sites, corpus, seed=0, scope=SCOPE, folder=tmp_path, progress=again.append).complete
    assert again == []
    with pytest.raises(ValueError, match=r"holds a recording of .* give another folder"):
        record(model, sites, corpus, seed=1, scope=SCOPE, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [module.STATE]


def test_workers_make_the_same_bits(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of()
    sites, read = all_sites(model), list[int]()
    one = record(model, sites, corpus, seed=0, scope=SCOPE)
    two = record(model, sites, corpus, seed=0, scope=SCOPE, workers=2, progress=read.append)
    assert two.digest == one.digest
    assert sum(read) == len(corpus)


def test_no_split_sees_another(tiny: Callable[..., Any]) -> None:
    """Other test documents change nothing that is kept of train."""
    model, corpus = tiny(), corpus_of()
    rows = corpus.rows("test")
    ids = corpus.ids.copy()
    ids[rows, 1:] = np.where(ids[rows, 1:] == 0, 0, 4)
    changed = Corpus(**{name: getattr(corpus, name) for name in corpus.__dataclass_fields__} | {"ids": ids})
    one, other = (record(model, neurons(model), each, seed=0, scope=SCOPE) for each in (corpus, changed))
    for split in SPLITS:
        same = [np.array_equal(one.sketch("neurons 0", split).sums, other.sketch("neurons 0", split).sums)]
        assert same == [split != "test"]


def poisoned(model: LocalModel) -> None:
    """Unit 3 of the first block's neurons is always 0, unit 5 always NaN, unit 7 NaN at the token d, 9 infinite."""
    body: Any = body_of(model)
    act = body.h[0].mlp.act

    class Poison(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = act(x).clone()
            found[..., 3] = 0
            found[..., 5] = torch.nan
            found[..., 7] = torch.where(found[..., 7] > 0.1, torch.nan, found[..., 7])
            found[..., 9] = torch.where(found[..., 9] > 0.1, torch.inf, found[..., 9])
            found[..., 11] = torch.where(found[..., 11] > 0.1, -2 * LARGEST, found[..., 11])
            return found

    body.h[0].mlp.act = Poison()


@pytest.mark.usefixtures("little_cache")
def test_nan_infinite_and_dead_units_poison_nothing(tiny: Callable[..., Any]) -> None:
    sound, sick, corpus = tiny(), tiny(), corpus_of(classes=True)
    poisoned(sick)
    site = neurons(sound)[:1]
    plain = record(sound, site, corpus, seed=0, scope=SCOPE).sketch("neurons 0", "train")
    found = record(sick, site, corpus, seed=0, scope=SCOPE).sketch("neurons 0", "train")
    well = [unit for unit in range(64) if unit not in (3, 5, 7, 9, 11)]
    np.testing.assert_allclose(found.mean[well], plain.mean[well], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found.high.rows[well], plain.high.rows[well])
    np.testing.assert_array_equal(found.histogram[:, well], plain.histogram[:, well])  # type: ignore[index]
    assert (found.odd[:, well] == 0).all()

    rows, read = corpus.rows("train"), brute(sick, site, corpus, "train")["neurons 0"]
    counted = corpus.counted(rows)
    for unit in (7, 9, 11):
        fine = counted & (np.abs(read[..., unit]) <= LARGEST)
        assert found.odd[0, unit] == (counted & ~fine).sum() > 0
        assert found.mean[unit] == pytest.approx(read[..., unit][fine].mean(), rel=1e-5)
        best = np.where(fine, read[..., unit], -np.inf).max(axis=1)
        order = np.lexsort((rows, -best))[: SCOPE.top]
        assert found.high.rows[unit].tolist() == rows[order].tolist()
        assert (found.high.windows[unit] == best[order, None].astype(np.float16)).any(axis=1).all()  # type: ignore[index]
    assert (found.odd[0, 5], found.counts[5]) == (found.tokens[0], 0)
    assert np.isnan(found.mean[5])
    assert np.isnan(found.quantile(0.5)[5])
    assert (found.high.rows[5] == -1).all()
    assert (found.mean[3], found.variance[3]) == (0, 0)
    assert np.isnan(found.kurtosis[3])
    assert (found.high.rows[3] == rows[: SCOPE.top]).all()


def test_ties_are_settled_by_number_whatever_the_order(tiny: Callable[..., Any]) -> None:
    """One text over and over: every sequence ties with every other."""
    model = tiny()
    corpus = packed({f"d{i}": [[1, 4, 5, 6]] * 9 for i in range(30)}, length=24, pad=0, skip=1)
    one = record(model, neurons(model), corpus, seed=0, scope=SCOPE)
    shards = [record(model, neurons(model), corpus, seed=0, scope=SCOPE, shard=(i, 2)) for i in (1, 0)]
    assert Recording.merged(shards).digest == one.digest
    first = corpus.rows("train")[: SCOPE.top]
    assert (one.sketch("neurons 0", "train").high.rows == first).all()


def test_correlations_are_estimated_and_a_copy_is_found(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of(60)
    body: Any = body_of(model)
    with torch.no_grad():
        for part in (body.h[1].mlp.c_fc.weight, body.h[1].mlp.c_fc.bias):
            part[..., 8] = part[..., 2]
    sites = all_sites(model)
    found = record(model, sites, corpus, seed=0, scope=Scope(signs=256, every=1))
    nearest = found.correlations("neurons 1", 2, 5)
    assert (nearest[0].site, nearest[0].unit) == ("neurons 1", 8)
    assert nearest[0].correlation == pytest.approx(1)
    read, counted = brute(model, sites, corpus, "train"), corpus.counted(corpus.rows("train"))
    exact = np.corrcoef(read["neurons 1"][counted].T)
    signs = found.sketch("neurons 1", "train").centred_signs()
    estimate = np.corrcoef(signs.T)
    assert np.sqrt(np.mean((estimate - exact)[np.triu_indices(64, 1)] ** 2)) < 1.5 / np.sqrt(256)
    assert {each.site for each in found.correlations("heads 0", 0, 200)} == {site.name for site in sites}
    with pytest.raises(ValueError, match=r"unit 64 of 'neurons 1', which has 64"):
        found.correlations("neurons 1", 64, 5)


def test_what_is_saved_is_loaded_and_nothing_is_unpickled(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model, corpus = tiny(), corpus_of()
    found = record(model, all_sites(model), corpus, seed=0, scope=SCOPE)
    found.save(tmp_path / "one")
    loaded = Recording.load(tmp_path / "one")
    assert loaded.digest == found.digest
    np.testing.assert_array_equal(loaded.sites[-1].directions, found.sites[-1].directions)
    loaded.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with safe_open(tmp_path / "one", framework="np") as file:
        largest = max(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118
    assert largest < corpus.counted(np.arange(len(corpus))).sum() * 64  # no activations are kept
    (tmp_path / "broken").write_bytes((tmp_path / "one").read_bytes()[:2_000])
    with pytest.raises(ValueError, match="no recording, or broken"):
        Recording.load(tmp_path / "broken")
    with pytest.raises(ValueError, match="'heads 7' on 'train' was not recorded; there are neurons 0"):
        found.sketch("heads 7", "train")


def test_bfloat16_and_a_compact_scope(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of()
    model.network.to(torch.bfloat16)
    found = record(model, all_sites(model), corpus, seed=0, scope=COMPACT).sketch("neurons 1", "train")
    values = brute(model, neurons(model), corpus, "train")["neurons 1"]
    counted = corpus.counted(corpus.rows("train"))
    np.testing.assert_allclose(found.mean, values[counted].mean(axis=0), atol=1e-5)
    best = np.where(counted[..., None], values, -np.inf).max(axis=1)
    np.testing.assert_array_equal(found.high.values[:, 0], best.max(axis=0))
    assert (found.low, found.high.windows, found.table, found.strata) == (None, None, None, None)


def test_each_block_holds_one_split_and_all_are_read_once() -> None:
    corpus = corpus_of()
    grid = blocks_of(corpus, SCOPE)
    rows = np.concatenate([np.arange(block.first, block.last) for block in grid])
    assert rows.tolist() == list(range(len(corpus)))
    assert all((corpus.splits[b.first : b.last] == SPLITS.index(b.split)).all() for b in grid)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sites": ()}, "sites none: name at least one"),
        ({"sites": "twice"}, "each once; `tag` tells two apart"),
        ({"shard": (3, 3)}, "shard 3 of 3: count shards from 0"),
        ({"corpus": packed({f"d{i}": [[5] * 40] for i in range(40)}, length=40, pad=0)}, "up to 40 tokens.* reads 24"),
        ({"corpus": packed({f"d{i}": [[99] * 4] for i in range(40)}, length=4, pad=0)}, "token 99 .* knows 13"),
    ],
)
def test_bad_input_is_named(tiny: Callable[..., Any], change: dict[str, Any], message: str) -> None:
    model = tiny()
    if change.get("sites") == "twice":
        change = {"sites": neurons(model) * 2}
    given = {"sites": neurons(model), "corpus": corpus_of(), "seed": 0, "scope": SCOPE} | change
    with pytest.raises(ValueError, match=message):
        record(model, given.pop("sites"), given.pop("corpus"), **given)
