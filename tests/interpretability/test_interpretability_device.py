"""What is recorded beside the network, with the GPU's code on CPU tensors, is what the CPU's own code records."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from superalign.interpretability import extremes_device, streaming_device
from superalign.interpretability import record as module
from superalign.interpretability.corpus import SPLITS, Corpus, packed
from superalign.interpretability.device import Compact
from superalign.interpretability.extremes import empty_top, merged_top
from superalign.interpretability.extremes_device import NOTHING, DeviceTop, gate_key, key_of, value_of_key
from superalign.interpretability.reader import Reader, blocks_of
from superalign.interpretability.record import record
from superalign.interpretability.recording import Recording
from superalign.interpretability.sketch import COMPACT, LARGEST, Scope, Sketch
from superalign.interpretability.units import Site, body_of, directions, heads, neurons
from superalign.models import LocalModel

SCOPE = Scope(top=5, window=8, strata=3, signs=64, every=2, sample=20, block=2)


def corpus_of(*, seed: int = 0, skip: int = 1, same: bool = False, classes: bool = True, most: int = 25) -> Corpus:
    rng = np.random.default_rng(seed)
    ends = (21, 22) if same else (2 + skip, 22)
    texts = {
        f"d{i}": [[1, *rng.integers(4, 13, rng.integers(*ends)).tolist()] for _ in range(rng.integers(5, most))]
        for i in range(30)
    }
    told = {name: [int(rng.integers(-1, 2)) for _ in rows] for name, rows in texts.items()} if classes else None
    return packed(texts, length=24, pad=0, skip=skip, classes=told)


def all_sites(model: LocalModel) -> tuple[Site, ...]:
    rng = np.random.default_rng(1)
    narrow, wide = (rng.normal(size=(n, model.width)) for n in (3, 40))
    return (*neurons(model), *heads(model), directions(model, 1, narrow), directions(model, 0, wide, tag="wide"))


@pytest.fixture(autouse=True)
def small_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several jobs a split, several pieces of a batch."""
    monkeypatch.setattr(module, "RESIDENT_JOB", 2)
    monkeypatch.setattr(extremes_device, "LINES", 50)
    monkeypatch.setattr(streaming_device, "LINES", 50)
    monkeypatch.setattr(streaming_device, "THIN", 100)


def both(
    model: LocalModel, sites: tuple[Site, ...], corpus: Corpus, scope: Scope = SCOPE, **told: Any
) -> tuple[Recording, Recording]:
    """Recorded by the CPU's code, and by the device's."""
    here, there = (record(model, sites, corpus, seed=0, scope=scope, resident=r, **told) for r in (False, True))
    assert here.plan == there.plan
    assert here.complete == there.complete
    return here, there


