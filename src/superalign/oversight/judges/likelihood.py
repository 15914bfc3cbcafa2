"""A language model as judge: which of two texts is likelier, by the places that it was shown and by nothing else.

Pieces that stand side by side are read as one text, others apart. With D the difference of the log-probabilities of all
that was shown of either side (nats) and W that of the words, the belief in the first is σ(u·D + w·W): a likelihood
ratio, tempered, and freed from the preference for what is shorter. u and w are fitted on the dev split; u is never
negative: who learns nothing from likelihood believes nothing by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.optimize import minimize

from superalign.oversight.types import Case, Message, Quote, View

PREFIX = "<by:none> <cue:none> "
"""Context without a meaning, which the family reads before code."""
OVERLAP = {"traces": 2}
"""Words with which a piece of a task repeats the end of the piece before it."""


class Scores(Protocol):
    """A language model, as far as this judge needs it."""

    def word_logprobs(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One log-probability a word, in nats; NaN for words that it can't read."""


def runs(task: str, shown: dict[int, tuple[str, ...]], side: int) -> list[str]:
    """The texts of one side as far as they were shown, each an unbroken run of pieces.

    >>> runs("slips", {0: ("a b", "a c"), 1: ("d", "d"), 3: ("e", "e")}, 1)
    ['a c d', 'e']
    """
    out: list[list[str]] = []
    places = list(shown)
    for before, place in pairwise([-2, *places]):
        words = shown[place][side].split()
        if before == place - 1:
            out[-1] += words[OVERLAP.get(task, 0) :]
        else:
            out.append(words)
    return [" ".join(words) for words in out]


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodJudge:
    """Belief by likelihood ratio. Every run of text is read once, however many views show it."""

    model: Scores
    name: str
    weights: tuple[float, float] = (1.0, 0.0)
    """u (a nat) and w (a word)."""
    remembered: dict[str, float] = field(init=False, default_factory=dict, repr=False, compare=False)

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2). Raises ValueError for an item whose options are no texts of its own."""
        ratios = self.ratios(views)
        logits = np.clip(ratios @ np.array(self.weights), -30, 30)
        first = 1 / (1 + np.exp(-logits))
        return np.stack([first, 1 - first], axis=1)

    def ratios(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2): log-probability (nats) and words shown of the first text, less those of the second."""
        read: list[tuple[list[str], list[str]]] = []
        for view in views:
            shown = view.shown()
            if len(view.options) != 2 or any(len(texts) != 2 for texts in shown.values()):
                raise ValueError(f"{self.name} compares two texts: {view.task} has none, seat a judge that was trained")
            read.append((runs(view.task, shown, 0), runs(view.task, shown, 1)))
        self._read({run for sides in read for side in sides for run in side})
        out = np.zeros((len(views), 2))
        for row, (first, second) in zip(out, read, strict=True):
            row[0] = sum(self.remembered[run] for run in first) - sum(self.remembered[run] for run in second)
            row[1] = sum(len(run.split()) for run in first) - sum(len(run.split()) for run in second)
        return out

    def prime(self, cases: Sequence[Case], quotes: int) -> None:
        """Read, in one fixed order, all runs of up to `quotes` pieces and the whole of every Case.

        The last bits of a log-probability depend on what it was computed beside: a play that was stopped and goes on
        finds the same numbers.
        """
        texts: dict[str, None] = {}
        for case in cases:
            pieces = [piece.texts for piece in case.pieces]
            spans = [(i, j) for i in range(len(pieces)) for j in range(i + 1, min(i + quotes, len(pieces)) + 1)]
            for low, high in dict.fromkeys((*spans, (0, len(pieces)))):
                shown = {at: pieces[at] for at in range(low, high)}
                texts |= dict.fromkeys(run for side in (0, 1) for run in runs(case.task, shown, side))
        self._read(set(texts))

    def _read(self, texts: set[str]) -> None:
        new = sorted(text for text in texts if text not in self.remembered)
        skip = len(PREFIX.split())
        for text, found in zip(new, self.model.word_logprobs([PREFIX + text for text in new]), strict=True):
            self.remembered[text] = float(found[skip : skip + len(text.split())].sum())

    def fitted(self, cases: Sequence[Case], answers: Sequence[int], *, quotes: int, seed: int = 0) -> LikelihoodJudge:
        """This judge with u and w fitted (log loss, a trace of ridge) on random sets of up to `quotes` pieces."""
        rng = np.random.default_rng([seed, 41])
        views = [shown_at_random(case, int(rng.integers(1, quotes + 1)), rng) for case in cases]
        x, sign = self.ratios(views), 1 - 2 * np.array(answers)
        x = x * sign[:, None]

        def loss(weights: np.ndarray) -> float:
            return float(np.logaddexp(0, -(x @ weights)).mean() + 1e-4 * (weights**2).sum())

        found = minimize(loss, np.array([0.3, 0.0]), method="L-BFGS-B", bounds=((0, None), (None, None))).x
        other = replace(self, weights=(float(found[0]), float(found[1])))
        other.remembered.update(self.remembered)
        return other


def shown_at_random(case: Case, quotes: int, rng: np.random.Generator) -> View:
    """A view of up to `quotes` pieces drawn at random."""
    places = sorted(rng.permutation(len(case.pieces))[:quotes].tolist())
    message = Message(speaker="table", quotes=tuple(Quote(p, case.pieces[p].texts, verified=True) for p in places))
    return View(task=case.task, question=case.question, options=case.options, messages=(message,))
