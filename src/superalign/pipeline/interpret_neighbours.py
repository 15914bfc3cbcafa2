"""Which units move together: candidates by the recording's sketch, then exactly, on sequences drawn at random.

arrays = find_neighbours(NeighbourJob(address="family:m", corpus=path, recording=path))
arrays["rows"][7], arrays["r"][7]              # the units nearest to unit 7, all sites counted through
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superalign.engine.threads import one_thread

CANDIDATES, KEPT = 24, 8
CHUNK = 1024
"""Units whose candidates are looked for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourJob:
    """Of every unit that was recorded."""

    address: str
    corpus: Path
    recording: Path
    dictionaries: tuple[str, ...] = ()


@one_thread()
def find_neighbours(job: NeighbourJob) -> dict[str, np.ndarray]:
    """`rows` (units, 8) and `r` (units, 8) of the units that correlate most, by size, and `sketched`, the estimates.

    −1 and NaN where a unit has fewer, as one that never changes has none.
    """
    from superalign.interpretability.recording import Recording
    from superalign.models import load_model
    from superalign.pipeline.interpret_corpus import corpus_at
    from superalign.pipeline.interpret_explain import sites_of

    model, corpus = load_model(job.address), corpus_at(job.corpus)
    recording, sites = Recording.load(job.recording), sites_of(model, job.dictionaries)
    sketch = _sketched(recording, [site.name for site in sites])
    real = _standard(model, corpus, sites, recording.sample["train"])
    units = sketch.shape[1]
    rows, r = np.full((units, KEPT), -1), np.full((units, KEPT), np.nan)
    estimates = r.copy()
    for start in range(0, units, CHUNK):
        estimate = sketch[:, start : start + CHUNK].T @ sketch
        mine = np.arange(len(estimate))
        estimate[mine, start + mine] = 0
        most = min(CANDIDATES, units - 1)
        if most < 1:
            break
        near = np.argpartition(-np.abs(estimate), most - 1, axis=1)[:, :most]
        for i in mine:
            exact = real[:, near[i]].T @ real[:, start + i]
            order = np.argsort(-np.abs(exact), kind="stable")[:KEPT]
            order = order[exact[order] != 0]
            rows[start + i, : len(order)], r[start + i, : len(order)] = near[i][order], exact[order]
            estimates[start + i, : len(order)] = estimate[i, near[i][order]]
    return {"rows": rows.astype(np.int32), "r": r, "sketched": estimates}


def _sketched(recording: object, names: list[str]) -> np.ndarray:
    """(buckets, units) the correlation sketches of all sites side by side, each column of length 1."""
    columns = np.concatenate([recording.sketch(name, "train").centred_signs() for name in names], axis=1)  # type: ignore[attr-defined]
    size = np.linalg.norm(columns, axis=0)
    scaled: np.ndarray = np.where(size > 0, columns / np.where(size > 0, size, 1), 0).astype(np.float32)
    known: np.ndarray = np.nan_to_num(scaled)
    return known


def _standard(model: object, corpus: object, sites: object, rows: np.ndarray) -> np.ndarray:
    """(tokens, units) activations of mean 0 and length 1; zeros for a unit that never changes."""
    from superalign.interpretability.explanation import read_samples

    samples = read_samples(model, corpus, sites, rows)  # type: ignore[arg-type]
    values = np.concatenate([np.nan_to_num(sample.values) for sample in samples], axis=1)
    values -= values.mean(0)
    size = np.linalg.norm(values, axis=0)
    scaled: np.ndarray = values / np.where(size > 1e-6, size, np.inf)
    return scaled