def assert_same(one: Sketch, other: Sketch, *, rtol: float = 1e-5) -> None:
    """All that is counted or chosen is equal; sums are to rounding, relative to the unit's size."""
    for name in ("tokens", "odd", "scales", "histogram", "table_counts", "sign_counts", "class_tokens", "class_odd"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("high", "low", "strata"):
        mine, its = getattr(one, name), getattr(other, name)
        assert (mine is None) == (its is None)
        for part in ("values", "rows", "places", "windows", "ranks"):
            if getattr(mine, part, None) is not None:
                np.testing.assert_array_equal(getattr(mine, part), getattr(its, part), err_msg=f"{name}.{part}")
    size = np.sqrt(np.nan_to_num(one.mean**2 + one.variance)) + 1e-12
    np.testing.assert_allclose(other.mean / size, one.mean / size, atol=rtol)
    np.testing.assert_allclose(other.variance / size**2, one.variance / size**2, atol=rtol)
    if len(one.sums) > 2:
        np.testing.assert_allclose(other.skewness, one.skewness, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(other.kurtosis, one.kurtosis, rtol=2e-3, atol=1e-3)
    if one.table is not None and other.table is not None:
        few = 4 + np.abs(one.table) * 2.0**-20  # float32 sums over a block, in units of 2⁻²⁴
        assert (np.abs(one.table - other.table) <= few + 2.0**24 * 1e-5 * size).all()
    if one.signs is not None and other.signs is not None:
        assert (np.abs(one.signs - other.signs) <= 2).all()
    if one.class_sums is not None:
        for mine, its, by in zip(one.class_means(), other.class_means(), (size, size**2), strict=True):
            np.testing.assert_allclose(its / by, mine / by, atol=rtol)


def assert_alike(one: Recording, other: Recording, **told: Any) -> None:
    assert one.sketches.keys() == other.sketches.keys()
    for key, sketch in one.sketches.items():
        assert_same(sketch, other.sketches[key], **told)
    for split in SPLITS:
        np.testing.assert_array_equal(one.sample[split], other.sample[split])


@pytest.mark.parametrize("scope", [SCOPE, COMPACT, replace(SCOPE, low=False, table=False), replace(SCOPE, signs=0)])
def test_it_records_what_the_cpu_records(tiny: Callable[..., Any], scope: Scope) -> None:
    model = tiny()
    assert_alike(*both(model, all_sites(model), corpus_of(), replace(scope, block=2, every=2)))


@pytest.mark.parametrize(
    "told", [{"skip": 0}, {"skip": 5}, {"same": True}, {"classes": False}, {"skip": 0, "same": True, "classes": False}]
)
def test_heads_of_sequences_and_short_ones_count_as_on_the_cpu(tiny: Callable[..., Any], told: dict[str, Any]) -> None:
    model = tiny()
    assert_alike(*both(model, all_sites(model), corpus_of(**told, most=12)))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_a_half_precision_network_is_full_of_ties(tiny: Callable[..., Any], kind: torch.dtype) -> None:
    model = tiny()
    model = replace(model, network=copy.deepcopy(model.network).to(kind))
    here, there = both(model, all_sites(model), corpus_of(most=15))
    assert_alike(here, there)
    values = there.sketch("neurons 1", "train").high.values
    assert (values[:, 1:] == values[:, :-1]).mean() > 0.01


ODD = [float("nan"), float("inf"), -float("inf"), 2 * LARGEST, -1e30]


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("unit", [slice(3, 4), slice(None)])
def test_odd_values_are_counted_and_left_out(tiny: Callable[..., Any], value: float, unit: slice) -> None:
    """At some places, of one unit and of a whole site."""
    model, corpus = tiny(), corpus_of(most=15)

    def spoil(made: torch.Tensor) -> torch.Tensor:
        made[::3, 2::4, unit] = value
        return made

    with changed(model, 1, spoil):
        here, there = both(model, all_sites(model)[:3], corpus)
    assert (there.sketch("neurons 1", "train").odd[:, unit] > 0).all()
    assert_alike(here, there)


@contextmanager
def changed(model: LocalModel, layer: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """While open, what a block's neurons give is changed."""
    part = body_of(model).get_submodule(f"h.{layer}.mlp.act")
    handle = part.register_forward_hook(lambda module, given, made: change(made.clone()))
    try:
        yield
    finally:
        handle.remove()


def test_a_unit_that_is_always_odd_has_nothing(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of(most=12)

    def silence(made: torch.Tensor) -> torch.Tensor:
        made[..., 5], made[..., 6] = torch.nan, 0
        return made

    with changed(model, 0, silence):
        here, there = both(model, neurons(model)[:1], corpus)
    assert_alike(here, there)
    sketch = there.sketch("neurons 0", "train")
    assert sketch.counts[5] == 0
    assert (sketch.high.rows[5] == -1).all()
    assert np.isnan(sketch.high.values[5]).all()
    assert (sketch.high.values[6] == 0).all()
    first = corpus.rows("train")[: SCOPE.top]
    assert sketch.high.rows[6].tolist() == first.tolist()


def test_large_values_that_are_not_odd_count(tiny: Callable[..., Any]) -> None:
    """A sequence whose sum of squares is beyond the limit is looked into, and nothing of it left out."""
    model, corpus = tiny(), corpus_of(most=12)
    with changed(model, 1, lambda made: made + 0.9 * LARGEST):
        here, there = both(model, neurons(model)[1:], corpus, replace(COMPACT, block=2))
    sketch = there.sketch("neurons 1", "train")
    assert not sketch.odd.any()
    np.testing.assert_allclose(sketch.mean, 0.9 * LARGEST, rtol=1e-6)
    for split in SPLITS:
        one, other = here.sketch("neurons 1", split), there.sketch("neurons 1", split)
        np.testing.assert_array_equal(one.high.rows, other.high.rows)


def test_shards_and_resumes_make_the_same_bits(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, corpus = tiny(), corpus_of(most=20)
    sites = all_sites(model)
    one = record(model, sites, corpus, seed=0, scope=SCOPE, resident=True)
    shards = [record(model, sites, corpus, seed=0, scope=SCOPE, resident=True, shard=(i, 2)) for i in range(2)]
    assert Recording.merged(shards[::-1]).digest == one.digest

    def stop(done: int) -> None:
        raise InterruptedError

    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    with pytest.raises(InterruptedError):
        record(model, sites, corpus, seed=0, scope=SCOPE, folder=tmp_path, progress=stop, resident=True)
    assert record(model, sites, corpus, seed=0, scope=SCOPE, folder=tmp_path, resident=True).digest == one.digest


def test_workers_are_not_started_where_the_network_lives(
    tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, corpus = tiny(), corpus_of(most=8)
    one = record(model, neurons(model), corpus, seed=0, scope=SCOPE, resident=True)
    monkeypatch.setattr(module, "_read_in_worker", None)
    assert record(model, neurons(model), corpus, seed=0, scope=SCOPE, resident=True, workers=2).digest == one.digest


def test_the_cpu_path_is_taken_for_a_network_on_the_cpu(tiny: Callable[..., Any]) -> None:
    model, corpus = tiny(), corpus_of(most=8)
    told = [record(model, neurons(model), corpus, seed=0, scope=SCOPE, resident=r).digest for r in (None, False, True)]
    assert told[0] == told[1] != told[2]


def test_what_lies_on_the_device_is_let_go(tiny: Callable[..., Any]) -> None:
    """After a job nothing waits, and a second reading of it finds the same."""
    model, corpus = tiny(), corpus_of(most=12)
    reader = Reader(model=model, sites=all_sites(model), corpus=corpus, seed=0, scope=SCOPE, resident=True)
    jobs = list(module._jobs(blocks_of(corpus, SCOPE), range(2), 2))
    first = reader.read(jobs[0])
    again = replace(reader, best=type(reader.best)()).read(jobs[0])
    for name, sketch in first.items():
        np.testing.assert_array_equal(sketch.sums, again[name].sums)
        np.testing.assert_array_equal(sketch.high.rows, again[name].high.rows)
    for name, sketch in reader.read(jobs[0]).items():  # all is known already: the last one kept passes no gate
        np.testing.assert_array_equal(sketch.high.rows[:, :-1], first[name].high.rows[:, :-1])
        assert (sketch.high.rows[:, -1] == -1).all()


def test_keys_follow_the_total_order() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=200), [0.0, -0.0, 1e-40, -1e-40, np.inf, -np.inf, 3e38]] * 2)
    values = values.astype(np.float32)
    rows = rng.integers(0, 2**31 - 1, len(values))
    keys = key_of(torch.from_numpy(values), torch.from_numpy(rows))
    assert keys.argsort(descending=True).tolist() == np.lexsort((rows, -values)).tolist()
    np.testing.assert_array_equal(value_of_key(keys).numpy(), values)
    assert (keys > NOTHING).all()
    gates = gate_key(values[:3], np.array([4, -1, 2**31 - 1]), torch.device("cpu"))
    assert (gates == NOTHING).tolist() == [False, True, False]


@pytest.mark.parametrize("mask", [[True], [False, False], [True, False, True, True], [False] * 7 + [True]])
def test_a_mask_is_compacted(mask: list[bool]) -> None:
    found = Compact.of(torch.tensor(mask))
    assert int(found.count) == sum(mask)
    assert found.places[: sum(mask)].tolist() == np.flatnonzero(mask).tolist()


def test_an_empty_top_is_that_of_the_host() -> None:
    device = torch.device("cpu")
    gate = gate_key(np.full(3, -np.inf, dtype=np.float32), np.full(3, -1), device)
    top, plain = DeviceTop.start(gate, sign=-1, k=4, window=6).top(), empty_top(3, 4, 6)
    for name in ("values", "rows", "places", "windows"):
        mine, its = getattr(plain, name), getattr(top, name)
        np.testing.assert_array_equal(mine, its)
        assert mine.dtype == its.dtype


@pytest.mark.parametrize("sign", [1, -1])
def test_tops_merge_as_a_lexsort_has_it(sign: int) -> None:
    """Ties, both zeros, missing entries, and windows that follow their entries."""
    rng = np.random.default_rng(sign + 1)
    tops = []
    for part in range(2):
        values = rng.choice(np.array([0.0, -0.0, 1.5, -2.5, 3e38], dtype=np.float32), size=(50, 6))
        rows = np.stack([rng.permutation(100)[:6] for _ in range(50)]).astype(np.int32) + 100 * part
        order = np.lexsort((rows, -sign * values), axis=1)
        values, rows = (np.take_along_axis(each, order, axis=1) for each in (values, rows))
        missing = np.arange(6) >= rng.integers(0, 7, 50)[:, None]
        values[missing], rows[missing] = np.nan, -1
        windows = np.repeat(rows[..., None], 3, axis=2).astype(np.float16)
        places = np.maximum(rows, 0).astype(np.uint16)
        tops.append(replace(empty_top(50, 6, 3), values=values, rows=rows, places=places, windows=windows))
    found = merged_top(*tops, sign=sign)
    rows, values = (np.concatenate([getattr(each, name) for each in tops], axis=1) for name in ("rows", "values"))
    order = np.lexsort((rows, -sign * values, rows < 0), axis=1)[:, :6]
    np.testing.assert_array_equal(found.rows, np.take_along_axis(rows, order, axis=1))
    np.testing.assert_array_equal(found.values, np.take_along_axis(values, order, axis=1))
    assert found.windows is not None
    np.testing.assert_array_equal(found.windows[..., 1], found.rows.astype(np.float16))
    np.testing.assert_array_equal(found.places, np.maximum(found.rows, 0))
