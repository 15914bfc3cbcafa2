"""What the family's size `l` is trained on: its recipe, and the corpus as it reads it.

Running code, functions beside synthetic faults of them, and calculations, all from the `corpus` split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from superalign.tasks import lexer
from superalign.tasks.stdlib import source_files
from superalign.tasks.traces import random_program, render
from superalign.training import family_faults
from superalign.training.family import SIZES, TRACE_STEPS
from superalign.training.family_rows import MAIN, ROW, Rows, contrast_rows, head, plain_rows, plan
from superalign.training.family_text import coded, is_test, large_ids, rich_tokens

SAMPLE = 8_000
"""Rows that are planned to see which direction of an edit they show oftener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeRecipe:
    """How `l` is trained: schedule, mixture and weights of the losses."""

    steps: int = SIZES["l"].steps
    rate: float = SIZES["l"].rate
    """Of AdamW and, scaled to its root mean square, of Muon."""
    warmup: int = SIZES["l"].warmup
    decay: float = 0.25
    """Share of the steps over which the rate falls to zero, linearly."""
    weight_decay: float = 0.05
    rows: int = SIZES["l"].batch
    """Rows of functions with faults a batch, 256 ids each."""
    plain_rows: int = 22
    """Rows of running code a batch, 160 ids each."""
    plain_every: int = 3
    trace_every: int = 9
    small: float = 0.4
    """Share of texts that are read with the small vocabulary."""
    forget: float = 0.7
    """In the others each name of the larger vocabulary becomes a slot with a chance drawn from 0 to this: what a
    held-out module calls things the corpus does not tell."""
    modules: float = 0.6
    """Share of functions drawn from modules, the others from tests."""
    opening: int = 2_000
    """Steps before the first fault: a language model first, since the contrast slows it and needs it."""
    contrast: float = 0.1
    """Weight of the contrast. A pair's tokens then count about as much as the language model's."""
    per_module: tuple[int, int] = (80, 10)
    """Faults kept of a module's function: in all, of one kind."""
    per_test: tuple[int, int] = (10, 2)


class LargeCorpus:
    """The corpus as `l` reads it: running code, functions with faults, calculations. Seeded; `rng` draws batches.

    Finding the faults of the whole corpus takes a minute or two; `files` (path → source) takes its place in trials.
    """

    def __init__(self, *, seed: int, recipe: LargeRecipe, files: Mapping[str, str] | None = None) -> None:
        self.rng, self.recipe = np.random.default_rng(seed), recipe
        files = source_files("corpus") if files is None else files
        names: dict[str, int] = {}
        pieces = [coded(rich_tokens(source), names) for source in files.values()]
        opens = np.array([large_ids()[word] for word in lexer.INDENTS])
        offset, starts = 0, []
        for piece in pieces:
            at = np.flatnonzero(np.isin(piece, opens)) + 1
            starts.append(offset + at[at + MAIN <= len(piece)])
            offset += len(piece)
        self.stream, self.starts = np.concatenate(pieces), np.concatenate(starts)
        draw, sample = np.random.default_rng(seed + 1), np.random.default_rng([seed, 2])
        self.functions: list[family_faults.Function] = []
        self.chances: list[np.ndarray] = []
        pools = []
        for tests, (in_all, of_kind) in ((False, recipe.per_module), (True, recipe.per_test)):
            part = {path: source for path, source in files.items() if is_test(path) == tests}
            found = family_faults.functions_of(part, draw, per_function=in_all, per_kind=of_kind)
            chances = family_faults.balanced_chances(found, partial(shown, found, sample))
            offers = np.array([chance.max() > 0 for chance in chances], dtype=bool)
            pools.append(len(self.functions) + np.flatnonzero(offers))
            self.functions += found
            self.chances += chances
        self.pools, self.never = tuple(pools), [np.zeros_like(chance) for chance in self.chances]

    def batch(self, step: int) -> Rows:
        """The rows of one step."""
        recipe, rng = self.recipe, self.rng
        read = {"small": recipe.small, "forget": recipe.forget}
        if step % recipe.trace_every == recipe.trace_every - 1:
            return self._calculations()
        opening = step < recipe.opening
        if (step % recipe.plain_every == recipe.plain_every - 1) != opening:
            return plain_rows(self.stream, self.starts, recipe.plain_rows, rng, **read)
        chances = self.never if opening else self.chances
        return contrast_rows(self.functions, chances, self._draw, recipe.rows, rng, **read)

    def _draw(self) -> int:
        return int(self.rng.choice(self.pools[int(self.rng.random() >= self.recipe.modules)]))

    def _calculations(self) -> Rows:
        ids, size = large_ids(), self.recipe.plain_rows
        bodies = [[ids[w] for w in render(*random_program(self.rng, TRACE_STEPS)).split()] for _ in range(size)]
        rows, heads = Rows.empty(size, len(bodies[0]) + 4), head(self.rng, size)
        for row, body in enumerate(bodies):
            rows.put_main(row, 0, np.concatenate([heads[row], body, [ids["<eos>"]]]))
        return rows


def shown(
    functions: Sequence[family_faults.Function], rng: np.random.Generator, chances: Sequence[np.ndarray]
) -> Iterator[family_faults.Splice]:
    """The faults that `SAMPLE` rows of random functions show under these chances."""
    for i in rng.choice([i for i, chance in enumerate(chances) if chance.max() > 0], SAMPLE):
        planned = plan(functions[i], chances[i], rng, room=ROW)
        yield from planned[2] if planned else ()
