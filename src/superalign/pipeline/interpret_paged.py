"""What a unit's page shows of held-out text and of its own range: arrays that workers keep beside scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from superalign.interpretability.corpus import Corpus
from superalign.interpretability.explanation import Explainer, Sample, read_sample
from superalign.interpretability.judging import recalled
from superalign.interpretability.recording import Recording
from superalign.interpretability.units import Site
from superalign.interpretability.windows import RADIUS, Windows, gathered, teller, top_windows
from superalign.models import LocalModel

PAGED, LONGEST = 2, 64
"""Held-out sequences that a unit's page shows, and tokens of each."""
SHARES = (0.75, 0.5, 0.25)
"""Where in a unit's octaves its page looks, besides at its highest and lowest."""


def paged(seed: int, made: Sequence[Explainer], held: Sample, best: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
    """For pages: real and predicted values on held-out sequences, and around each unit's highest place there."""
    corpus = held.corpus
    rows = np.random.default_rng([seed, 223]).choice(held.rows, min(PAGED, len(held.rows)), replace=False)
    peaks = top_windows(held, 1)
    real, counted = gathered(peaks, corpus, recalled(held))
    told = np.zeros_like(real)
    shown = np.zeros((len(rows), corpus.length, held.site.units), dtype=np.float32)
    for number, each in enumerate(made):
        mine = best == number
        if mine.any():
            told[..., mine] = gathered(peaks, corpus, teller(each, corpus))[0][..., mine]
            shown[..., mine] = each.predict(corpus.ids[rows], corpus.lengths[rows])[..., mine]
    arrays = {
        "page rows": rows,
        "page real": recalled(held)(np.sort(rows))[np.argsort(np.argsort(rows)), :LONGEST].astype(np.float16),
        "page told": shown[:, :LONGEST].astype(np.float16),
        "page peak rows": peaks.rows[0],
        "page peak places": peaks.places[0],
        "page peak real": np.where(counted, real, np.nan)[0].astype(np.float16),
        "page peak told": np.where(counted, told, np.nan)[0].astype(np.float16),
        "page radius": np.array(RADIUS),
    }
    return arrays, len(rows) * held.site.units + held.site.units


def quantiles(model: LocalModel, corpus: Corpus, site: Site, recording: Path) -> dict[str, np.ndarray]:
    """For pages: what each unit does on sequences where it is less high, drawn at random from octaves of its own.

    The recording's stratified sample says which; they are of `train`, and no score looks at them.
    """
    strata = Recording.load(recording).sketch(site.name, "train").strata
    if strata is None:
        return {}
    rows = strata.rows[:, :, 0]
    there = rows >= 0
    picked = np.full((len(SHARES), site.units), -1)
    for unit in range(site.units):
        octaves = np.flatnonzero(there[unit])
        if len(octaves):
            picked[:, unit] = rows[unit, octaves[[int(share * (len(octaves) - 1)) for share in SHARES]]]
    if not (picked >= 0).any():
        return {}
    sample = read_sample(model, corpus, site, np.unique(picked[picked >= 0]))
    windows = Windows(rows=picked, places=highest_places(sample, picked))
    values, counted = gathered(windows, corpus, recalled(sample))
    return {
        "page octave rows": picked,
        "page octave places": windows.places,
        "page octave real": np.where(counted, values, np.nan).astype(np.float16),
    }


def highest_places(sample: Sample, rows: np.ndarray) -> np.ndarray:
    """(k, units) where each unit is highest in its own sequences, (k, units) numbers of the corpus; 0 for none."""
    read, places = recalled(sample), np.zeros(rows.shape, dtype=np.int64)
    for row, counted in zip(sample.rows, sample.counted, strict=True):
        k, unit = np.nonzero(rows == row)
        at = np.flatnonzero(counted)
        places[k, unit] = at[np.argmax(np.nan_to_num(read(np.array([row]))[0][at][:, unit], nan=-np.inf), axis=0)]
    return places
