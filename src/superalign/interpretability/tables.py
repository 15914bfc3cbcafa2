"""Explanations by tables: the mean activation on each token, and what the one or two tokens before it add.

unigram(sample)                     # the whole table: explanation, and the control of all the others
top_tokens(unigram(sample), 5)      # the five tokens that say most
trigram(sample)                     # backs off to what was seen: means of residuals, shrunk by n/(n + 2)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from superalign.interpretability.explanation import Explanation, Sample, before, brief, quoted

SHRINK = 2.0
"""An effect seen n times counts n/(n + 2)."""
VALUE_BITS = 8.0
"""To send one number of an explanation."""
NAMES = {1: "unigram", 2: "bigram", 3: "trigram"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grams:
    """What runs of so many tokens, ending at the current one, add."""

    order: int
    keys: np.ndarray
    """(runs,) int64 code of each run, ascending: see `coded`."""
    counts: np.ndarray
    """(runs,)"""
    effects: np.ndarray
    """(runs, units) float32"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Explains all units of a site by runs of tokens."""

    name: str
    words: tuple[str, ...]
    base: np.ndarray
    """(units,) the mean."""
    grams: tuple[Grams, ...]
    entries: int | None = None
    """Table entries a unit, for its description length; all that are there if None."""

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32: the mean, and what each run that was seen adds."""
        found = np.tile(self.base, (ids.size, 1))
        for grams in self.grams:
            keys = coded(ids, grams.order, len(self.words)).ravel()
            at = np.minimum(np.searchsorted(grams.keys, keys), len(grams.keys) - 1)
            seen = np.flatnonzero(grams.keys[at] == keys)
            if len(seen) == len(found):
                found += grams.effects[at]
            else:
                found[seen] += grams.effects[at[seen]]
        return found.reshape(*ids.shape, -1)

    def explanation(self, unit: int) -> Explanation:
        """The tokens on which it is high and low; of longer runs those that add most."""
        parts = [part for g in self.grams for part in _told(self.words, g, unit, most=5 if g.order == 1 else 2)]
        entries = self.entries
        if entries is None:
            entries = sum(len(grams.keys) * grams.order for grams in self.grams)
            values = sum(len(grams.keys) for grams in self.grams)
        else:
            values = entries
        bits = entries * float(np.log2(max(2, len(self.words)))) + (values + 1) * VALUE_BITS
        return Explanation(text=brief(parts) or "does the same on every token", bits=bits)


def coded(ids: np.ndarray, order: int, words: int) -> np.ndarray:
    """(rows, length) int64 code of the run of `order` tokens that ends at each token; runs may begin before the start.

    >>> coded(np.array([[3, 4]]), 2, 10).tolist()      # the first has nothing, 10, before it
    [[113, 37]]
    """
    code = np.zeros(ids.shape, dtype=np.int64)
    for step in range(order - 1, -1, -1):
        code = code * (words + 1) + before(ids, step, nothing=words)
    return code


def grouped(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(distinct keys, how often each, (keys, units) sums of the rows of `values` under each)."""
    distinct, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    ones = np.ones(len(keys), dtype=np.float32)
    picks = sparse.csr_matrix((ones, (which, np.arange(len(keys)))), shape=(len(distinct), len(keys)))
    return distinct, counts, picks @ values


def unigram(sample: Sample) -> Tables:
    """The mean activation on each token, shrunk to the unit's mean: what a unit does if context does nothing."""
    return _tables(sample, 1)


def bigram(sample: Sample) -> Tables:
    """And what the token before it adds."""
    return _tables(sample, 2)


def trigram(sample: Sample) -> Tables:
    """And what the token before that adds."""
    return _tables(sample, 3)


def shorter(tables: Tables, order: int) -> Tables:
    """The tables up to an order, as fitting them would give them: each is fitted to what the shorter ones leave."""
    return replace(tables, name=NAMES[order], grams=tables.grams[:order])


def _tables(sample: Sample, order: int) -> Tables:
    sample.held_in()
    base = sample.values.mean(0, dtype=np.float64).astype(np.float32)
    left, grams = sample.values - base, list[Grams]()
    for length in range(1, order + 1):
        keys = coded(sample.ids, length, len(sample.words))[sample.counted]
        distinct, counts, sums = grouped(keys, left)
        effects = (sums / (counts + SHRINK)[:, None]).astype(np.float32)
        grams.append(Grams(order=length, keys=distinct, counts=counts, effects=effects))
        if length < order:
            left -= effects[np.searchsorted(distinct, keys)]
    return Tables(name=NAMES[order], words=sample.words, base=base, grams=tuple(grams))


def top_tokens(table: Tables, most: int) -> Tables:
    """The `most` tokens of a unigram table with the largest √n·|effect|, unit by unit; on all others their mean.

    Raises ValueError for fewer than one.
    """
    if most < 1:
        raise ValueError(f"{most} tokens explain nothing: keep one or more")
    grams = table.grams[0]
    size = np.sqrt(grams.counts)[:, None] * np.abs(grams.effects)
    most = min(most, len(size))
    kept = np.zeros(size.shape, dtype=bool)
    np.put_along_axis(kept, np.argpartition(-size, most - 1, axis=0)[:most], True, axis=0)
    weight = np.where(kept, 0, grams.counts[:, None])
    rest = (weight * grams.effects).sum(0) / np.maximum(weight.sum(0), 1)
    effects = np.where(kept, grams.effects - rest, 0).astype(np.float32)
    return Tables(
        name=f"top-{most}",
        words=table.words,
        base=(table.base + rest).astype(np.float32),
        grams=(replace(grams, effects=effects),),
        entries=most,
    )


def _told(words: tuple[str, ...], grams: Grams, unit: int, *, most: int) -> list[str]:
    effects = grams.effects[:, unit]
    size = np.sqrt(grams.counts) * np.abs(effects)
    best = [int(i) for i in np.argsort(-size, kind="stable")[:most] if size[i] > 0]
    parts = []
    for sign, verb in ((1, "fires"), (-1, "less")):
        runs = [run_of(int(grams.keys[i]), grams.order, words) for i in best if sign * effects[i] > 0]
        if runs and grams.order == 1:
            parts.append(f"{verb} on {', '.join(run[0] for run in runs)}")
        parts += [f"{verb} on {run[-1]} after {' '.join(run[:-1])}" for run in runs if grams.order > 1]
    return parts


def run_of(key: int, order: int, words: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens of a code of `coded`, quoted, first to last."""
    found = []
    for _ in range(order):
        key, token = divmod(key, len(words) + 1)
        found.append(quoted(words[token]) if token < len(words) else "the start")
    return tuple(reversed(found))
