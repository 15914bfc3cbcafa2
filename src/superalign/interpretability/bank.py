"""A bank of simple rules, and on which tokens of a sample each holds: one sparse matrix for all.

bank = bank_of(sample)                        # tokens, pairs, classes, places, skip-grams, counts …
bank.matrix(ids, lengths)                     # (rows·length, rules) float32, sparse

Words that are rare in the sample get no rule of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from superalign.interpretability.conditions import (
    CLASSES,
    Condition,
    Lexicon,
    Rule,
    lexicon,
)
from superalign.interpretability.explanation import Sample, before
from superalign.interpretability.tables import coded

SIMPLE, WORDS, PAIRS, SKIPS, COUNTS = "simple", "words", "pairs", "skips", "counts"
PARTS = (SIMPLE, WORDS, PAIRS, SKIPS, COUNTS)
"""Classes, places, brackets and repeats; the token; two tokens; a token a few before; how often one has come."""
REACH = 5
"""How far back a skip-gram looks."""
OFTEN = (1, 2, 3)
"""How often a word has come, itself included."""
MOST_WORDS, MOST_PAIRS, SUPPORT = 1024, 1500, 20
DEEP = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bank:
    """Rules, in the order of the matrix' columns, the simplest first."""

    lexicon: Lexicon
    rules: tuple[Rule, ...]
    words: np.ndarray
    """(w,) words with rules of their own, ascending."""
    pairs: np.ndarray
    """(p,) codes of pairs with a rule, ascending."""
    parts: tuple[str, ...]
    length: int
    """Places that have rules."""
    products: tuple[tuple[int, int], ...] = ()
    """Pairs of columns whose rules, together, are rules of their own, after all others."""

    def matrix(self, ids: np.ndarray, lengths: np.ndarray) -> sparse.csr_matrix:
        """(rows·length, rules) float32: 1 where a rule holds."""
        rows, columns, start = [], [], 0
        for width, (token, column) in zip(self._widths(), self._holding(ids, lengths), strict=True):
            rows.append(token)
            columns.append(column + start)
            start += width
        where, which = np.concatenate(rows), np.concatenate(columns)
        held = sparse.csr_matrix((np.ones(len(where), dtype=np.float32), (where, which)), shape=(ids.size, start))
        if not self.products:
            return held
        left, right = np.array(self.products).T
        return sparse.hstack([held, held[:, left].multiply(held[:, right])], format="csr")

    def joined(self, pairs: Sequence[tuple[int, int]]) -> Bank:
        """With rules that two of its first rules make together, each once."""
        fresh = [pair for pair in dict.fromkeys(pairs) if pair not in self.products]
        rules = [self.rules[left] + self.rules[right] for left, right in fresh]
        return replace(self, rules=(*self.rules, *rules), products=(*self.products, *fresh))

    def bits(self) -> np.ndarray:
        """(rules,) to send each: which of all it is."""
        return np.full(len(self.rules), float(np.log2(max(2, len(self.rules)))))

    def _widths(self) -> list[int]:
        w = len(self.words)
        size = {SIMPLE: len(simple(self.lexicon, self.length)), WORDS: w, PAIRS: len(self.pairs)}
        size |= {SKIPS: 2 * w, COUNTS: len(OFTEN) * w}
        return [size[part] for part in self.parts]

    def _holding(self, ids: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each part (flat tokens, columns within the part) of where its rules hold."""
        for part in self.parts:
            if part == SIMPLE:
                tests = simple(self.lexicon, self.length)
                held = np.stack([test.holds(ids, lengths, self.lexicon).ravel() for test in tests], axis=1)
                yield _nonzero(held)
            elif part == WORDS:
                yield self._placed(ids)
            elif part == PAIRS:
                yield _found(coded(ids, 2, len(self.lexicon.words)).ravel(), self.pairs)
            elif part == SKIPS:
                yield self._skips(ids)
            else:
                yield self._counts(ids)

    def _placed(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _found(ids.ravel(), self.words)

    def _skips(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right after a word, then within REACH of it."""
        w = len(self.words)
        after, near = self._placed(before(ids, 1, nothing=-1)), []
        for step in range(1, REACH + 1):
            token, column = self._placed(before(ids, step, nothing=-1))
            near.append(token * w + column)
        token, column = np.divmod(np.unique(np.concatenate(near)), max(1, w))
        return np.concatenate([after[0], token]), np.concatenate([after[1], column + w])

    def _counts(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        w, length = len(self.words), ids.shape[1]
        tokens, columns = [], []
        for start in range(0, len(ids), 32):
            some = ids[start : start + 32]
            once = np.zeros((*some.shape, w), dtype=np.int16)
            token, column = self._placed(some)
            once.reshape(-1, w)[token, column] = 1
            come = np.cumsum(once, axis=1, dtype=np.int16).reshape(-1, w)
            for i, often in enumerate(OFTEN):
                token, column = np.nonzero(come >= often)
                tokens.append(token + start * length)
                columns.append(column + i * w)
        return np.concatenate(tokens), np.concatenate(columns)


def simple(lexicon: Lexicon, length: int) -> tuple[Condition, ...]:
    """Conditions that name no token: classes, of this token and the one before, brackets, repeats, places."""
    found = [Condition("class", label=label) for label in CLASSES if lexicon.classes[label].any()]
    found += [Condition("afterclass", label=label) for label in CLASSES if lexicon.classes[label].any()]
    found += [Condition("seen"), *(Condition("brackets", number=deep) for deep in DEEP)]
    found += [Condition("firsts", number=number) for number in range(1, length)]
    return tuple(found)


def bank_of(sample: Sample, *, parts: Sequence[str] = PARTS) -> Bank:
    """Rules about what a sample holds. Raises ValueError for a part that there isn't."""
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"a bank has no part {', '.join(sorted(unknown))}: choose of {', '.join(PARTS)}")
    known, ids = lexicon(sample), sample.ids
    size = len(known.words)
    counts = np.bincount(ids[sample.counted], minlength=size)
    words = np.sort(np.argsort(-counts, kind="stable")[: min(MOST_WORDS, int((counts >= SUPPORT).sum()))])
    pairs, often = np.unique(coded(ids, 2, size)[sample.counted], return_counts=True)
    usual = (often >= SUPPORT // 2) & (pairs // (size + 1) < size)  # a pair's first is no start of a sequence
    pairs, often = pairs[usual], often[usual]
    pairs = np.sort(pairs[np.argsort(-often, kind="stable")[:MOST_PAIRS]])
    length, rules = sample.corpus.length - sample.corpus.skip, list[Rule]()
    for part in parts:
        rules += _rules(part, known, words.tolist(), pairs.tolist(), length)
    return Bank(lexicon=known, rules=tuple(rules), words=words, pairs=pairs, parts=tuple(parts), length=length)


def _rules(part: str, lexicon: Lexicon, words: list[int], pairs: list[int], length: int) -> list[Rule]:
    if part == SIMPLE:
        return [(condition,) for condition in simple(lexicon, length)]
    if part == WORDS:
        return [(Condition("token", (word,)),) for word in words]
    if part == PAIRS:
        split = [divmod(pair, len(lexicon.words) + 1) for pair in pairs]
        return [(Condition("token", (word,)), Condition("after", (previous,))) for previous, word in split]
    if part == SKIPS:
        return [
            *((Condition("after", (word,)),) for word in words),
            *((Condition("near", (word,), number=REACH),) for word in words),
        ]
    return [(Condition("count", (word,), number=often),) for often in OFTEN for word in words]


def _found(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which keys, which of `wanted` each is) of those that are wanted at all."""
    if not len(wanted):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    there = np.flatnonzero(wanted[at] == keys)
    return there, at[there]


def _nonzero(held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    token, column = np.nonzero(held)
    return token, column
