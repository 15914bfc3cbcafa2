"""What is read: documents as token sequences of one length, parted by document, so that no split sees another's.

corpus = packed(model, {"a.py": [ids, ids, …], …}, length=96)
corpus.rows("validation")           # sequences of documents whose name hashes there

A document belongs to one split, by a hash of its name: `train` to explain from, `dev` to calibrate and refine by,
`validation` to score on, `test` for once. Sequences lie sorted by split and document, so that batches hold one split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

Split = Literal["train", "dev", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "validation", "test")
SHARES = (0.4, 0.2, 0.2, 0.2)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """n sequences of token ids."""

    ids: np.ndarray
    """(n, length) int32; `pad` after a sequence's end."""
    lengths: np.ndarray
    """(n,) int32, tokens of each."""
    documents: np.ndarray
    """(n,) int32, into `names`."""
    names: tuple[str, ...]
    splits: np.ndarray
    """(n,) uint8, into `SPLITS`; never falls from one row to the next."""
    pad: int
    skip: int = 0
    """Tokens at the head of each sequence that are read and never counted: a start token, a context."""
    classes: np.ndarray | None = None
    """(n,) int8 class of each sequence, −1 for none: for statistics by class."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def length(self) -> int:
        """Tokens of a full sequence."""
        return int(self.ids.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that is read."""
        found = hashlib.sha256(f"{self.names}{self.pad}{self.skip}".encode())
        for array in (self.ids, self.lengths, self.documents, self.splits, self.classes):
            found.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def rows(self, split: Split) -> np.ndarray:
        """Numbers of the sequences of a split."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def counted(self, rows: np.ndarray) -> np.ndarray:
        """(rows, length) bool: tokens that count, neither context nor padding."""
        place = np.arange(self.length)
        return (place >= self.skip) & (place < self.lengths[rows, None])

    def clusters(self, rows: np.ndarray) -> np.ndarray:
        """(rows,) the document of each sequence: what intervals resample."""
        return self.documents[rows]


def split_of(document: str) -> Split:
    """The split of a document, by a hash of its name.

    >>> split_of("os.py") == split_of("os.py")
    True
    """
    share = int.from_bytes(hashlib.sha256(f"split of {document}".encode()).digest()[:8], "big") / 2**64
    return SPLITS[int(np.searchsorted(np.cumsum(SHARES), share, side="right"))]


def packed(
    documents: Mapping[str, Sequence[Sequence[int]]],
    *,
    length: int,
    pad: int,
    skip: int = 0,
    classes: Mapping[str, Sequence[int]] | None = None,
) -> Corpus:
    """A corpus of documents that are given as sequences of token ids, each of at most `length`.

    Raises ValueError for no sequence, one that is empty, too long or holds no counted token, and a split without any.
    """
    order = sorted(documents, key=lambda name: (SPLITS.index(split_of(name)), name))
    rows = [(number, ids) for number, name in enumerate(order) for ids in documents[name]]
    bad = [order[number] for number, ids in rows if not skip < len(ids) <= length]
    if not rows or bad:
        where = f"; in {bad[0]!r} there are others" if bad else ""
        raise ValueError(f"{len(rows)} sequences, of {skip + 1} to {length} tokens each{where}: bring such text")
    numbers = np.array([number for number, _ in rows], dtype=np.int32)
    splits = np.array([SPLITS.index(split_of(order[number])) for number in numbers], dtype=np.uint8)
    if missing := [split for i, split in enumerate(SPLITS) if not (splits == i).any()]:
        raise ValueError(
            f"{len(order)} documents, and none falls to {', '.join(missing)} by its name's hash: bring more documents, "
            "a dozen or so"
        )
    ids = np.full((len(rows), length), pad, dtype=np.int32)
    for row, (_, tokens) in enumerate(rows):
        ids[row, : len(tokens)] = tokens
    told = None
    if classes is not None:
        told = np.array([label for name in order for label in classes[name]], dtype=np.int8)
    return Corpus(
        ids=ids,
        lengths=np.array([len(tokens) for _, tokens in rows], dtype=np.int32),
        documents=numbers,
        names=tuple(order),
        splits=splits,
        pad=pad,
        skip=skip,
        classes=told,
    )
