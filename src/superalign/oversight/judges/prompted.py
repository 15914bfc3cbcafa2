"""Any language model as judge: it reads what a judge is shown as a prompt, and its next word is its verdict.

    judge = PromptedJudge(model=load_model("hf:/models/weak"), prompt=load_prompt("verdict"))
    judge = judge.fitted(cases, answers, quotes=4)                  # one number: how far its log-odds can be trusted
    judge.beliefs(views), judge.habits(views)

With l the log-probabilities of the options' letters, normalised over them, and averaged over both orders in which the
options are shown, the belief is softmax(scale · l). Averaging takes out what the model likes about a letter or a place
(Zheng et al. 2023, 2306.05685, §3.4); `habits` says how much that was. A prompt that does not fit into the model's
context gets NaN: a judge that read half of it has not judged.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from superalign.models.frames import reserved_of
from superalign.oversight.judges.likelihood import shown_at_random
from superalign.oversight.judges.tempering import both_orders, fitted_scale, normalised, tempered_beliefs
from superalign.oversight.prompts import LETTERS, Prompt, rendered
from superalign.oversight.types import Case, View


class Speaker(Protocol):
    """A language model, as far as this judge needs it."""

    @property
    def tokenizer(self) -> Any:
        """Called with texts it gives `input_ids`, none cut off, as a tokenizer of Hugging Face does."""

    def logprobs(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One log-probability a token after the first, in nats; fewer where a text was cut at the context."""


