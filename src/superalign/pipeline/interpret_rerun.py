"""V3 of interpretations: every site explained again by the model, every other part measured again, and compared.

Last digits differ between machines, and a rule may be chosen otherwise on one of them: r of each explanation is
compared, and effects are by size. Text is taken from what was kept, whose digest the ledger states.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from superalign.engine import run_parallel
from superalign.evidence import SuperalignError, Workspace
from superalign.evidence.store import ObjectStore
from superalign.interpretability.correlations import pearson
from superalign.pipeline.arrays import arrays_from_bytes
from superalign.pipeline.generalize_rerun import DoneAgain
from superalign.pipeline.interpret_recount import Interpretation
from superalign.pipeline.stored import Stored, shipped

TOLERANCE = 2e-3
"""Of r; of other numbers, as a share of the largest of their array."""


def look_again(
    one: Interpretation, ws: Workspace, *, say: Callable[[str], None], workers: int = 1
) -> Iterator[DoneAgain]:
    """All stages of an interpretation that was scored. Raises SuperalignError for models that no ledger can name."""
    from superalign.pipeline.interpret import site_jobs
    from superalign.pipeline.interpret_work import do, jobs_of

    config, done = one.config, Stored(ws, one)
    for address in filter(None, (config.model, config.explainer)):
        if not shipped(address):
            raise SuperalignError(f"{address!r:.80} is an address that no ledger can give: such work ends at level 2")
    if config.dictionaries:
        raise SuperalignError("dictionaries are files that no ledger can give: such work ends at level 2")
    desk, sites = one.desk(ws), [str(site["name"]) for site in done("recording")["sites"]]
    at = ws.store.path(done("corpus")["corpus"]), ws.store.path(done("recording")["recording"])
    jobs: dict[str, Any] = jobs_of(desk, config, *at) | site_jobs(desk, config, sites, *at)
    names = [name for name in jobs if done(name) is not None]
    with tempfile.TemporaryDirectory(prefix="superalign-again-") as aside:
        apart = ObjectStore(Path(aside) / "objects", Path(aside) / "tmp")
        moved = [replace(jobs[name], objects=Path(aside) / "objects") for name in names]  # nothing is written in ws
        for again in run_parallel(do, moved, workers=workers):
            name = names[again.index]
            say(name)
            stored, mine = ws.store.get(done(name)["kept"]), apart.get(again.result["kept"])
            yield DoneAgain(name, *compared(arrays_from_bytes(stored), arrays_from_bytes(mine)))


def compared(stored: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray]) -> tuple[int, int, float]:
    """Numbers, how many are unlike, and the largest difference of the others: r of explanations, else all arrays."""
    if "parts" in stored and "parts" in again and stored["parts"].shape == again["parts"].shape:
        return _unlike(
            *(np.stack([pearson(part.sum(0, dtype=np.float64)) for part in x["parts"]]) for x in (stored, again))
        )
    count = unlike = 0
    largest = 0.0
    for name, mine in stored.items():
        theirs = again.get(name)
        if theirs is None or theirs.shape != mine.shape:
            count, unlike = count + 1, unlike + 1
        elif mine.dtype.kind == "f":
            there = mine[np.isfinite(mine)]
            scale = float(np.abs(there).max()) if len(there) else 1.0
            n, bad, gap = _unlike(mine / (scale or 1.0), theirs / (scale or 1.0))
            count, unlike, largest = count + n, unlike + bad, max(largest, gap)
        else:
            count, unlike = count + mine.size, unlike + int((mine != theirs).sum())
    return count, unlike, largest


def _unlike(a: np.ndarray, b: np.ndarray) -> tuple[int, int, float]:
    gap = np.abs(a.astype(np.float64) - b)
    both = np.isnan(a) & np.isnan(b)
    bad = ~both & ~(gap <= TOLERANCE)
    kept = gap[~bad & ~both]
    return a.size, int(bad.sum()), float(kept.max()) if kept.size else 0.0
