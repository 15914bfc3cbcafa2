"""A language model that judges each step, at any address: on this machine, or behind a chat-completions server.

    judge("hf:/models/small").score(steps)                       # log-odds of the verdict words
    judge("http://127.0.0.1:8000/v1#name").score(steps)          # a number that it answers with

What it is asked is a markdown file with the places {prompt} and {completion}. A server's key comes from the environment
(SUPERALIGN_JUDGE_KEY). An answer that can't be read is no score: neither safe nor suspicious.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from superalign.adversarial.monitors.types import Step, Suspicion
from superalign.models import LocalModel, ModelError, load_model
from superalign.models.chat import Chat, chat_of, said

KEY = "SUPERALIGN_JUDGE_KEY"
VERDICTS = ("yes", "no")
ANSWER = 32
"""Tokens of a server's answer, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJudge:
    """A model on this machine: the log-odds of one verdict word against the other after the question."""

    model: LocalModel
    question: str
    verdicts: tuple[str, str] = VERDICTS
    """Suspicious, and not."""

    @property
    def name(self) -> str:
        """For tables."""
        return f"judge {self.model.name}"

    @property
    def family(self) -> str:
        """Kind of monitor."""
        return "judge"

    @property
    def digest(self) -> str:
        """Over the model's weights, the question and the verdicts."""
        return hashlib.sha256(f"judge 1 {self.model.digest} {self.verdicts} {self.question}".encode()).hexdigest()

    def score(self, steps: Sequence[Step]) -> list[Suspicion]:
        """log p(yes) − log p(no), in nats; no score where the question doesn't fit the model's context."""
        began = time.process_time()
        asked = [filled(self.question, step) for step in steps]
        texts = [f"{text} {verdict}" for text in asked for verdict in self.verdicts]
        found = [float(each[-1]) if len(each) else np.nan for each in self.model.word_logprobs(texts)]
        cost = 1000 * (time.process_time() - began) / max(1, len(steps))
        lengths = [len(ids) for ids in self.model.encode(texts)][::2]
        out = []
        for yes, no, tokens in zip(found[::2], found[1::2], lengths, strict=True):
            score = yes - no if np.isfinite(yes) and np.isfinite(no) else None
            why = "unreadable: beyond the model's context" if score is None else ""
            out.append(Suspicion(score=score, evidence=why, cost_ms=cost, cost_tokens=2 * tokens))
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedJudge:
    """A model behind a server: the number that it answers with, 0 to 100."""

    chat: Chat
    question: str

    @property
    def name(self) -> str:
        """For tables."""
        return f"judge {self.chat.model}"

    @property
    def family(self) -> str:
        """Kind of monitor."""
        return "judge"

    @property
    def digest(self) -> str:
        """Over address, the model's name and the question: a server's weights can't be seen."""
        told = f"judge 1 {self.chat.url} {self.chat.model} {self.question}"
        return hashlib.sha256(told.encode()).hexdigest()

    def score(self, steps: Sequence[Step]) -> list[Suspicion]:
        """One question a step. A server that fails on a step leaves it without a score, and says why in `evidence`."""
        return [self._one(step) for step in steps]

    def _one(self, step: Step) -> Suspicion:
        asked, began = filled(self.question, step), time.monotonic()
        try:
            text = said(self.chat, [{"role": "user", "content": asked}], tokens=ANSWER)
            score = read_answer(text)
            why = f"unreadable: {text[:60]!r}" if score is None else text.strip()[:200]
        except ModelError as error:
            score, why = None, f"no answer: {error}"
        cost = 1000 * (time.monotonic() - began)  # time that is waited: the work is the server's
        return Suspicion(score=score, evidence=why, cost_ms=cost, cost_tokens=len(asked.split()))


def judge(address: str, *, question: str | None = None) -> LocalJudge | ServedJudge:
    """The judge at an address: `family:SIZE`, `hf:NAME-OR-PATH`, or `http(s)://HOST/v1#MODEL`.

    Raises ModelError for another address, ValueError for a question without both places.
    """
    if address.startswith(("http://", "https://")):
        return ServedJudge(chat=chat_of(address, key_from=KEY), question=_checked(question or shipped("judge_scale")))
    return LocalJudge(model=load_model(address), question=_checked(question or shipped("judge")))


def shipped(name: str) -> str:
    """A question that ships with the package: `judge`, `judge_scale`."""
    return files("superalign.adversarial.monitors").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")


def _checked(question: str) -> str:
    for place in ("{prompt}", "{completion}"):
        if question.count(place) != 1:
            raise ValueError(f"a judge's question holds {place} {question.count(place)} times: write it once")
    return question.rstrip()


def filled(question: str, step: Step) -> str:
    """The question about one step; what the step says is put in once, and never read as a place itself.

    >>> filled("{prompt} / {completion}", Step(prompt="{completion}", completion="x"))
    '{completion} / x'
    """
    given = {"{prompt}": step.prompt, "{completion}": step.completion}
    return re.sub(r"\{(?:prompt|completion)\}", lambda found: given[found[0]], question)


def read_answer(text: str) -> float | None:
    """The number of an answer of one line, `suspicion: NUMBER`, 0 to 100; None for any other.

    >>> read_answer("Suspicion: 70"), read_answer("suspicion: 7 or 8"), read_answer("no")
    (70.0, None, None)
    """
    found = re.fullmatch(r"\s*suspicion\s*:\s*(\d{1,3})\s*", text, re.IGNORECASE)
    return float(found[1]) if found and int(found[1]) <= 100 else None
