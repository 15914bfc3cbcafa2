"""Splits of your own data: by its `split` fields, or frozen by the hash of each row's cluster; and what breaks them.

    split_of("a passage")                 # the same on every machine, for ever, whatever else the file holds
    apart(rows, "choice")                 # rows that repeat one another, or stand on both sides of a split

Of a hundred clusters some 50 go to train, 10 to dev, 20 to validation, 20 to test: there is no seed, and rows that are
added later move no other. Clusters are compared by their exact words; those made from a question or passage, but for
case and white space.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from superalign.evidence.fingerprints import SHARE, grams, words
from superalign.tasks.item import SPLITS
from superalign.tasks.own_forms import OwnRow, plain
from superalign.tasks.own_reading import Broken

BOUNDS = (50, 60, 80, 100)
"""Hundredths below which a cluster's hash falls into train, dev, validation, test."""
COMMON, LEAST = 0.1, 10
"""A 13-gram in more than this share of all rows, and in more than so many, is a template's."""


def split_of(cluster: str) -> str:
    """The split of a cluster, by its hash alone.

    >>> [split_of(f"cluster {n}") for n in range(4)]
    ['train', 'validation', 'train', 'dev']
    """
    told = hashlib.sha256(f"superalign own split 1\0{cluster}".encode()).digest()
    place = int.from_bytes(told[:8], "big") % 100
    return next(split for split, bound in zip(SPLITS, BOUNDS, strict=True) if place < bound)


def splits(rows: Sequence[OwnRow]) -> tuple[str, ...]:
    """The split of each row: its own where rows name theirs, else its cluster's."""
    return tuple(row.split or split_of(row.cluster) for row in rows)


def apart(rows: Sequence[OwnRow], form: str) -> tuple[Broken, ...]:
    """Every row by which a file can't be split honestly, one complaint a row, in their order.

    A row that names its split where another doesn't; that repeats an id, or what another row asks; or whose cluster,
    or question, stands in another split as well: what is measured there would have been learned here. A prompt that
    stands before every text with a label is no question, but what they are all asked about.
    """
    one_prompt = form == "label" and len({plain(row.question) for row in rows}) == 1
    return tuple(_complaints(rows, one_prompt))


def _complaints(rows: Sequence[OwnRow], one_prompt: bool) -> Iterator[Broken]:
    named = next((row for row in rows if row.split), None)
    ids: dict[str, OwnRow] = {}
    content: dict[tuple[object, ...], OwnRow] = {}
    clusters: dict[str, tuple[OwnRow, str]] = {}
    asked: dict[str, tuple[OwnRow, str]] = {}
    for row, split in zip(rows, splits(rows), strict=True):
        first, there = asked.setdefault(row.asked, (row, split))
        head, home = clusters.setdefault(row.cluster, (row, split))
        if named is not None and not row.split:
            yield Broken(row.where, f"no 'split', which {named.where} has: give every row one, or none")
        elif row.id and ids.setdefault(row.id, row) is not row:
            yield Broken(row.where, f"id {row.id!r} is that of {ids[row.id].where} too: give each row its own, or none")
        elif content.setdefault(row.content, row) is not row:
            yield Broken(row.where, f"asks what {content[row.content].where} asks: remove one of the two")
        elif home != split:
            yield Broken(
                row.where, f"its cluster stands in {home} ({head.where}) and here in {split}: give it one split"
            )
        elif there != split and not one_prompt:
            yield Broken(
                row.where,
                f"its question stands in {there} ({first.where}) and here in {split}: give both one cluster, or split",
            )


def near(texts: Sequence[str], where: Sequence[str]) -> int:
    """Texts of dev, validation and test of whose 13-grams half or more stand in one split above them (2005.14165, C);
    `where`: the split of each.

    Grams of a template, which very many texts share, are left out. Word for word they are `apart`'s.
    """
    told = grams(list(map(words, texts)))
    counts: dict[int, int] = {}
    for each in told:
        for gram in each:
            counts[gram] = counts.get(gram, 0) + 1
    template = {gram for gram, n in counts.items() if n > max(LEAST, COMMON * len(texts))}
    known: dict[str, set[int]] = {split: set() for split in SPLITS}
    mine = [each - template for each in told]
    for split, each in zip(where, mine, strict=True):
        known[split] |= each
    found = 0
    for split, each in zip(where, mine, strict=True):
        above = SPLITS[: SPLITS.index(split)]
        found += bool(each) and any(len(each & known[other]) >= SHARE * len(each) for other in above)
    return found
