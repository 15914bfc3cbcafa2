"""Record every unit of a network in one streaming pass: never a matrix of activations, the same bits however it is run.

    sites = (*neurons(model), *heads(model))
    found = record(model, sites, corpus, seed=0, workers=2, folder=Path("recording"))
    found.sketch("neurons 2", "train").high.rows[7]

Work is a grid of blocks, fixed by the corpus: batches of 32 sequences, 32 to a block, one split in each. What blocks
give adds up exactly in any order, so that shards, resumes and worker counts can't be told from the result.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from superalign.engine import run_parallel
from superalign.interpretability.corpus import SPLITS, Corpus
from superalign.interpretability.reader import Block, Job, Reader, blocks_of
from superalign.interpretability.recording import Recording
from superalign.interpretability.sketch import FULL, Scope, Sketch, merged
from superalign.interpretability.units import Site, body_of
from superalign.models import LocalModel
from superalign.models.local import text_config

JOB = 2
"""Blocks that a worker reads before it reports."""
RESIDENT_JOB = 4
"""The same where values stay on a GPU: what a job found comes over at its end."""
SAVE_SECONDS = 15.0
"""Between two states written to a folder, or twenty times what writing took, if that is longer."""
STATE = "recording.safetensors"


def record(
    model: LocalModel,
    sites: Sequence[Site],
    corpus: Corpus,
    *,
    seed: int,
    scope: Scope = FULL,
    workers: int = 1,
    folder: Path | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: Callable[[int], None] | None = None,
    resident: bool | None = None,
) -> Recording:
    """Sketches of all units of `sites` on every split of the corpus. `progress` is told sequences as they are read.

    `folder`: a run that was stopped goes on there; what comes out is bit-equal. `shard` (i, n) reads each n-th block
    only, from the i-th: `Recording.merged` puts shards together. `resident`: values stay on the network's device, as
    they do (None) where that is no CPU; there this process reads, whatever `workers` says, and sums agree with a CPU's
    to float32 rounding. Raises ValueError for no sites or two of one name, a shard that is none, tokens beyond the
    model's vocabulary or context, and a folder that holds another recording.
    """
    _check(model, sites, corpus, shard)
    grid = blocks_of(corpus, scope)
    stay = next(body_of(model).parameters()).device.type != "cpu" if resident is None else resident
    workers = 1 if stay else workers
    reader = Reader(model=model, sites=tuple(sites), corpus=corpus, seed=seed, scope=scope, resident=stay)
    found = _resumed(folder, reader.nothing(len(grid)))
    wanted = [i for i in range(shard[0], len(grid), shard[1]) if not found.done[i]]
    jobs = list(_jobs(grid, wanted, RESIDENT_JOB if stay else JOB))
    reader.best.resume(found)
    with _work(reader, workers if len(jobs) > 1 else 1) as work:
        saver = _Saver(folder)
        for done in run_parallel(work, jobs, workers=workers):
            found = _with(found, jobs[done.index], done.result)
            saver.save(found, last=False)
            if progress:
                progress(sum(grid[i].last - grid[i].first for i in jobs[done.index].blocks))
        if jobs:
            saver.save(found, last=True)
    return found


@contextmanager
def _work(reader: Reader, workers: int) -> Iterator[Callable[[Job], dict[str, Sketch]]]:
    """How jobs are read: here, or by workers, which find the reader in a file that only this run knows."""
    if workers <= 1:
        yield reader.read
        return
    with tempfile.TemporaryDirectory(prefix="superalign-record-") as kept:
        path = Path(kept) / "reader"
        path.write_bytes(pickle.dumps(replace(reader, model=replace(reader.model, tokenizer=None))))
        yield partial(_read_in_worker, path)


def _read_in_worker(path: Path, job: Job) -> dict[str, Sketch]:
    return _reader_of(path).read(job)


@lru_cache(maxsize=1)
def _reader_of(path: Path) -> Reader:
    """Written by the parent a moment ago, into a folder of its own."""
    reader: Reader = pickle.loads(path.read_bytes())
    return reader


def _jobs(grid: Sequence[Block], wanted: Sequence[int], size: int) -> Iterator[Job]:
    for split in SPLITS:
        own = [i for i in wanted if grid[i].split == split]
        for at in range(0, len(own), size):
            yield Job(split, tuple(own[at : at + size]))


def _with(found: Recording, job: Job, result: Mapping[str, Sketch]) -> Recording:
    done = found.done.copy()
    done[list(job.blocks)] = True
    changed = {(name, job.split): _both(found.sketches[name, job.split], sketch) for name, sketch in result.items()}
    return replace(found, done=done, sketches={**found.sketches, **changed})


def _both(known: Sketch, sketch: Sketch) -> Sketch:
    """Merged; the first of a split as it is, as large arrays take long to copy."""
    return merged(known, sketch) if known.tokens[0] else sketch


def _resumed(folder: Path | None, fresh: Recording) -> Recording:
    """What lies in the folder, or nothing yet."""
    if folder is None or not (folder / STATE).exists():
        return fresh
    found = Recording.load(folder / STATE)
    if found.plan != fresh.plan:
        raise ValueError(
            f"{folder} holds a recording of {found.model} with another corpus, seed, scope or sites than what is asked "
            f"of {fresh.model}: give another folder"
        )
    return replace(found, sites=fresh.sites)


class _Saver:
    """Writes the state now and then."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.next = folder, time.monotonic() + SAVE_SECONDS

    def save(self, found: Recording, *, last: bool) -> None:
        began = time.monotonic()
        if self.folder is None or (began < self.next and not last):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        found.save(self.folder / STATE)
        ended = time.monotonic()
        self.next = ended + max(SAVE_SECONDS, 20 * (ended - began))


def _check(model: LocalModel, sites: Sequence[Site], corpus: Corpus, shard: tuple[int, int]) -> None:
    names = [site.name for site in sites]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"sites {', '.join(names) or 'none'}: name at least one, and each once; `tag` tells two apart")
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard {shard[0]} of {shard[1]}: count shards from 0")
    limit = getattr(text_config(model.network), "max_position_embeddings", None)
    if limit and int(corpus.lengths.max()) > int(limit):
        raise ValueError(
            f"sequences of up to {int(corpus.lengths.max())} tokens, and {model.name} reads {limit}: cut them shorter"
        )
    words, largest = int(body_of(model).get_input_embeddings().weight.shape[0]), int(corpus.ids.max())  # type: ignore[operator]
    if largest >= words:
        raise ValueError(f"token {largest} in the corpus, and {model.name} knows {words}: encode with its tokenizer")
