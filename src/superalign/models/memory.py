"""Work that may not fit in memory: halved until it does.

    values = halving(lambda some: forward(batch[some]), range(64), what="log-probabilities of m@a04e")

What counts as out of memory: torch's own error on CUDA, and the plain RuntimeErrors that the CPU's allocator and MPS
raise. Everything else passes through untouched.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from superalign.models.errors import ModelError

T = TypeVar("T")

SIGNS = ("not enough memory", "can't allocate memory", "out of memory", "status_alloc_failed")
"""In messages of RuntimeErrors: CPU (Windows, Linux), MPS and CUDA's libraries."""


def out_of_memory(error: BaseException) -> bool:
    """Does `error` say that memory ran out?"""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def halving(work: Callable[[Sequence[int]], Iterable[T]], rows: Sequence[int], *, what: str) -> list[T]:
    """One result a row, in the order of `rows`: `work(rows)` at once, or in halves of halves where memory runs out.

    A number of rows that was too many is not tried again. `work` must give one result a row, whatever rows it is
    given with. Raises ModelError, which names `what`, when a single row does not fit.

    >>> halving(lambda some: [row * 2 for row in some], [1, 2, 3], what="doubles")
    [2, 4, 6]
    """
    out: list[T] = []
    most = len(rows)
    while len(out) < len(rows):
        some = rows[len(out) : len(out) + most]
        found, short = _tried(work, some)
        if short is None:
            out += found
        elif len(some) == 1:
            raise ModelError(
                f"{what}: memory runs out with a single row ({short}): use shorter texts or fewer tokens, a smaller "
                "dtype (hf:…?dtype=bfloat16), quantise=4bit, or a device with more memory"
            )
        else:
            most = len(some) // 2
            _freed()
    return out


def _tried(work: Callable[[Sequence[int]], Iterable[T]], some: Sequence[int]) -> tuple[list[T], str | None]:
    """Results, or the first line of what memory said. The error ends here: its frames hold the tensors to be freed."""
    try:
        return list(work(some)), None
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return [], (str(error).strip().splitlines() or ["out of memory"])[0][:200]


def _freed() -> None:
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
