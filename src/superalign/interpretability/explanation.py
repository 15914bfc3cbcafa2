"""What an explanation is: something that says in words what a unit does, and predicts it on any tokens.

told = read_sample(model, corpus, site, drawn(corpus, "train", tokens=130_000, seed=0))
explainer = unigram(told)                             # explains all units of one site at once
explainer.predict(ids, lengths)                       # (rows, length, units)
explainer.explanation(7).text                         # "fires on `return`, `yield`"

What is fitted, chosen or refined sees sequences of `train` and `dev` only: `Sample.held_in` raises ValueError else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from superalign.interpretability.corpus import SPLITS, Corpus, Split
from superalign.interpretability.units import Site, activations
from superalign.models import LocalModel
from superalign.models.local import text_config
from superalign.models.words import one_token_a_word

WORDS = 25
"""Of an explanation's text, about."""
BATCH = 64
"""Sequences whose predictions are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is said of one unit."""

    text: str
    bits: float
    """Description length: what it would take to send the explanation."""


class Explainer(Protocol):
    """Says what each unit of one site does, and predicts it."""

    @property
    def name(self) -> str:
        """The family of explanations, as in `unigram`."""

    def predict(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(rows, length, units) float32 from ids (rows, length); values after a sequence's end mean nothing."""

    def explanation(self, unit: int) -> Explanation:
        """Of one unit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What one site does on some sequences of a corpus; one site at a time, and never stored."""

    corpus: Corpus
    site: Site
    words: tuple[str, ...]
    """The vocabulary, by id."""
    rows: np.ndarray
    """(n,) numbers of the sequences in the corpus, ascending."""
    counted: np.ndarray
    """(n, length) bool."""
    values: np.ndarray
    """(tokens, units) float32: the counted tokens, row after row."""

    @property
    def ids(self) -> np.ndarray:
        """(n, length)"""
        found: np.ndarray = self.corpus.ids[self.rows]
        return found

    @property
    def lengths(self) -> np.ndarray:
        """(n,)"""
        found: np.ndarray = self.corpus.lengths[self.rows]
        return found

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits that any of its sequences belongs to."""
        return tuple(SPLITS[i] for i in np.unique(self.corpus.splits[self.rows]))

    def held_in(self, *allowed: Split) -> Sample:
        """This sample, if all of it lies in the splits `allowed`, `train` and `dev` if none is given; else ValueError.

        What fits or refines an explanation calls this: the score's windows stay unseen.
        """
        allowed = allowed or ("train", "dev")
        if beyond := set(self.splits) - set(allowed):
            raise ValueError(
                f"{self.site.name}: sequences of {', '.join(sorted(beyond))} are offered where an explanation is made: "
                f"bring such of {' and '.join(allowed)}, the others are for scores"
            )
        return self

    def first(self, tokens: int) -> Sample:
        """Every k-th of its sequences, so that about so many tokens stay: the whole sample if it has no more."""
        step = max(1, -(-len(self.values) // max(1, tokens)))
        if step == 1:
            return self
        kept = np.arange(len(self.rows)) % step == 0
        tokens_kept = np.repeat(kept, self.counted.sum(1))
        return Sample(
            corpus=self.corpus,
            site=self.site,
            words=self.words,
            rows=self.rows[kept],
            counted=self.counted[kept],
            values=self.values[tokens_kept],
        )

    def clusters(self) -> np.ndarray:
        """(n,) the document of each sequence."""
        return self.corpus.clusters(self.rows)


def drawn(corpus: Corpus, split: Split, *, tokens: int, seed: int) -> np.ndarray:
    """Numbers of sequences of a split, drawn without replacement until they hold `tokens` counted tokens; ascending.

    The whole split where it holds no more. Raises ValueError for fewer than one token.
    """
    if tokens < 1:
        raise ValueError(f"{tokens} tokens of {split}: ask for one or more")
    rows = np.random.default_rng([seed, SPLITS.index(split), 101]).permutation(corpus.rows(split))
    held = np.cumsum(corpus.counted(rows).sum(1))
    return np.sort(rows[: int(np.searchsorted(held, tokens)) + 1])


def read_sample(model: LocalModel, corpus: Corpus, site: Site, rows: np.ndarray) -> Sample:
    """What a site does on sequences of a corpus: one forward pass. Raises ValueError for no sequence."""
    return read_samples(model, corpus, (site,), rows)[0]


def read_samples(model: LocalModel, corpus: Corpus, sites: Sequence[Site], rows: np.ndarray) -> tuple[Sample, ...]:
    """The same of several sites, in one forward pass for all of them."""
    rows = np.unique(rows)
    if not len(rows):
        raise ValueError(f"{', '.join(site.name for site in sites)}: no sequences to read: give some rows")
    counted = corpus.counted(rows)
    kept = [np.empty((int(counted.sum()), site.units), dtype=np.float32) for site in sites]
    row = token = 0
    for batch in activations(model, sites, corpus.ids[rows], corpus.lengths[rows]):
        some = counted[row : row + len(batch[sites[0].name])]
        row, count = row + len(some), int(some.sum())
        for site, values in zip(sites, kept, strict=True):
            values[token : token + count] = batch[site.name][some]
        token += count
    words = words_of(model)
    return tuple(
        Sample(corpus=corpus, site=site, words=words, rows=rows, counted=counted, values=values)
        for site, values in zip(sites, kept, strict=True)
    )


def residuals(explainer: Explainer | None, sample: Sample) -> np.ndarray:
    """(tokens, units) what a site does less what is predicted; a copy of its activations without an explainer."""
    left = sample.values.copy()
    if explainer is not None:
        for some, predicted in predictions(explainer, sample):
            left[some] -= predicted
    return left


def predictions(explainer: Explainer, sample: Sample) -> Iterator[tuple[slice, np.ndarray]]:
    """(which of the sample's tokens, (tokens, units) predicted), a batch of sequences at a time."""
    token = 0
    for start in range(0, len(sample.rows), BATCH):
        rows = sample.rows[start : start + BATCH]
        told = explainer.predict(sample.corpus.ids[rows], sample.corpus.lengths[rows])
        flat = told[sample.counted[start : start + BATCH]]
        yield slice(token, token + len(flat)), flat
        token += len(flat)


def before(ids: np.ndarray, steps: int, *, nothing: int) -> np.ndarray:
    """(rows, length) the token so many steps before each; `nothing` where a sequence had not begun."""
    if not steps:
        return ids
    moved = np.full_like(ids, nothing)
    moved[:, steps:] = ids[:, :-steps]
    return moved


def words_of(model: LocalModel) -> tuple[str, ...]:
    """What each token id reads as."""
    count = int(text_config(model.network).vocab_size)
    if one_token_a_word(model.tokenizer):
        return tuple(str(word) for word in model.tokenizer.convert_ids_to_tokens(list(range(count))))
    known = len(model.tokenizer)
    return tuple(str(model.tokenizer.decode([i])) if i < known else f"<{i}>" for i in range(count))


def brief(clauses: Sequence[str], words: int = WORDS) -> str:
    """The first clauses, the weightiest, joined by semicolons, as long as they have `words` words or fewer together.

    At least one is told; what is left out is still part of the prediction, and of its bits.
    """
    kept, count = list[str](), 0
    for clause in clauses:
        count += len(clause.split())
        if kept and count > words:
            break
        kept.append(clause)
    return "; ".join(kept)


def quoted(word: str) -> str:
    """A token as explanations write it, in backticks; blanks and backticks within are escaped.

    >>> quoted("return")
    '`return`'
    """
    return "`" + word.encode("unicode_escape").decode().replace("`", "\\x60") + "`"


def unquoted(text: str) -> str:
    """What `quoted` was given. Raises ValueError for what it never gives."""
    inner = re.fullmatch(r"`([^`]+)`", text)
    if inner is None:
        raise ValueError(f"{text!r} is no token in backticks")
    return inner[1].encode("latin-1", "backslashreplace").decode("unicode_escape")
