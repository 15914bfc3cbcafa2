"""Harmless rewriting: changes of a text that change nothing about it, and should change no verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from superalign.tasks.lexer import INDENTS, SLOTS


def renamed(code: str, rng: np.random.Generator) -> str:
    """Local identifiers permuted among all slots.

    >>> import numpy as np
    >>> renamed("v0 = v1", np.random.default_rng(0)) != ""
    True
    """
    order = rng.permutation(len(SLOTS))
    new = {slot: SLOTS[i] for slot, i in zip(SLOTS, order, strict=True)}
    return " ".join(new.get(word, word) for word in code.split())


def reformatted(code: str, rng: np.random.Generator) -> str:
    """The whole window one indentation level deeper, or as deep as the vocabulary goes."""
    deeper = {INDENTS[i]: INDENTS[min(i + 1, len(INDENTS) - 1)] for i in range(len(INDENTS))}
    return " ".join(deeper.get(word, word) for word in code.split())


REWRITINGS: Mapping[str, Callable[[str, np.random.Generator], str]] = {
    "rename": renamed,
    "format": reformatted,
}
