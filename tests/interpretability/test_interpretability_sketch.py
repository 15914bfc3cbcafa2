"""Sketches: sums are exact and add up in any order, extremes follow a total order, quantiles and bytes are as said."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.interpretability.extremes import (
    Strata,
    Top,
    drawn,
    empty_strata,
    empty_top,
    merged_strata,
    merged_top,
    taken,
    window_starts,
)
from superalign.interpretability.sketch import (
    BINS,
    COMPACT,
    FULL,
    STRATA,
    Scope,
    Sketch,
    bytes_per_unit,
    empty,
    histogram_base,
    limbs_of,
    merged,
    stratum_of,
    value_of_limbs,
)

finite = st.floats(min_value=-(2.0**112), max_value=2.0**112, allow_nan=False)


@given(st.lists(finite, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_sums_are_exact_in_any_order(values: list[float], order: object) -> None:
    parts = [limbs_of(np.array([value])) for value in values]
    total = sum(parts[1:], parts[0])
    order.shuffle(parts)  # type: ignore[attr-defined]
    assert (sum(parts[1:], parts[0]) == total).all()
    exact = math.fsum(values)
    assert value_of_limbs(total)[0] == pytest.approx(exact, rel=1e-15, abs=2.0**-72 * len(values))


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 2.0**-72, 1e-9, 3e33, -(2.0**112), 0.1])
def test_one_value_comes_back(value: float) -> None:
    assert value_of_limbs(limbs_of(np.array([value])))[0] == pytest.approx(value, rel=1e-15, abs=2.0**-73)


def best(values: np.ndarray, rows: np.ndarray, k: int, sign: int) -> list[tuple[float, int]]:
    order = sorted(range(len(rows)), key=lambda i: (-sign * values[i], rows[i]))[:k]
    return [(float(values[i]), int(rows[i])) for i in order]


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([1, -1]), st.integers(1, 4))
def test_extremes_are_the_brute_ones_however_they_come(seed: int, sign: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    units, k, n = 3, 4, 25
    values = rng.integers(-2, 3, (n, units)).astype(np.float32)  # ties on purpose
    tops = []
    for own in np.array_split(rng.permutation(n), parts):
        at, unit = np.nonzero(rng.random((len(own), units)) < 2)
        entries = [
            values[own[at], unit],
            own[at].astype(np.int32),
            own[at].astype(np.uint16),
            (own[at, None] + [0, 1.0]),
        ]
        tops.append(taken(empty_top(units, k, 2), unit, [np.asarray(e) for e in entries], sign=sign))
    whole = tops[0]
    for top in tops[1:]:
        whole = merged_top(top, whole, sign=sign)
    for unit in range(units):
        found = [(float(v), int(r)) for v, r in zip(whole.values[unit], whole.rows[unit], strict=True)]
        assert found == best(values[:, unit], np.arange(n), k, sign)
        assert whole.windows is not None
        assert (whole.places[unit] == whole.rows[unit]).all()
        assert (whole.windows[unit, :, 1] == whole.rows[unit] + 1).all()


def test_a_top_with_room_holds_what_there_is() -> None:
    top = taken(empty_top(2, 3, 0), np.array([1]), [np.float32([5]), np.int32([7]), np.uint16([2]), np.zeros((1, 0))])
    assert top.rows.tolist() == [[-1, -1, -1], [7, -1, -1]]
    assert np.isnan(top.values).sum() == 5
    both = merged_top(empty_top(2, 3, 0), top)
    np.testing.assert_array_equal(both.rows, top.rows)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_strata_keep_the_smallest_priorities_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, units, m = 60, 2, 3
    ranks, cells = rng.integers(0, 9, n).astype(np.uint32), rng.integers(0, units * STRATA, n)
    values, rows = rng.normal(size=n).astype(np.float32), np.arange(n, dtype=np.int32)
    order = rng.permutation(n)
    sides = [
        drawn(empty_strata(units, STRATA, m), *(x[own] for x in (cells, rows, values, ranks)))
        for own in (order[:20], order[20:])
    ]
    one, other = merged_strata(*sides), merged_strata(*sides[::-1])
    for each in fields(Strata):
        np.testing.assert_array_equal(getattr(one, each.name), getattr(other, each.name))
    for cell in range(units * STRATA):
        own = sorted(np.flatnonzero(cells == cell), key=lambda i: (ranks[i], rows[i]))[:m]
        found = one.rows.reshape(-1, m)[cell]
        assert found[found >= 0].tolist() == own
        np.testing.assert_array_equal(one.values.reshape(-1, m)[cell][: len(own)], values[own])


@pytest.mark.parametrize(("place", "start"), [(0, 0), (5, 0), (6, 0), (7, 1), (11, 5), (19, 12), (13, 7)])
def test_windows_lie_inside_and_begin_before_their_place(place: int, start: int) -> None:
    assert window_starts(np.array([place], dtype=np.uint16), 8, 20)[0] == start
    assert window_starts(np.array([place]), 64, 20)[0] == 0


def sketch(seed: int = 0, *, units: int = 4, scope: Scope = FULL, classes: int = 0) -> Sketch:
    """A sketch with something everywhere."""
    rng = np.random.default_rng(seed)
    made = empty(units, scope, np.zeros(units, dtype=np.int16), words=7, classes=classes)
    for each in fields(Sketch):
        array = getattr(made, each.name)
        if isinstance(array, np.ndarray) and each.name not in ("scales", "odd"):
            array[:] = rng.integers(1, 50, array.shape)
    n = 30
    unit, rows = np.repeat(np.arange(units), n), np.tile(np.arange(n), units) * 10 + seed
    values = rng.integers(0, 5, len(unit)).astype(np.float32)
    entries = [
        values,
        rows.astype(np.int32),
        np.zeros(len(unit), np.uint16),
        rng.normal(size=(len(unit), scope.window)),
    ]
    low = taken(made.low, unit, entries, sign=-1) if made.low else None
    cells = unit * STRATA + rng.integers(0, STRATA, len(unit))
    strata = (
        drawn(made.strata, cells, rows.astype(np.int32), values, rng.integers(0, 99, len(unit)).astype(np.uint32))
        if made.strata
        else None
    )
    return Sketch(
        **{f.name: getattr(made, f.name) for f in fields(Sketch)}
        | {"high": taken(made.high, unit, entries), "low": low, "strata": strata}
    )


def same(one: Sketch, other: Sketch) -> bool:
    for each in fields(Sketch):
        a, b = getattr(one, each.name), getattr(other, each.name)
        if isinstance(a, Top | Strata):
            if not all(
                np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=getattr(a, f.name).dtype.kind == "f")
                for f in fields(a)
            ):
                return False
        elif a is not None and not np.array_equal(a, b):
            return False
    return True


@pytest.mark.parametrize("classes", [0, 2])
def test_merging_is_associative_and_commutative_to_the_bit(classes: int) -> None:
    a, b, c = (sketch(seed, classes=classes) for seed in range(3))
    assert same(merged(a, b), merged(b, a))
    assert same(merged(merged(a, b), c), merged(a, merged(c, b)))
    assert not same(merged(a, b), merged(a, c))
    nothing = empty(4, FULL, np.zeros(4, dtype=np.int16), words=7, classes=classes)
    assert same(merged(a, nothing), a)


def test_a_unit_takes_the_bytes_that_were_promised() -> None:
    for scope, most in ((FULL, 8 * 1024), (COMPACT, 300)):
        made = empty(512, scope, np.zeros(512, dtype=np.int16), words=966, classes=0)
        assert bytes_per_unit(made) <= most
        assert bytes_per_unit(made) > 200


@pytest.mark.parametrize("scale", [-20, 0, 9])
def test_bins_hold_what_lies_between_their_edges(scale: int) -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=4_000) * rng.choice([1e-4, 0.1, 1, 30], 4_000) * 2.0**scale).astype(np.float32)
    values[:6] = np.array([0.0, -0.0, 1, -1, 2, 1.5]) * 2.0**scale
    scales = np.array([scale], dtype=np.int16)
    size = np.clip(((values.view(np.int32) >> 22) & 511) - histogram_base(scales), 0, BINS // 2 - 1)
    bins = BINS // 2 + (size ^ (values.view(np.int32) >> 31))
    made = empty(1, FULL, scales, words=1, classes=0)
    (edges,) = made.edges()
    assert (np.diff(edges) > 0).all()
    assert (edges[bins] <= values).all()
    assert (values <= edges[bins + 1]).all()
    assert made.histogram is not None
    made.histogram[0, 0] = np.bincount(bins, minlength=BINS)
    for q in (0.05, 0.25, 0.5, 0.9, 0.99):
        exact = float(np.quantile(values, q))
        place = int(np.searchsorted(edges, exact, side="right")) - 1
        low, high = max(edges[place], 2 * edges[1]), min(edges[place + 1], 2 * edges[-2])
        assert low - (high - low) <= made.quantile(q)[0] <= high + (high - low)


def test_octaves_of_the_largest_value() -> None:
    found = stratum_of(np.float32([[-1, 0, 2.0**-6, 2.0**-5.5, 1, 1.99, 2, 7.9, 8, 1e9]]), np.zeros(10, dtype=np.int16))
    assert found.tolist() == [[0, 0, 0, 0, 6, 6, 7, 8, 9, 9]]


def test_what_was_not_kept_is_an_error_and_nothing_is_nan() -> None:
    bare = empty(3, COMPACT, np.zeros(3, dtype=np.int16), words=5, classes=0)
    for ask in (lambda: bare.quantile(0.5), bare.token_means, bare.class_means, bare.centred_signs):
        with pytest.raises(ValueError, match=r"record with|give it some"):
            ask()
    nothing = empty(3, FULL, np.zeros(3, dtype=np.int16), words=5, classes=2)
    for values in (nothing.mean, nothing.variance, nothing.skewness, nothing.kurtosis, nothing.quantile(0.5)):
        assert np.isnan(values).all()
    assert np.isnan(nothing.token_means()).all()
    assert (nothing.centred_signs() == 0).all()
