"""Local workers: one fresh process a slot, one thread each, results in the order in which they finish."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Generic, NamedTuple, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Done(NamedTuple, Generic[Result]):
    """A finished job."""

    index: int
    result: Result
    seconds: float
    """What the work itself took, where it was done."""


def run_parallel(work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int) -> Iterator[Done[Result]]:
    """Yield jobs as they finish, by their index; an exception of a job is raised here, the rest is cancelled.

    `work` and `jobs` are pickled into spawned processes, which use one thread each. One worker or one job: this
    process does the work. A worker whose parent dies, even by SIGKILL, dies too.
    """
    if workers <= 1 or len(jobs) <= 1:
        for i, job in enumerate(jobs):
            yield Done(i, *_timed(work, job))
        return
    spawned = multiprocessing.get_context("spawn")
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        with ProcessPoolExecutor(workers, mp_context=spawned, initializer=_die_with_parent) as pool:
            futures = {pool.submit(_timed, work, job): i for i, job in enumerate(jobs)}
            try:
                for future in as_completed(futures):
                    yield Done(futures[future], *future.result())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _timed(work: Callable[[Job], Result], job: Job) -> tuple[Result, float]:
    began = time.monotonic()
    return work(job), time.monotonic() - began


def _die_with_parent() -> None:
    """Watch the parent from a thread: a killed parent closes no pool, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only workers are initialised"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
