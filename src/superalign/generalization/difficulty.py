"""How hard a question is, told in three ways (as in Hase et al. 2024, 2401.06751): higher is harder.

*By construction*: kinds of fault that a task makes easy or hard. *By a small model*: how little its zero-shot belief
puts on the truth (`loss`), or how near to ½ it is (`margin`, which needs no truth). *By a human proxy*: how many words
stand on the line that has to be checked (`human`: of what can be counted in code, the length of lines is among what
goes best with what people call readable, Buse and Weimer 2010, IEEE TSE 36(4)), or how many different names have to be
kept apart that tell nothing (`names`). What is long is not what these models find hard; many names are, a little.
By construction, by margin and by proxy nothing depends on which text is the right one; by loss it does.

    questions = graded(questions)                       # what texts and kinds tell
    cut = cut_at(hardness(material, "human"))
    easy, hard = easy_and_hard(hardness(material, "human"), cut)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import zip_longest
from types import MappingProxyType

import numpy as np

from superalign.generalization.material import Material
from superalign.generalization.questions import Questions
from superalign.generalization.reading import Reading, log_odds
from superalign.tasks.lexer import INDENTS, SLOTS
from superalign.tasks.slips import EASY, HARD

WAYS = ("construction", "loss", "margin", "human", "names")
SMALL = "weak"
"""Whose belief tells difficulty, in `Material.readings`: the smallest model, which is not the one that is examined."""


def by_construction(kinds: np.ndarray, *, easy: Collection[str] = EASY, hard: Collection[str] = HARD) -> np.ndarray:
    """(n,) 1 for kinds that are hard by construction, 0 for easy ones. Raises ValueError for kinds that are neither."""
    told = set(map(str, kinds))
    if unknown := sorted(told - {*easy, *hard}):
        raise ValueError(
            f"whether kind {unknown[0]!r} is easy or hard nobody has said ({', '.join(easy)} are easy, "
            f"{', '.join(hard)} hard): tell difficulty in another way, or name the kinds"
        )
    return np.isin(kinds, list(hard)).astype(np.float64)


def by_loss(small: Reading, truth: np.ndarray) -> np.ndarray:
    """(n,) −log of what a small model believes of the truth, in nats: most where it is surely wrong."""
    return np.asarray(np.logaddexp(0, -log_odds(small.belief) * np.where(truth, 1, -1)))


def by_margin(small: Reading) -> np.ndarray:
    """(n,) minus a small model's |log-odds|: hardest where it can't decide. No truth is needed."""
    return np.asarray(-np.abs(log_odds(small.belief)))


def by_person(questions: Questions) -> np.ndarray:
    """(n,) words on the line to be checked: where a pair's texts part, the longer one; of one text, its longest."""
    if questions.second is None:
        return np.array([max(map(len, _lines(text))) for text in questions.first], dtype=np.float64)
    pairs = zip(questions.first, questions.second, strict=True)
    return np.array([_parting(_lines(first), _lines(second)) for first, second in pairs], dtype=np.float64)


def by_names(questions: Questions) -> np.ndarray:
    """(n,) different names without a meaning (slots) in a question's texts."""
    slots = frozenset(SLOTS)
    texts = zip(*questions.texts, strict=True)
    return np.array([len(slots & set(" ".join(pair).split())) for pair in texts], dtype=np.float64)


def _lines(text: str) -> list[list[str]]:
    """Words by line; family words have their newlines spelled `<L0>` to `<L6>`."""
    lines: list[list[str]] = [[]]
    for line in text.split("\n"):
        for word in line.split():
            if word in INDENTS:
                lines.append([])
            else:
                lines[-1].append(word)
        lines.append([])
    return lines


def _parting(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> int:
    """Words on the first line that differs; 0 where none does."""
    for mine, other in zip_longest(first, second, fillvalue=()):
        if mine != other:
            return max(len(mine), len(other))
    return 0


def graded(questions: Questions) -> Questions:
    """The questions with what kinds and texts tell of their difficulty; models tell theirs in `hardness`."""
    found = dict(questions.difficulty) | {"human": by_person(questions)}
    if (names := by_names(questions)).any():
        found["names"] = names
    if set(map(str, questions.kinds)) <= {*EASY, *HARD}:
        found["construction"] = by_construction(questions.kinds)
    return replace(questions, difficulty=MappingProxyType(found))


def hardness(material: Material, way: str, *, small: str = SMALL) -> np.ndarray:
    """(n,) how hard, by a way that the material was graded in, or by its kinds, or by the belief of a small model.

    Raises ValueError for a way that this material can't be told by.
    """
    if way in material.difficulty:
        return material.difficulty[way]
    if way == "construction":
        return by_construction(material.kinds)
    if way in ("loss", "margin") and small in material.readings:
        read = material.readings[small]
        return by_margin(read) if way == "margin" else by_loss(read, material.truth)
    raise ValueError(
        f"difficulty by {way!r} can't be told of this material: it was graded by "
        f"{', '.join(material.difficulty) or 'nothing'} and read by {', '.join(material.readings)}; call "
        f"`graded` on its questions, or bring a reading {small!r} for 'loss' and 'margin'"
    )


def cut_at(values: np.ndarray, share: float = 0.5) -> float:
    """The cut between two neighbouring values below which nearest to a `share` of them lie.

    Raises ValueError where nothing can be cut: fewer than two different values, NaN, or a share outside (0, 1).

    >>> cut_at(np.array([0.0, 1.0, 1.0, 1.0]))
    0.5
    """
    if not 0 < share < 1:
        raise ValueError(f"a share of {share:g} can't be cut off: it must lie between 0 and 1")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {len(values)} difficulties are no numbers")
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) < 2:
        raise ValueError(f"all {len(values)} questions are equally hard: nothing parts the easy from the hard")
    below = np.cumsum(counts)[:-1] / len(values)
    at = int(np.argmin(np.abs(below - share)))
    return float((levels[at] + levels[at + 1]) / 2)


def easy_and_hard(values: np.ndarray, cut: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows at or below the cut, and rows above it."""
    return np.flatnonzero(values <= cut), np.flatnonzero(values > cut)
