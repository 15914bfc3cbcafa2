"""What is kept of a site's units over one split: a sketch that never grows, and merges exactly in any order.

sketch.mean, sketch.variance                # (units,) each
sketch.high.rows[7], sketch.high.windows[7] # the sequences where unit 7 is highest, and its values around those places
sketch.quantile(0.99)                       # (units,), from 64 logarithmic bins

Sums become whole numbers of a fixed unit at a block's end, so that adding them is exact; extremes and samples follow a
total order. Hence shards, resumes and worker counts give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from superalign.interpretability.extremes import (
    Strata,
    Top,
    empty_strata,
    empty_top,
    merged_strata,
    merged_top,
)

LIMBS = (60, 16, -28, -72)
"""A sum is four whole numbers of these powers of two: 2⁻⁷³ is its error a block, and a million blocks fit."""
TABLE_UNIT = -24
"""Of token sums: a block's error is 2⁻²⁵; 5·10¹¹ fit."""
SIGN_UNIT = -14
"""Of sign sums, relative to a unit's own scale."""
LARGEST = 2.0**24
"""Values beyond are counted as odd, as NaN and infinities are: their fourth powers would not add up."""
BINS, STRATA = 64, 10
_TOP_BIN, _TOP_STRATUM = 27, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How much is kept of each unit."""

    top: int = 20
    """Sequences kept where a unit is highest, and as many where it is lowest."""
    low: bool = True
    window: int = 64
    """Tokens whose values are kept around each of these, as float16; 0 for none."""
    moments: int = 4
    """2 or 4; the third and fourth are read on thinned sequences."""
    histogram: bool = True
    """On thinned sequences."""
    strata: int = 6
    """Sequences kept in each octave of a unit's largest value, drawn at random; 0 for none."""
    table: bool = True
    """The sum of each unit at each token of the vocabulary."""
    signs: int = 256
    """Buckets of the correlation sketch (a count sketch), on thinned sequences; 0 for none."""
    every: int = 16
    """One sequence of so many is among the thinned."""
    block: int = 32
    """Batches whose sums are floating-point numbers."""
    sample: int = 512
    """Sequences of each split drawn at random, the same ones for all units."""


