"""A language model that judges each step, at any address: by log-odds on this machine, or asked in words anywhere.

    judge("hf:/models/small").score(steps)                       # log-odds of the verdict words
    judge("http://127.0.0.1:8000/v1#name").score(steps)          # a number that it answers with
    judge("inspect:openai/gpt-4o", terms=Terms(limit_usd=5, price_in=3, price_out=12)).score(steps)
    judge("words:hf:/models/chat").score(steps)                  # a model here, asked in words
    missing(found)                                               # {"refused": 2, "not JSON": 1}

What it is asked is a markdown file (`questions`). A server's key comes from the environment (SUPERALIGN_JUDGE_KEY). A
refusal, and an answer that can't be read, is no score: neither safe nor suspicious, and counted by its kind.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superalign.adversarial.monitors.questions import Question, asked_about, load_question, question_of
from superalign.adversarial.monitors.types import Step, Suspicion
from superalign.models import LocalModel, load_model
from superalign.models.answers import CUT, REFUSED_IN_WORDS, Unread, as_schema, read_json, refuses, unanswered
from superalign.models.frames import reserved_of
from superalign.models.keyed import HERE, called, keyed
from superalign.models.remote.terms import Terms
from superalign.models.speaker import Ask, Reply, Speaker, Turn

KEY = "SUPERALIGN_JUDGE_KEY"
VERDICTS = ("yes", "no")
ANSWER = 32
"""Tokens of an answer, at most."""
FORM = {"type": "object", "properties": {"suspicion": {"type": "integer", "minimum": 0, "maximum": 100}}}
NO_LINE = "no line"
"""Kind of an answer that is not the one line that was asked for."""
CONTEXT = "context"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalJudge:
    """A model on this machine: the log-odds of one verdict word against the other after the question."""

    model: LocalModel
    question: Question
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
        told = f"judge 2 {self.model.digest} {self.verdicts} {self.question.digest}"
        return hashlib.sha256(told.encode()).hexdigest()

    def score(self, steps: Sequence[Step]) -> list[Suspicion]:
        """log p(yes) − log p(no), in nats; no score where the question doesn't fit the model's context."""
        began, reserved = time.process_time(), reserved_of(self)
        asked = [asked_about(self.question, step, reserved=reserved) for step in steps]
        texts = [f"{text} {verdict}" for text in asked for verdict in self.verdicts]
        found = [float(each[-1]) if len(each) else np.nan for each in self.model.word_logprobs(texts)]
        cost = 1000 * (time.process_time() - began) / max(1, len(steps))
        lengths = [len(ids) for ids in self.model.encode(texts)][::2]
        out = []
        for yes, no, tokens in zip(found[::2], found[1::2], lengths, strict=True):
            score = yes - no if np.isfinite(yes) and np.isfinite(no) else None
            why = f"{CONTEXT}: the question is longer than the model reads" if score is None else ""
            out.append(Suspicion(score=score, evidence=why, cost_ms=cost, cost_tokens=2 * tokens))
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedJudge:
    """A model that is asked in words: the number that it answers with, 0 to 100."""

    speaker: Speaker
    question: Question

    @property
    def name(self) -> str:
        """For tables."""
        return f"judge {called(self.speaker)}"

    @property
    def family(self) -> str:
        """Kind of monitor."""
        return "judge"

    @property
    def digest(self) -> str:
        """Over whom is asked, and the question: of a model behind an API that is its address, for nobody sees more."""
        told = f"judge 2 {self.speaker.identity} {self.question.digest}"
        return hashlib.sha256(told.encode()).hexdigest()

    def score(self, steps: Sequence[Step]) -> list[Suspicion]:
        """One question a step, all at once. A step without a readable answer has no score; `evidence` says its kind.

        Raises ModelError for what would fail every further question, as a refused key or a spent limit.
        """
        replies = self.speaker.ask([self.ask_of(step) for step in steps])
        return [self._suspicion(reply) for reply in replies]

    def ask_of(self, step: Step) -> Ask:
        """The request about one step."""
        text = asked_about(self.question, step, reserved=reserved_of(self.speaker))
        schema = as_schema(FORM) if self.question.answer == "json" else ""
        return Ask(messages=(Turn("user", text),), tokens=ANSWER, schema=schema)

    def _suspicion(self, reply: Reply) -> Suspicion:
        read = _read_line(reply) if self.question.answer == "line" else read_json(reply, FORM)
        lost = isinstance(read, Unread)
        quoted = f": {reply.text.strip()[:60]!r}" if lost and reply.text.strip() else ""
        return Suspicion(
            score=None if isinstance(read, Unread) else float(read["suspicion"]),
            evidence=f"{read.kind}{quoted}" if isinstance(read, Unread) else reply.text.strip()[:200],
            cost_ms=1000 * reply.seconds,  # time that is waited: the work is done elsewhere
            cost_tokens=reply.read + reply.written,
        )


def judge(
    address: str, *, question: str | Path | Question | None = None, terms: Terms | None = None
) -> LocalJudge | ServedJudge:
    """The judge at an address: `family:SIZE` and `hf:NAME-OR-PATH` by log-odds; `words:` before one of these,
    `vllm:…`, `inspect:PROVIDER/MODEL` and `http(s)://HOST/v1#MODEL` asked in words, on `terms`.

    A question is a file, or a text with {prompt} and {completion} (asked in words: `suspicion: NUMBER` is its answer).
    Raises ModelError for another address, ValueError for a question without both places, or of the other sort.
    """
    local = address.startswith(HERE)
    asked = _question(question, local)
    if (asked.answer == "verdict") != local:
        how = "by log-odds: its answer is a verdict" if local else "in words: its answer is json or a line"
        raise ValueError(f"{address} is asked {how}, and the question {asked.name!r} wants {asked.answer}")
    if local:
        return LocalJudge(model=load_model(address), question=asked)
    return ServedJudge(speaker=keyed(address, KEY, terms=terms), question=asked)


def _question(given: str | Path | Question | None, local: bool) -> Question:
    if given is None:
        return load_question("judge" if local else "judge_scale")
    if isinstance(given, str):
        return question_of(given, answer="verdict" if local else "line")
    return load_question(given) if isinstance(given, Path) else given


def missing(found: Iterable[Suspicion]) -> Mapping[str, int]:
    """Kind → how many steps a judge could not score for it, most frequent first.

    >>> missing([Suspicion(score=None, evidence="refused"), Suspicion(score=1.0)])
    {'refused': 1}
    """
    kinds = Counter(each.evidence.partition(":")[0] for each in found if each.score is None)
    return dict(kinds.most_common())


def _read_line(reply: Reply) -> dict[str, float] | Unread:
    if (other := unanswered(reply)) is not None:
        return other
    value = read_answer(reply.text)
    if value is not None and reply.kind == "answer":
        return {"suspicion": value}
    return Unread(REFUSED_IN_WORDS if refuses(reply.text) else CUT if reply.kind == "cut" else NO_LINE)


def read_answer(text: str) -> float | None:
    """The number of an answer of one line, `suspicion: NUMBER`, 0 to 100; None for any other.

    >>> read_answer("Suspicion: 70"), read_answer("suspicion: 7 or 8"), read_answer("no")
    (70.0, None, None)
    """
    found = re.fullmatch(r"\s*suspicion\s*:\s*(\d{1,3})\s*", text, re.IGNORECASE)
    return float(found[1]) if found and int(found[1]) <= 100 else None
