"""A judge in words: any language model that is asked which option is right, wherever it runs.

    judge = SpokenJudge(speaker=speaker, prompt=load_chat_prompt("judge")).settled()
    judge.using                                              # "logprob", or "samples" where it gives none
    judge = judge.fitted(cases, answers, quotes=4)           # one number: how far its log-odds can be trusted
    judge.beliefs(views), judge.counted, judge.readable

Both orders of the options are asked, and the belief is softmax(scale · l), l the log-probabilities of the options
averaged over them, as `PromptedJudge` has it (Zheng et al. 2023, 2306.05685, §3.4). By log-probability, l is that of
the verdict's letter as the answer's first token; a letter that is not among the alternatives given is bounded
(`letter_logprobs`); an answer that begins as refusals do is a refusal, whatever letters stand among them. By samples,
`samples` verdicts are drawn, half of them in either order, and l is the logarithm of (verdicts for the option + 1) /
(verdicts read + options) in that order: Laplace's rule, which keeps a belief by eight verdicts from being sure. Each
draw has a seed of its own page, so that chance errs one way at one item and another way at the next. What can't be
read is counted by kind and no verdict; where nothing can be read there is no belief. A prompt whose answer is a JSON
object (`judge-reasons`) can only be asked by samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from superalign.evidence import SuperalignError
from superalign.models.answers import REFUSED_IN_WORDS, Unread, as_schema, read_choice, read_json, refuses, unanswered
from superalign.models.frames import reserved_of
from superalign.models.speaker import Ask, Reply, Speaker, Turn
from superalign.oversight.judges.likelihood import shown_at_random
from superalign.oversight.judges.tempering import both_orders, fitted_scale, tempered_beliefs
from superalign.oversight.prompts.chat import ChatPrompt, load_chat_prompt
from superalign.oversight.prompts.rendering import letters_of
from superalign.oversight.spoken.answers import form_of, letter_logprobs
from superalign.oversight.spoken.framing import judge_turns
from superalign.oversight.spoken.players import READ, SEEDS, answers_to
from superalign.oversight.table import Failed
from superalign.oversight.types import Case, View

By = Literal["logprob", "samples", "auto"]
NO_LOGPROBS = "no log-probabilities"
LETTER = ("letter",)
FIRST = 8
"""Tokens of an answer that is a letter: enough to tell a refusal by."""
REASONS = 400
PROBE = View(task="", question="", options=("a", "b"))
"""Nothing at all: what a judge is shown that chooses how it is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenJudge:
    """Belief by what one speaker says with one prompt. Nothing is asked twice that was answered."""

    speaker: Speaker
    prompt: ChatPrompt = field(default_factory=lambda: load_chat_prompt("judge"))
    by: By = "auto"
    """`auto`: by log-probability, or by samples where the speaker's first answer comes without."""
    name: str = "judge in words"
    scale: float = 1.0
    """Belief's log-odds a nat of what it says; 0: it knows nothing."""
    samples: int = 8
    """Verdicts drawn for a belief, an even number."""
    temperature: float = 1.0
    """Of these draws."""
    seed: int = 0
    alternatives: int = 20
    """Of how many tokens log-probabilities are asked for: more, where a provider gives them."""
    tokens: int = 0
    """Of an answer, at most; 0: 8 for a letter, 400 for reasons. A model that thinks before it answers needs more."""
    length: int = 800
    """Characters of these reasons, at most."""
    choice: list[str] = field(init=False, default_factory=list, repr=False, compare=False)
    """What `auto` has come to, once it has."""
    heard: dict[str, str] = field(init=False, default_factory=dict, repr=False, compare=False)
    counted: dict[str, int] = field(init=False, default_factory=dict, repr=False, compare=False)
    remembered: dict[str, Reply] = field(init=False, default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.samples < 2 or self.samples % 2:
            raise ValueError(f"{self.samples} samples: half of them are asked in either order, so take an even number")
        if self.prompt.role != "judge":
            raise ValueError(f"the prompt {self.prompt.name} is one of an adviser: give a judge's")
        if self.by == "logprob" and self.prompt.answer != LETTER:
            raise ValueError(
                f"the prompt {self.prompt.name} asks for {', '.join(self.prompt.answer)}: by log-probability a judge "
                "answers with a letter; choose by='samples' or another prompt"
            )

    @property
    def using(self) -> str:
        """ "logprob" or "samples"; empty while `auto` is undecided."""
        if self.by != "auto":
            return self.by
        return "samples" if self.prompt.answer != LETTER else "".join(self.choice)

    @property
    def undecided(self) -> bool:
        """Does it have to hear a first answer before it can be asked?"""
        return not self.using

    @property
    def weights(self) -> tuple[float]:
        """What was fitted."""
        return (self.scale,)

    @property
    def digest(self) -> str:
        """SHA-256 of the speaker's identity, the prompt's file, how it is asked (`using`) and what was fitted."""
        by = [self.alternatives] if self.using == "logprob" else [self.samples, repr(self.temperature), self.seed]
        how = [self.using or "undecided", *by, self.tokens, self.length]
        told = [self.speaker.identity, self.prompt.digest, how, repr(self.scale)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    @property
    def readable(self) -> float:
        """Share of replies that held a verdict, of all that came; NaN before the first."""
        return self.counted.get(READ, 0) / sum(self.counted.values()) if self.counted else float("nan")

    def settled(self) -> SpokenJudge:
        """This judge, which knows now how it is asked: where it is undecided, it asks once, about nothing.

        Raises SuperalignError where no answer came that tells.
        """
        if self.undecided:
            self.settle(self.speaker.ask(self.probes()))
        return self

    def probes(self) -> tuple[Ask, ...]:
        """What an undecided judge asks first: its own prompt about nothing at all, in both orders."""
        return tuple(self._ask(PROBE, order, alternatives=self.alternatives) for order in _orders(PROBE))

    def settle(self, replies: Sequence[Reply]) -> None:
        """Decide by the replies to `probes`. Raises SuperalignError where none is an answer: neither way was seen."""
        silent = [other.kind for reply in replies if (other := unanswered(reply)) is not None]
        given = any(reply.tokens for reply in replies)
        if len(silent) == len(replies) and not given:
            raise SuperalignError(
                f"{self.name} ({self.speaker.identity}) gave no first answer ({', '.join(silent)}), so whether it "
                "gives log-probabilities is not known: try again, or say by which it is to be asked, logprob or samples"
            )
        if self.undecided:
            self.choice.append("logprob" if given else "samples")

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, options); NaN where nothing that was said can be read. Raises ValueError as `readings` does."""
        return tempered_beliefs(both_orders(self.readings(views)), self.scale)

    def readings(self, views: Sequence[View]) -> np.ndarray:
        """(views, 2, options): log-probability of each option, nats, options in order and turned round.

        Raises ValueError for views with unlike numbers of options.
        """
        counts = {len(view.options) for view in views}
        if not views:
            return np.zeros((0, 2, 0))
        if len(counts) > 1:
            raise ValueError(f"{self.name} was shown views of {sorted(counts)} options: ask of one number at a time")
        found = answers_to(self.settled(), "readings", views)
        nothing = np.full((2, counts.pop()), np.nan)
        return np.array([nothing if isinstance(each, Failed) else each for each in found])

    def answers_to(self, what: str, abouts: Sequence[Any]) -> list[Any]:
        """Answers as `play` asks for them: those that failed keep their kind."""
        return answers_to(self.settled(), what, abouts)

    def fitted(self, cases: Sequence[Case], answers: Sequence[int], *, quotes: int, seed: int = 0) -> SpokenJudge:
        """This judge, tempered on random sets of up to `quotes` pieces of each case: a likelihood judge's lesson."""
        rng = np.random.default_rng([seed, 41])
        views = [shown_at_random(case, int(rng.integers(1, quotes + 1)), rng) for case in cases]
        return self.tempered(views, answers)

    def tempered(self, views: Sequence[View], answers: Sequence[int]) -> SpokenJudge:
        """This judge with its scale fitted (log loss, a trace of ridge); never negative. What can't be read is out.

        Raises ValueError where nothing can be read.
        """
        other = replace(self, scale=fitted_scale(both_orders(self.readings(views)), answers))
        other.choice.extend(self.choice)
        other.heard.update(self.heard)
        other.counted.update(self.counted)
        other.remembered.update(self.remembered)
        return other

    def asks_of(self, what: str, about: Any) -> tuple[Ask, ...]:
        """One request for either order of the options, or half of the samples. Raises ValueError while undecided."""
        if self.undecided:
            raise ValueError(f"{self.name} does not know yet how it is asked: call settled(), or settle() with a reply")
        if self.using == "logprob":
            return tuple(self._ask(about, order, alternatives=self.alternatives) for order in _orders(about))
        half = self.samples // 2
        return tuple(
            self._ask(about, order, draw=turned * half + k)
            for turned, order in enumerate(_orders(about))
            for k in range(half)
        )

    def answer_of(self, what: str, about: Any, replies: Sequence[Reply]) -> Any:
        """(options,) its belief; for "readings" (2, options) what it goes by; `Failed` where nothing can be read."""
        found = self._drawn(about, replies) if self.using == "samples" else self._first(about, replies)
        if what == "readings" or isinstance(found, Failed):
            return found
        return tuple(map(float, tempered_beliefs(both_orders(found[None]), self.scale)[0]))

    def kind_of(self, what: str, about: Any, reply: Reply) -> str:
        """ "read", or what the reply is instead."""
        found = self._verdict(about, reply) if self.using == "samples" else self._letters(about, reply)
        return found.kind if isinstance(found, Unread) else READ

    def _ask(self, view: View, order: Sequence[int], *, alternatives: int = 0, draw: int = 0) -> Ask:
        turns = judge_turns(self.prompt, view, order, reserved_of(self.speaker), length=self.length)
        if self.prompt.answer == LETTER:
            schema, tokens = "", self.tokens or FIRST
        else:
            schema, tokens = as_schema(self._form(view)), self.tokens or REASONS
        temperature = 0.0 if alternatives else self.temperature
        return Ask(
            messages=turns,
            tokens=tokens,
            temperature=temperature,
            seed=_seed(turns, self.seed, draw) if temperature > 0 else 0,
            alternatives=alternatives,
            schema=schema,
        )

    def _first(self, view: View, replies: Sequence[Reply]) -> np.ndarray | Failed:
        out = np.empty((2, len(view.options)))
        for line, order, reply in zip(out, _orders(view), replies, strict=True):
            found = self._letters(view, reply)
            if isinstance(found, Unread):
                return Failed(found.kind)
            line[list(order)] = list(found.values())
        return out

    def _letters(self, view: View, reply: Reply) -> dict[str, float] | Unread:
        """Letter → log-probability. A refusal holds none: letters are among the alternatives to its words, too."""
        other = unanswered(reply)
        if other is not None and (reply.kind in ("refused", "none") or not reply.tokens):
            return other
        if refuses(reply.text):
            return Unread(REFUSED_IN_WORDS)
        letters = tuple(letters_of(view.options, range(len(view.options))).values())
        return letter_logprobs(reply.tokens, letters) if reply.tokens else Unread(NO_LOGPROBS)

    def _drawn(self, view: View, replies: Sequence[Reply]) -> np.ndarray | Failed:
        if len(replies) != self.samples:
            raise ValueError(f"{self.samples} samples were asked for and {len(replies)} came: give one reply an ask")
        options, half = len(view.options), self.samples // 2
        verdicts = [self._verdict(view, reply) for reply in replies]
        unread = [found.kind for found in verdicts if isinstance(found, Unread)]
        if len(unread) == len(verdicts):
            return Failed(max(unread, key=unread.count))
        out = np.empty((2, options))
        for turned, (line, order) in enumerate(zip(out, _orders(view), strict=True)):
            told = [found for found in verdicts[turned * half : (turned + 1) * half] if isinstance(found, str)]
            letters = letters_of(view.options, order)
            for option in range(options):
                line[option] = np.log((told.count(letters[option]) + 1) / (len(told) + options))
        return out

    def _verdict(self, view: View, reply: Reply) -> str | Unread:
        if self.prompt.answer == LETTER:
            return read_choice(reply, tuple(letters_of(view.options, range(len(view.options))).values()))
        read = read_json(reply, self._form(view))
        return read if isinstance(read, Unread) else str(read["verdict"])

    def _form(self, view: View) -> dict[str, Any]:
        letters = letters_of(view.options, range(len(view.options)))
        return form_of(self.prompt.answer, letters=letters, length=self.length)


def _seed(turns: Sequence[Turn], seed: int, draw: int) -> int:
    """Of one draw: a function of all that is asked. With one seed for all pages a sampler that inverts the cumulative
    distribution would meet the same numbers, and so the same luck, at every item. Draws of one page differ.
    """
    told = json.dumps([seed, turns]).encode()
    return (int.from_bytes(hashlib.blake2b(told, digest_size=4).digest(), "big") + draw) % SEEDS


def _orders(view: View) -> tuple[tuple[int, ...], tuple[int, ...]]:
    order = tuple(range(len(view.options)))
    return order, order[::-1]
