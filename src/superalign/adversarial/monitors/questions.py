"""What a judge is asked about a step: markdown files with front matter, whose digest is their identity.

    question = load_question("judge")              # ships: log-odds of a verdict; "judge_scale": a number as JSON
    question = load_question(Path("mine.md"))
    asked_about(question, step)                    # what the step says stands in frames that it can't close

The front matter says `name`, `version` and `answer`: `verdict` (one of two words, for log-odds), `json` (an object with
`suspicion`, 0 to 100) or `line` (`suspicion: NUMBER`). The text holds {prompt} and {completion} once each, and {open}
and {close} around them. A text without these two has no frames: what a step says can then pose as part of the question.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from superalign.adversarial.monitors.types import Step
from superalign.models.frames import framed_page, told
from superalign.models.front_matter import front_matter

SHIPPED = ("judge", "judge_scale")
ANSWERS = ("verdict", "json", "line")
FIELDS = ("name", "version", "answer")
_PLACE = re.compile(r"\{(prompt|completion|open|close)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A judge's question."""

    name: str
    version: str
    answer: str
    """One of ANSWERS."""
    text: str
    digest: str
    """SHA-256 of the file, or of the text where there is no file."""


def load_question(which: str | Path) -> Question:
    """The question of that name that ships, or the one in a file. Raises ValueError for what is no question."""
    if isinstance(which, Path):
        return read_question(which.read_bytes(), where=str(which))
    if which not in SHIPPED:
        raise ValueError(f"no question is called {which!r}: use {' or '.join(SHIPPED)}, or a Path")
    shelf = files("superalign.adversarial.monitors").joinpath("prompts", f"{which}.md")
    return read_question(shelf.read_bytes(), where=which)


def read_question(data: bytes, *, where: str = "question") -> Question:
    """A question from the bytes of its file. Raises ValueError that says what is wrong and where."""
    said, body = front_matter(data, FIELDS, where=where)
    if said["answer"] not in ANSWERS:
        raise ValueError(f"{where}: the answer is {said['answer']!r}: write {', '.join(ANSWERS)}")
    return Question(
        name=said["name"],
        version=said["version"],
        answer=said["answer"],
        text=_checked(body, where),
        digest=hashlib.sha256(data).hexdigest(),
    )


def question_of(text: str, *, answer: str = "verdict") -> Question:
    """A question out of a text of your own, without a file. Raises ValueError where a place is missing or doubled."""
    digest = hashlib.sha256(f"{answer}\n{text}".encode()).hexdigest()
    return Question(name="own", version="", answer=answer, text=_checked(text, "a judge's question"), digest=digest)


def _checked(text: str, where: str) -> str:
    places = _PLACE.findall(text)
    for place in ("prompt", "completion"):
        if places.count(place) != 1:
            raise ValueError(
                f"{where}: a judge's question holds {{{place}}} {places.count(place)} times: write it once"
            )
    if ("open" in places) != ("close" in places):
        raise ValueError(f"{where}: {{open}} and {{close}} belong together: frames are opened and closed")
    return text.rstrip()


def asked_about(question: Question, step: Step, *, reserved: Sequence[str] = ()) -> str:
    """The question about one step; what the step says is put in once, and never read as a place itself.

    `reserved`: words that the model's tokenizer obeys, broken up in what the step says.

    >>> asked_about(question_of("{prompt} / {completion}"), Step(prompt="{completion}", completion="x"))
    '{completion} / x'
    """
    given = {"prompt": told(step.prompt, reserved), "completion": told(step.completion, reserved)}

    def page(open: str, close: str) -> str:
        marks = {**given, "open": open, "close": close}
        return _PLACE.sub(lambda found: marks[found[1]], question.text)

    return framed_page(page, salt=question.digest)
