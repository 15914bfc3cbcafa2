"""Windows around places of a text: a unit's own, found in a sample by brute force, and their values.

found = top_windows(sample, 20)                       # rows and places, (20, units) each
gathered(found, sample)                               # (20, width, units) of each unit around its own places

Anybody may hand in windows, as numbers of sequences in the corpus and places in them: a recorder finds them in one
pass over everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from superalign.interpretability.corpus import Corpus
from superalign.interpretability.correlations import Sums
from superalign.interpretability.explanation import Explainer, Sample
from superalign.interpretability.scores import Adding
from superalign.interpretability.units import Site, activations
from superalign.models import LocalModel

RADIUS = 16
"""Tokens on either side of a window's place."""
ROWS = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """Places of interest of every unit of a site."""

    rows: np.ndarray
    """(k, units) numbers of sequences in the corpus; −1 for none."""
    places: np.ndarray
    """(k, units) places in them."""

    def __post_init__(self) -> None:
        if self.rows.shape != self.places.shape or self.rows.ndim != 2:
            raise ValueError(
                f"windows with rows {self.rows.shape} and places {self.places.shape}: give (k, units) of each"
            )

    def union(self) -> np.ndarray:
        """The sequences that any of them lies in, ascending."""
        return np.unique(self.rows[self.rows >= 0])

    def joined(self, other: Windows) -> Windows:
        """These, and then the others, unit by unit."""
        return Windows(rows=np.concatenate([self.rows, other.rows]), places=np.concatenate([self.places, other.places]))


def top_windows(sample: Sample, most: int, *, sign: int = 1) -> Windows:
    """The `most` sequences of the largest (sign 1) or smallest (−1) value of each unit, one window a sequence.

    Fewer where the sample has fewer sequences. A unit that isn't a number anywhere has none (−1).
    """
    ends = np.cumsum(sample.counted.sum(1))
    starts = np.r_[0, ends[:-1]]
    best = np.maximum.reduceat(sign * sample.values, starts, axis=0)  # (n, units); NaN spreads
    most = min(most, len(best))
    bad = np.isnan(best)
    order = np.argsort(np.where(bad, np.inf, -best), axis=0, kind="stable")[:most]
    there = ~np.take_along_axis(bad, order, axis=0)
    places = np.zeros(order.shape, dtype=np.int64)
    columns = np.arange(sample.site.units)
    for row in np.unique(order):
        flat = np.argmax(sign * sample.values[starts[row] : ends[row]], axis=0)
        at = np.flatnonzero(sample.counted[row])
        k, units = np.nonzero(order == row)
        places[k, units] = at[flat[columns[units]]]
    return Windows(rows=np.where(there, sample.rows[order], -1), places=places)


def random_windows(sample: Sample, most: int, *, seed: int) -> Windows:
    """Counted places drawn at random from sequences drawn without replacement, each unit by itself."""
    rng = np.random.default_rng([seed, 107])
    shape = (min(most, len(sample.rows)), sample.site.units)
    order = rng.random((len(sample.rows), shape[1])).argsort(0)[: shape[0]]
    counts = sample.counted.sum(1)
    nth = (rng.random(shape) * counts[order]).astype(np.int64)
    return Windows(rows=sample.rows[order], places=sample.counted.argmax(1)[order] + nth)


class Around(NamedTuple):
    """The tokens of one batch of windows, (windows, width) each."""

    rows: np.ndarray
    places: np.ndarray
    counted: np.ndarray


def around(corpus: Corpus, rows: np.ndarray, places: np.ndarray, radius: int = RADIUS) -> Around:
    """Places of windows (windows,) that reach `radius` tokens to each side; what lies outside is not counted."""
    there = places[:, None] + np.arange(-radius, radius + 1)
    inside = (there >= corpus.skip) & (there < corpus.lengths[rows, None])
    return Around(rows=rows, places=np.clip(there, 0, corpus.length - 1), counted=inside)


Reads = Callable[[np.ndarray], np.ndarray]
"""Numbers of sequences → (rows, length, units) of what is to be gathered."""


def gathered(windows: Windows, corpus: Corpus, read: Reads, *, radius: int = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """((k, width, units) float32 of each unit in its own windows, (k, width, units) bool: does the token count?)."""
    k, units = windows.rows.shape
    values = np.zeros((k, 2 * radius + 1, units), dtype=np.float32)
    counted = np.zeros(values.shape, dtype=bool)
    rows = windows.union()
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        told = read(some)
        at, unit = np.nonzero(np.isin(windows.rows, some))
        window = around(corpus, windows.rows[at, unit], windows.places[at, unit], radius)
        which = np.searchsorted(some, window.rows)
        values[at, :, unit] = told[which[:, None], window.places, unit[:, None]]
        counted[at, :, unit] = window.counted
    return values, counted


def reader(model: LocalModel, corpus: Corpus, site: Site) -> Reads:
    """Reads a site of a model."""

    def read(rows: np.ndarray) -> np.ndarray:
        batch = next(activations(model, (site,), corpus.ids[rows], corpus.lengths[rows], rows=len(rows)))
        return batch[site.name]

    return read


def teller(explainer: Explainer, corpus: Corpus) -> Reads:
    """Reads what an explainer predicts."""
    return lambda rows: explainer.predict(corpus.ids[rows], corpus.lengths[rows])


def agreement_in(
    windows: Windows, explainer: Explainer, model: LocalModel, corpus: Corpus, site: Site, *, radius: int = RADIUS
) -> Sums:
    """Sums of one explainer over each unit's own windows, as for top and random ones side by side, 1:1.

    A window counts to the document that it lies in. Raises ValueError where no unit has a window.
    """
    real, counted = gathered(windows, corpus, reader(model, corpus, site), radius=radius)
    told, _ = gathered(windows, corpus, teller(explainer, corpus), radius=radius)
    return windowed(explainer.name, windows, corpus, told, real, counted)


def windowed(
    name: str, windows: Windows, corpus: Corpus, told: np.ndarray, real: np.ndarray, counted: np.ndarray
) -> Sums:
    """Sums of what was gathered, (k, width, units) each."""
    there = windows.rows >= 0
    if not there.any():
        raise ValueError(f"{name}: no unit has a window to be scored on")
    adding = Adding(name, told.shape[2], corpus.clusters(windows.union()))
    adding.shift = np.stack([told.mean((0, 1)), real.mean((0, 1))])
    for k in range(len(there)):
        documents = np.where(there[k], corpus.documents[windows.rows[k]], adding.documents[0])
        mask = counted[k] & there[k]
        x, y = (np.where(mask, part[k] - less, 0) for part, less in zip((told, real), adding.shift, strict=True))
        parts = np.stack([mask.sum(0), x.sum(0), y.sum(0), (x * x).sum(0), (y * y).sum(0), (x * y).sum(0)])
        at: tuple[Any, ...] = (np.searchsorted(adding.documents, documents), slice(None), np.arange(len(documents)))
        np.add.at(adding.parts, at, parts.T)
        adding.windows += int(there[k].sum())
        adding.tokens += int(mask.sum())
    return adding.done()
