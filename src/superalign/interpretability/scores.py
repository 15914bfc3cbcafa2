"""Scores of explanations on held-out text, for all units of a site at once, with intervals over documents.

    sums = agreement(explainers, model, corpus, site, rows)        # one pass over random windows
    found = correlation(sums["trigram"], seed=0)                   # of `correlations`, which needs no model

Every score says how many windows it touched, so that uses of a split can be counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from superalign.interpretability.corpus import Corpus
from superalign.interpretability.correlations import Sums
from superalign.interpretability.explanation import Explainer, Sample
from superalign.interpretability.units import Site, activations
from superalign.models import LocalModel


class Adding:
    """Sums of one explainer, a batch at a time."""

    def __init__(self, name: str, units: int, documents: np.ndarray) -> None:
        self.name, self.documents = name, np.unique(documents)
        self.parts = np.zeros((len(self.documents), 6, units))
        self.shift: np.ndarray | None = None
        self.windows = self.tokens = 0

    def add(self, predicted: np.ndarray, real: np.ndarray, counted: np.ndarray, documents: np.ndarray) -> None:
        """(rows, length, units) twice, (rows, length) bool, or one for each unit, and the rows' documents, (rows,)."""
        mask = counted if counted.ndim == 3 else counted[:, :, None]
        if self.shift is None:
            self.shift = np.stack([_middle(values, mask) for values in (predicted, real)])
        x, y = (np.where(mask, values - at, 0) for values, at in zip((predicted, real), self.shift, strict=True))
        n = np.broadcast_to(mask.sum(1), (len(x), x.shape[2]))
        rows = [n, x.sum(1), y.sum(1), *(np.einsum("rtu,rtu->ru", a, b) for a, b in ((x, x), (y, y), (x, y)))]
        np.add.at(self.parts, np.searchsorted(self.documents, documents), np.stack(rows, axis=1).astype(np.float64))
        self.windows += len(x)
        self.tokens += int(counted.sum())

    def done(self) -> Sums:
        """The sums. There are some: nobody adds up no rows."""
        assert self.shift is not None
        return Sums(
            name=self.name,
            parts=self.parts,
            documents=self.documents,
            shift=self.shift,
            windows=self.windows,
            tokens=self.tokens,
        )


def _middle(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(units,) a constant near the mean, so that float32 sums of squares lose nothing."""
    middle: np.ndarray = np.where(mask, values, 0).sum((0, 1)) / np.maximum(mask.sum((0, 1)), 1)
    return middle.astype(values.dtype)


def agreement(
    explainers: Sequence[Explainer], model: LocalModel, corpus: Corpus, site: Site, rows: np.ndarray
) -> dict[str, Sums]:
    """Explainer's name → its sums over all counted tokens of the sequences `rows`, in one forward pass for all.

    Raises ValueError for no rows, and explainers that share a name.
    """
    adding = _adding(explainers, site.units, corpus.clusters(rows))
    start = 0
    for batch in activations(model, (site,), corpus.ids[rows], corpus.lengths[rows]):
        real = batch[site.name]
        some = rows[start : start + len(real)]
        start += len(real)
        for explainer in explainers:
            predicted = explainer.predict(corpus.ids[some], corpus.lengths[some])
            adding[explainer.name].add(predicted, real, corpus.counted(some), corpus.clusters(some))
    return {name: each.done() for name, each in adding.items()}


def agreement_on(explainers: Sequence[Explainer], sample: Sample, *, batch: int = 32) -> dict[str, Sums]:
    """The same on a sample that was read already."""
    adding = _adding(explainers, sample.site.units, sample.clusters())
    ends = np.r_[0, np.cumsum(sample.counted.sum(1))]
    for start in range(0, len(sample.rows), batch):
        rows, counted = sample.rows[start : start + batch], sample.counted[start : start + batch]
        real = np.zeros((*counted.shape, sample.site.units), dtype=np.float32)
        real[counted] = sample.values[ends[start] : ends[start + len(rows)]]
        for explainer in explainers:
            predicted = explainer.predict(sample.corpus.ids[rows], sample.corpus.lengths[rows])
            adding[explainer.name].add(predicted, real, counted, sample.corpus.clusters(rows))
    return {name: each.done() for name, each in adding.items()}


def _adding(explainers: Sequence[Explainer], units: int, documents: np.ndarray) -> dict[str, Adding]:
    names = [explainer.name for explainer in explainers]
    if len(set(names)) < len(names) or not len(documents):
        raise ValueError(f"{len(documents)} sequences, explainers {', '.join(names)}: bring some, each name once")
    return {name: Adding(name, units, documents) for name in names}
