"""Label leakage: is a question of one half, or split, there in the other as well, word for word or nearly so?

    refuse_leaks(questions.take(half_a), questions.take(half_b))     # raises, and shows the pair

By 13-grams of words, as in GPT-3's decontamination (2005.14165, appendix C; `evidence.fingerprints`): two questions are
near duplicates when half of the grams of one, or more, occur in the other. Both texts of a pair count as one question,
in whichever order they stand. A gram that very many questions share belongs to a template, not to them, and is left
out; questions that are equal word for word are found all the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superalign.evidence.errors import SuperalignError
from superalign.evidence.fingerprints import SHARE, grams, words
from superalign.generalization.questions import Questions

COMMON, LEAST = 0.1, 10
"""A gram in more than this share of all questions, and in more than so many, is a template's."""
SHOWN = 160
"""Characters of each text in a message."""


class LeakError(SuperalignError):
    """Questions of two sides that must be apart repeat each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A question of side B and the one of side A that it repeats most."""

    a: int
    """Row of side A."""
    b: int
    """Row of side B."""
    share: float
    """Of the grams of the one with fewer that occur in the other; 1 where they are equal."""


def leaks(side_a: Questions, side_b: Questions) -> tuple[Leak, ...]:
    """Every question of side B that repeats one of side A, by row of B, with the nearest.

    Example: `leaks(train, validation) == ()`
    """
    exact: dict[tuple[tuple[str, ...], ...], int] = {}
    for row, said in enumerate(_said(side_a)):
        exact.setdefault(said, row)
    told_a, told_b = _fingerprints(side_a), _fingerprints(side_b)
    template = _template([*told_a, *told_b])
    own_a, own_b = ([told - template for told in side] for side in (told_a, told_b))
    holders: dict[int, list[int]] = defaultdict(list)
    for row, told in enumerate(own_a):
        for gram in told:
            holders[gram].append(row)
    found = []
    for b, (said, told) in enumerate(zip(_said(side_b), own_b, strict=True)):
        if said in exact:
            found.append(Leak(a=exact[said], b=b, share=1.0))
            continue
        shared = Counter(row for gram in told for row in holders.get(gram, ()))
        shares = {row: count / min(len(told), len(own_a[row])) for row, count in shared.items()}
        nearest = min(shares, key=lambda row: (-shares[row], row), default=None)
        if nearest is not None and shares[nearest] >= SHARE:
            found.append(Leak(a=nearest, b=b, share=shares[nearest]))
    return tuple(found)


def refuse_leaks(side_a: Questions, side_b: Questions, *, names: tuple[str, str] = ("half A", "half B")) -> None:
    """Raise LeakError, with the nearest pair shown, where a question of side B repeats one of side A."""
    found = leaks(side_a, side_b)
    if not found:
        return
    worst = max(found, key=lambda leak: (leak.share, -leak.b))
    raise LeakError(
        f"{len(found)} of {len(side_b)} questions of {names[1]} repeat one of {names[0]}; the nearest, "
        f"{worst.share:.0%} of its 13-grams:\n"
        f"  {names[0]}, {side_a.ids[worst.a]}: {_shown(side_a, worst.a)}\n"
        f"  {names[1]}, {side_b.ids[worst.b]}: {_shown(side_b, worst.b)}\n"
        "Give both the same cluster, or remove one of the two."
    )


def apart(side_a: Questions, side_b: Questions) -> Questions:
    """Side B without the questions that repeat one of side A."""
    gone = {leak.b for leak in leaks(side_a, side_b)}
    return side_b.take(np.array([row for row in range(len(side_b)) if row not in gone], dtype=np.int64))


def _said(questions: Questions) -> list[tuple[tuple[str, ...], ...]]:
    """The words of each question's texts; of pairs in an order that does not depend on theirs."""
    return [tuple(sorted(tuple(words(text)) for text in texts)) for texts in zip(*questions.texts, strict=True)]


def _fingerprints(questions: Questions) -> list[frozenset[int]]:
    """The grams of each question, of both texts where there are two."""
    sides = [grams(map(words, texts)) for texts in questions.texts]
    return [frozenset().union(*told) for told in zip(*sides, strict=True)]


def _template(told: Sequence[frozenset[int]]) -> frozenset[int]:
    """Grams that are too common to tell questions apart."""
    counts = Counter(gram for grams_ in told for gram in grams_)
    return frozenset(gram for gram, n in counts.items() if n > max(LEAST, COMMON * len(told)))


def _shown(questions: Questions, row: int) -> str:
    return " | ".join(repr(text[row][:SHOWN]) for text in questions.texts)
