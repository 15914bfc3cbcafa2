"""A constructed language for requests: a fixed permutation of their words onto others of the closed vocabulary.

    speak = dialect(seed=0)
    speak.said(prompt(brief))            # "# harbor orbit x * 3 tower x > 4" for "# total of x * 3 if x > 4"

Digits and symbols stay, as they do between real languages, and so does the header. The words that requests are
translated into are names of runs, which stand in headers otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from superalign.tasks.functions import RUNS, WORDINGS

LINE = " <0> "
SPOKEN = (*(word for each in WORDINGS.values() for word in each), "of", "if")
"""The words of a request that have a translation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A language: word → word, one to one."""

    words: Mapping[str, str]

    def said(self, text: str) -> str:
        """A writer's prompt with its request translated."""
        return _request_line(text, self.words)

    def understood(self, text: str) -> str:
        """The prompt that was translated: the inverse of `said`."""
        return _request_line(text, {there: here for here, there in self.words.items()})


def dialect(*, seed: int) -> Dialect:
    """The language of a seed."""
    order = np.random.default_rng([seed, 101]).permutation(len(RUNS))
    return Dialect(words={word: RUNS[i] for word, i in zip(SPOKEN, order.tolist(), strict=False)})


def _request_line(text: str, words: Mapping[str, str]) -> str:
    lines = text.split(LINE)
    if len(lines) < 3:
        raise ValueError(f"a prompt has a header, a request and a first line, not {len(lines)} lines: {text!r}")
    lines[1] = " ".join(words.get(word, word) for word in lines[1].split())
    return LINE.join(lines)