FULL = Scope()
COMPACT = Scope(low=False, window=0, moments=2, histogram=False, strata=0, table=False, signs=0)
"""The highest twenty and two moments: what peers keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """One site's units over one split. Arrays that the scope leaves out are None."""

    tokens: np.ndarray
    """(2,) int64: counted tokens, and those on thinned sequences."""
    sums: np.ndarray
    """(2 or 6, limbs, units) int64, exact: powers 1, 2 on all tokens; 1 to 4 on thinned sequences."""
    odd: np.ndarray
    """(2, units) int32: values that are NaN, infinite or beyond `LARGEST`, left out of all else; then on thinned."""
    scales: np.ndarray
    """(units,) int16: power of two of a unit's size on the corpus' first batch; bins, strata, signs are relative."""
    high: Top
    low: Top | None = None
    strata: Strata | None = None
    histogram: np.ndarray | None = None
    """(classes + 1, units, 64) uint32 on thinned sequences; last those of no class."""
    table: np.ndarray | None = None
    """(vocabulary, units) int64 sums of 2⁻²⁴; an odd value adds nothing."""
    table_counts: np.ndarray | None = None
    """(vocabulary,) int64."""
    signs: np.ndarray | None = None
    """(buckets, units) int32, in units of 2⁻¹⁴ of the scale."""
    sign_counts: np.ndarray | None = None
    """(buckets,) int64: the same sketch of a unit that is always 1."""
    class_tokens: np.ndarray | None = None
    """(classes,) int64."""
    class_sums: np.ndarray | None = None
    """(classes, 2, limbs, units) int64: powers 1 and 2."""
    class_odd: np.ndarray | None = None
    """(classes, units) int32."""

    @property
    def units(self) -> int:
        """Units of the site."""
        return len(self.scales)

    @property
    def counts(self) -> np.ndarray:
        """(units,) tokens that each unit was read on."""
        found: np.ndarray = self.tokens[0] - self.odd[0]
        return found

    @property
    def mean(self) -> np.ndarray:
        """(units,); NaN for units without a value."""
        return _per(value_of_limbs(self.sums[0]), self.counts)

    @property
    def variance(self) -> np.ndarray:
        """(units,) of the values that were read."""
        found: np.ndarray = np.maximum(_per(value_of_limbs(self.sums[1]), self.counts) - self.mean**2, 0)
        return found

    @property
    def skewness(self) -> np.ndarray:
        """(units,) on thinned sequences; NaN for a constant unit, or two moments only."""
        central = self._central()
        with np.errstate(invalid="ignore", divide="ignore"):
            found: np.ndarray = central[3] / central[2] ** 1.5
        return found

    @property
    def kurtosis(self) -> np.ndarray:
        """(units,) on thinned sequences: 3 for a normal one; NaN as `skewness`."""
        central = self._central()
        with np.errstate(invalid="ignore", divide="ignore"):
            found: np.ndarray = central[4] / central[2] ** 2
        return found

    def _central(self) -> np.ndarray:
        """(5, units) central moments on thinned sequences."""
        if len(self.sums) < 6:
            return np.full((5, self.units), np.nan)
        n = self.tokens[1] - self.odd[1]
        m, two, three, four = (_per(value_of_limbs(each), n) for each in self.sums[2:])
        second = np.maximum(two - m**2, 0)
        second[second <= 1e-7 * two] = np.nan  # float32 sums can't tell such a unit from a constant one
        third, fourth = three - 3 * m * two + 2 * m**3, four - 4 * m * three + 6 * m**2 * two - 3 * m**4
        return np.stack([np.ones_like(m), np.zeros_like(m), second, third, fourth])

    def edges(self) -> np.ndarray:
        """(units, 65) float64, from −inf to inf: where the histogram's bins begin; a bin holds its lower edge.

        Half octaves below and above zero; what is nearer to zero than 2⁻¹³ of the scale lies in the two middle bins.
        """
        return edges_of(self.scales)

    def quantile(self, q: float, *, of: int | None = None) -> np.ndarray:
        """(units,) by the histogram, linear inside a bin; of one class, or all. NaN without values.

        Raises ValueError where no histogram was kept.
        """
        if self.histogram is None:
            raise ValueError("no histogram was kept: record with a scope that has one")
        counts = self.histogram.sum(axis=0, dtype=np.int64) if of is None else self.histogram[of].astype(np.int64)
        edges, total = self.edges(), counts.sum(axis=1)
        edges[:, 0], edges[:, -1] = 2 * edges[:, 1], 2 * edges[:, -2]
        passed = np.cumsum(counts, axis=1)
        bin_ = np.minimum((passed < q * total[:, None]).sum(axis=1), BINS - 1)
        at = np.arange(self.units)
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = (q * total - passed[at, bin_] + counts[at, bin_]) / counts[at, bin_]
        low, high = edges[at, bin_], edges[at, bin_ + 1]
        return np.where(total > 0, low + np.clip(inside, 0, 1) * (high - low), np.nan)

    def token_means(self) -> np.ndarray:
        """(vocabulary, units) float32; NaN for tokens that were not read. ValueError without a table."""
        if self.table is None or self.table_counts is None:
            raise ValueError("no token table was kept: record with a scope that has one")
        return _per(self.table * 2.0**TABLE_UNIT, self.table_counts[:, None]).astype(np.float32)

    def class_means(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance, (classes, units) each. ValueError for a corpus without classes."""
        if self.class_sums is None or self.class_tokens is None or self.class_odd is None:
            raise ValueError("the corpus had no classes: give it some")
        n = self.class_tokens[:, None] - self.class_odd
        mean, square = (_per(value_of_limbs(self.class_sums[:, i].swapaxes(0, 1)), n) for i in (0, 1))
        return mean, np.maximum(square - mean**2, 0)

    def centred_signs(self) -> np.ndarray:
        """(buckets, units): sign sums less what the mean adds to them; cosines of columns estimate correlations.

        Their error is about 1/√buckets (count sketch: Charikar, Chen, Farach-Colton 2002, section 3). ValueError
        where none were kept.
        """
        if self.signs is None or self.sign_counts is None:
            raise ValueError("no correlation sketch was kept: record with a scope that has one")
        sums = np.ldexp(self.signs.astype(np.float64), self.scales.astype(int) + SIGN_UNIT)
        n = self.tokens[1] - self.odd[1]
        mean = _per(value_of_limbs(self.sums[2]), n) if len(self.sums) > 2 else self.mean
        centred: np.ndarray = sums - self.sign_counts[:, None] * np.nan_to_num(mean)
        return centred


def edges_of(scales: np.ndarray) -> np.ndarray:
    """(units, 65) as `Sketch.edges`, of units of these scales."""
    half = np.arange(1, BINS // 2) - _TOP_BIN
    sizes = np.exp2(half // 2) * np.where(half % 2, 1.5, 1.0) * np.exp2(scales.astype(float))[:, None]
    zero, end = np.zeros((len(scales), 1)), np.full((len(scales), 1), np.inf)
    return np.concatenate([-end, -sizes[:, ::-1], zero, sizes, end], axis=1)


def bytes_per_unit(sketch: Sketch) -> float:
    """What is kept of one unit, in bytes, the token table and what all units share apart."""
    parts = [getattr(sketch, f.name) for f in fields(sketch) if f.name not in ("table", "table_counts", "tokens")]
    inner = [getattr(part, f.name) for part in parts if isinstance(part, Top | Strata) for f in fields(part)]
    arrays = [each for each in (*parts, *inner) if isinstance(each, np.ndarray) and sketch.units in each.shape]
    return sum(each.nbytes for each in arrays) / sketch.units


def limbs_of(values: np.ndarray) -> np.ndarray:
    """(limbs, …) int64 whole numbers that add up to `values`, to 2⁻⁷³."""
    rest, found = np.asarray(values, dtype=np.float64).copy(), []
    for power in LIMBS:
        whole = np.rint(np.ldexp(rest, -power))
        rest -= np.ldexp(whole, power)
        found.append(whole.astype(np.int64))
    return np.stack(found)


def value_of_limbs(limbs: np.ndarray) -> np.ndarray:
    """(limbs, …) → (…) float64."""
    total = np.zeros(limbs.shape[1:])
    for power, limb in reversed(list(zip(LIMBS, limbs, strict=True))):
        total += np.ldexp(limb.astype(np.float64), power)
    return total


def histogram_base(scales: np.ndarray) -> np.ndarray:
    """(units,) int32: half octaves, as the upper bits of float32 count them, below each unit's bins."""
    return (2 * (scales.astype(np.int32) + 127) - _TOP_BIN).astype(np.int32)


def stratum_of(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Octave of each value (rows, units), 0 for what is not above zero, relative to the units' scales."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.int32)  # below zero for values that are
    found: np.ndarray = bits >> 23
    found -= stratum_base(scales)
    np.maximum(found, 0, out=found)
    return np.minimum(found, STRATA - 1, out=found)


def stratum_base(scales: np.ndarray) -> np.ndarray:
    """(units,) int32: the exponent, as float32 stores it, at which each unit's stratum 0 ends."""
    return (scales.astype(np.int32) + 127 - _TOP_STRATUM).astype(np.int32)


def empty(units: int, scope: Scope, scales: np.ndarray, *, words: int, classes: int) -> Sketch:
    """A sketch of nothing."""
    return Sketch(
        tokens=np.zeros(2, dtype=np.int64),
        sums=np.zeros((2 if scope.moments == 2 else 6, len(LIMBS), units), dtype=np.int64),
        odd=np.zeros((2, units), dtype=np.int32),
        scales=scales,
        high=empty_top(units, scope.top, scope.window),
        low=empty_top(units, scope.top, scope.window) if scope.low else None,
        strata=empty_strata(units, STRATA, scope.strata) if scope.strata else None,
        histogram=np.zeros((classes + 1, units, BINS), dtype=np.uint32) if scope.histogram else None,
        table=np.zeros((words, units), dtype=np.int64) if scope.table else None,
        table_counts=np.zeros(words, dtype=np.int64) if scope.table else None,
        signs=np.zeros((scope.signs, units), dtype=np.int32) if scope.signs else None,
        sign_counts=np.zeros(scope.signs, dtype=np.int64) if scope.signs else None,
        class_tokens=np.zeros(classes, dtype=np.int64) if classes else None,
        class_sums=np.zeros((classes, 2, len(LIMBS), units), dtype=np.int64) if classes else None,
        class_odd=np.zeros((classes, units), dtype=np.int32) if classes else None,
    )


ADDED = (
    "tokens", "sums", "odd", "histogram", "table", "table_counts", "signs", "sign_counts", "class_tokens",
    "class_sums", "class_odd",
)  # fmt: skip


def merged(one: Sketch, other: Sketch) -> Sketch:
    """Both together, exactly: the order never matters. Their sequences must differ, their scope be the same."""
    changed = {name: getattr(one, name) + getattr(other, name) for name in ADDED if getattr(one, name) is not None}
    low = None if one.low is None or other.low is None else merged_top(one.low, other.low, sign=-1)
    strata = None if one.strata is None or other.strata is None else merged_strata(one.strata, other.strata)
    return replace(one, **changed, high=merged_top(one.high, other.high), low=low, strata=strata)


UNIT_AXIS = {
    "sums": 2, "odd": 1, "scales": 0, "histogram": 1, "table": 1, "signs": 1, "class_sums": 3, "class_odd": 1,
}  # fmt: skip
"""Of arrays that hold something of each unit; of extremes and samples it is the first."""


def part_of(sketch: Sketch, units: slice) -> Sketch:
    """The same of some units only."""
    changed: dict[str, Any] = {}
    for each in fields(sketch):
        value = getattr(sketch, each.name)
        if isinstance(value, Top | Strata):
            inner: dict[str, Any] = {f.name: getattr(value, f.name) for f in fields(value)}
            inner = {name: None if array is None else array[units].copy() for name, array in inner.items()}
            changed[each.name] = type(value)(**inner)
        elif value is not None and each.name in UNIT_AXIS:
            changed[each.name] = value[(slice(None),) * UNIT_AXIS[each.name] + (units,)].copy()
    return replace(sketch, **changed)


def _per(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Mean; NaN of nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan)
