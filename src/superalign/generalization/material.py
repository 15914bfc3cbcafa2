"""The material of an experiment: questions of one split as every model reads them, and who learns from which half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from superalign.generalization.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """n questions of one split, what is so, and how models read them."""

    readings: Mapping[str, Reading]
    """Who reads → Reading: "weak", "narrow" (the weak model under a handicap), "strong", "untrained", sizes between."""
    truth: np.ndarray
    """(n,) bool: is the answer yes?"""
    clusters: np.ndarray
    """(n,) what is split and resampled together."""
    kinds: np.ndarray
    """(n,) kind of each question, "" where nothing is known of it."""
    difficulty: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    """Way to tell → (n,) how hard, higher is harder."""
    said: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    """Who was asked beforehand → (n,) P(yes) that they said, as a protocol of oversight does; NaN for nothing."""

    def __len__(self) -> int:
        return len(self.truth)

    def __post_init__(self) -> None:
        lengths = {name: len(reading) for name, reading in self.readings.items()}
        lengths |= {"truth": len(self.truth), "clusters": len(self.clusters), "kinds": len(self.kinds)}
        lengths |= {f"difficulty, {name}": len(values) for name, values in self.difficulty.items()}
        lengths |= {f"said, {name}": len(values) for name, values in self.said.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"material of unequal lengths: {lengths}: bring one row a question in each")
        if len(self.truth) and len(set(self.truth.tolist())) < 2:
            raise ValueError(f"all {len(self.truth)} questions have the same answer: bring questions of both")

    def take(self, rows: np.ndarray) -> Material:
        """The same for some of the questions."""
        return replace(
            self,
            readings=MappingProxyType({name: reading.take(rows) for name, reading in self.readings.items()}),
            truth=self.truth[rows],
            clusters=self.clusters[rows],
            kinds=self.kinds[rows],
            difficulty=MappingProxyType({name: values[rows] for name, values in self.difficulty.items()}),
            said=MappingProxyType({name: values[rows] for name, values in self.said.items()}),
        )


def halves(clusters: np.ndarray, sizes: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of half A and half B: whole clusters go to one side or the other, then each is cut to size."""
    names = rng.permutation(np.unique(clusters))
    counts = {name: int((clusters == name).sum()) for name in names}
    share, side_a, total = sizes[0] / sum(sizes), set(), 0
    for name in names:
        if total < share * len(clusters):
            side_a.add(name)
            total += counts[name]
    in_a = np.isin(clusters, list(side_a))
    a, b = rng.permutation(np.flatnonzero(in_a)), rng.permutation(np.flatnonzero(~in_a))
    return a[: sizes[0]], b[: sizes[1]]


def score(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1 where the sign is right, 0 where it is wrong or no number, ½ on ties; shape (n,).

    >>> score(np.array([2.0, 0.0, np.nan]), np.array([True, True, False])).tolist()
    [1.0, 0.5, 0.0]
    """
    right = np.where(logits == 0, 0.5, (logits > 0) == truth)
    return np.where(np.isfinite(logits), right, 0.0).astype(np.float64)
