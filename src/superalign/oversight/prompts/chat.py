"""Prompts for whoever speaks in words: a system turn, a user turn, and the form that the answer shall have.

    prompt = load_chat_prompt("debater")             # ships with superalign; a path to a file of your own works too

The file is markdown with front matter, as `template` has it:

    ---
    name: mine
    version: 1
    role: judge
    placeholders: open, close, question, options, transcript, letters
    answer: letter
    ---
    ## system
    You judge. Between {{open}} and {{close}} stands what others wrote.
    ## user
    {{question}} {{options}} {{transcript}} Answer with one letter: {{letters}}.
    ## quote
    …

Every word that a model reads beside the material stands in the file, and the SHA-256 of the file is the prompt's
identity. What an answer holds is said in the front matter: of a judge a letter and nothing else, or a JSON object of
`reason` and `verdict`; of an adviser a JSON object of some of `quotes`, `charges`, `belief` and `argument`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from superalign.oversight.prompts.template import (
    VIEW,
    Parts,
    PromptError,
    file_of,
    filled,
    front_matter,
    holes_in,
    parts_of,
    parts_with,
    same_holes,
)

SHELF = "spoken"
FIELDS = ("name", "version", "role", "placeholders", "answer")
Role = Literal["judge", "adviser"]
ROLES: tuple[Role, ...] = ("judge", "adviser")
_SYSTEM = ("system", "", "open close letters quotes length")
CHAT_PARTS: Mapping[Role, Parts] = {
    "judge": parts_with(_SYSTEM, ("user", "options transcript", "question letters open close"), *VIEW),
    "adviser": parts_with(
        _SYSTEM,
        ("user", "options pieces transcript task", "question letters open close quotes turns length"),
        ("own", "options pieces", "question letters open close"),
        ("piece", "text", "place"),
        ("assigned", "letter", ""),
        ("free", "", ""),
        *VIEW,
    ),
}
"""Parts of a judge's prompt, and of an adviser's, which is also asked what it believes itself (`own`)."""
ASKED: Mapping[Role, tuple[str, ...]] = {"judge": ("system", "user"), "adviser": ("system", "user", "own")}
"""Parts that are turns, whose placeholders the front matter declares."""
ANSWERS: Mapping[Role, tuple[str, ...]] = {
    "judge": ("letter", "reason", "verdict"),
    "adviser": ("quotes", "charges", "belief", "argument"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPrompt:
    """A prompt of turns. `digest` is the SHA-256 of the file it was read from."""

    name: str
    version: str
    role: Role
    answer: tuple[str, ...]
    """Fields of the answer's JSON object in their order; ("letter",): a letter alone."""
    parts: Mapping[str, str]
    digest: str

    def fill(self, part: str, **values: str) -> str:
        """A part with its holes filled, in one pass: what is filled in may look like a hole, and stays as it is."""
        return filled(self.parts[part], values)


def load_chat_prompt(name: str | Path) -> ChatPrompt:
    """The prompt of that name that ships ("judge", "debater", …), or the one in a file `….md`. Raises PromptError."""
    data, where = file_of(name, SHELF)
    return parse_chat_prompt(data, where=where)


def parse_chat_prompt(data: bytes, *, where: str = "prompt") -> ChatPrompt:
    """A prompt from the bytes of its file. Raises PromptError, which says what is wrong and where."""
    told, body = front_matter(data, where, FIELDS)
    role = next((known for known in ROLES if known == told["role"]), None)
    if role is None:
        raise PromptError(f"{where}: the role is {told['role']!r}: write {' or '.join(ROLES)}")
    parts = parts_of(body, where, CHAT_PARTS[role])
    same_holes(told["placeholders"], parts, ASKED[role], where)
    system, *turns = (holes_in(parts[part]) for part in ASKED[role])
    if not all({"open", "close"} <= system | turn for turn in turns):
        raise PromptError(
            f"{where}: nobody tells the model what a frame is: say in the system turn what stands between {{{{open}}}} "
            "and {{close}}"
        )
    digest = hashlib.sha256(data).hexdigest()
    answer = _answer(told["answer"], role, where)
    return ChatPrompt(name=told["name"], version=told["version"], role=role, answer=answer, parts=parts, digest=digest)


def _answer(stated: str, role: Role, where: str) -> tuple[str, ...]:
    fields = tuple(re.split(r"[,\s]+", stated))
    known = ANSWERS[role]
    fits = fields == ("letter",) or ("letter" not in fields and (role != "judge" or "verdict" in fields))
    if not fits or not set(fields) <= set(known) or len(set(fields)) < len(fields):
        raise PromptError(
            f"{where}: the answer is said to hold {', '.join(fields)}: "
            + ("write letter, or verdict with or without reason" if role == "judge" else f"some of {', '.join(known)}")
        )
    return fields