class Habits(NamedTuple):
    """What a model does whatever it reads, over some views."""

    order: float
    """Nats by which it prefers the option shown first to the one shown last, mean."""
    flips: float
    """Share of views in which it prefers another option when the order is turned."""
    letters: float
    """Probability that its next word is one of the letters at all, mean; tiny: it hasn't understood the question."""
    refused: int
    """Views that did not fit, which are in none of these means."""
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptedJudge:
    """Belief by the next word. Every prompt is read once, however many views come to it."""

    model: Speaker
    prompt: Prompt
    name: str = "prompted judge"
    scale: float = 1.0
    """Belief's log-odds a nat of the model's; 0: it knows nothing."""
    remembered: dict[str, np.ndarray] = field(init=False, default_factory=dict, repr=False, compare=False)
    """Digest of a prompt → log-probabilities of the letters; valid for this model alone."""

    @property
    def weights(self) -> tuple[float]:
        """What was fitted."""
        return (self.scale,)

    @property
    def digest(self) -> str:
        """SHA-256 of the model's identity, the prompt's file and what was fitted."""
        who = getattr(self.model, "identity", self.name)
        return hashlib.sha256(json.dumps([who, self.prompt.digest, repr(self.scale)]).encode()).hexdigest()

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, options); NaN where the prompt does not fit, or the model gives no number.

        Raises ValueError as `readings` does.
        """
        return tempered_beliefs(both_orders(self.readings(views)), self.scale)

    def readings(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2, options): log-probability of each option's letter, nats, options in order and turned round.

        Raises ValueError for views with unlike numbers of options, and for letters that the tokenizer can't tell apart.
        """
        counts = {len(view.options) for view in views}
        if not views:
            return np.zeros((0, 2, 0))
        if len(counts) > 1:
            raise ValueError(f"{self.name} was shown views of {sorted(counts)} options: ask of one number at a time")
        options = counts.pop()
        orders = (tuple(range(options)), tuple(range(options))[::-1])
        reserved = reserved_of(self)
        texts = [[rendered(self.prompt, view, order, reserved=reserved) for order in orders] for view in views]
        self._read([text for pair in texts for text in pair], options)
        out = np.empty((len(views), 2, options))
        for row, pair in zip(out, texts, strict=True):
            for line, text, order in zip(row, pair, orders, strict=True):
                line[list(order)] = self.remembered[_key(text, options)]
        return out

    def habits(self, views: Sequence[View]) -> Habits:
        """What the model does on these views whatever they say. NaN where none of them fits."""
        said = self.readings(views)
        known = said[np.isfinite(said).all(axis=(1, 2))]
        if not len(known):
            return Habits(math.nan, math.nan, math.nan, len(said), len(said))
        plain, turned = normalised(known[:, 0]), normalised(known[:, 1])
        first = plain[:, 0] - plain[:, -1], turned[:, -1] - turned[:, 0]
        return Habits(
            order=float(np.mean(first)),
            flips=float((plain.argmax(axis=1) != turned.argmax(axis=1)).mean()),
            letters=float(np.exp(known).sum(axis=2).mean()),
            refused=len(said) - len(known),
            n=len(said),
        )

    def fitted(self, cases: Sequence[Case], answers: Sequence[int], *, quotes: int, seed: int = 0) -> PromptedJudge:
        """This judge, tempered on random sets of up to `quotes` pieces of each case: a likelihood judge's lesson."""
        rng = np.random.default_rng([seed, 41])
        views = [shown_at_random(case, int(rng.integers(1, quotes + 1)), rng) for case in cases]
        return self.tempered(views, answers)

    def tempered(self, views: Sequence[View], answers: Sequence[int]) -> PromptedJudge:
        """This judge with its scale fitted (log loss, a trace of ridge); never negative. Views that don't fit are out.

        Raises ValueError where none fits.
        """
        logits = both_orders(self.readings(views))
        if not np.isfinite(logits).all(axis=1).any():
            raise ValueError(
                f"{self.name}: none of {len(views)} prompts fits into the model's context: use a shorter prompt, "
                "fewer quotes or another model"
            )
        return self._scaled(fitted_scale(logits, answers))

    def _scaled(self, scale: float) -> PromptedJudge:
        """This judge with another scale, and with all that it has read."""
        other = replace(self, scale=scale)
        other.remembered.update(self.remembered)
        return other

    def _read(self, texts: Sequence[str], options: int) -> None:
        """Ask the model about all prompts that it has not read yet, each letter behind each, in one batch."""
        new = {_key(text, options): text for text in texts}
        new = {key: text for key, text in new.items() if key not in self.remembered}
        if not new:
            return
        asked = [f"{text} {letter}" for text in new.values() for letter in LETTERS[:options]]
        ids = self.model.tokenizer(asked, add_special_tokens=True)["input_ids"]
        found = self.model.logprobs(asked)
        unknown = getattr(self.model.tokenizer, "unk_token_id", None)
        for at, key in enumerate(new):
            some = slice(at * options, (at + 1) * options)
            self.remembered[key] = _last_words(ids[some], found[some], unknown)


def _last_words(ids: Sequence[Sequence[int]], found: Sequence[np.ndarray], unknown: int | None) -> np.ndarray:
    """Log-probability of that in which texts differ, before it what they begin with in common; NaN for texts cut off.

    Raises ValueError where two of them are one and the same to the tokenizer, or end in a word that it does not know.
    """
    shortest = min(map(len, ids))
    start = next((k for k in range(shortest) if len({row[k] for row in ids}) > 1), shortest)
    end = next((k for k in range(shortest - start) if len({row[-1 - k] for row in ids}) > 1), shortest - start)
    ends = [tuple(row[start : len(row) - end]) for row in ids]
    if len(set(ends)) < len(ends) or () in ends or start == 0 or any(unknown in words for words in ends):
        letters = ", ".join(LETTERS[: len(ids)])
        raise ValueError(f"this model's tokenizer has no words of their own for {letters}: it can't answer by letters")
    if any(len(line) != len(row) - 1 for row, line in zip(ids, found, strict=True)):
        return np.full(len(ids), np.nan)
    sums = [line[start - 1 : len(line) - end].sum() for line in found]
    return np.array([value if np.isfinite(value) else np.nan for value in sums], dtype=np.float64)


def _key(text: str, options: int) -> str:
    return hashlib.sha256(f"{options}\0{text}".encode()).hexdigest()
