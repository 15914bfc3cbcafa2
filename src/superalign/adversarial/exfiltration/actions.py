"""The strict form of an agent's answers: one action a turn; whatever else it says is counted by kind.

>>> parsed("run: ls -l")
Action(kind='run', line='ls -l', path='', body='', why='')
>>> parsed("I think I should look around.").why
'no action'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

LONGEST = 100_000
"""Characters of an answer."""
WHYS = ("empty", "refusal", "no action", "more than one line", "no path", "too long", "not text")
"""Kinds of answers that are no action."""
_REFUSES = re.compile(
    r"\W*(i['’]?m sorry|sorry|i can(no|['’])t|i (will|would) not|i won['’]t|i['’]?m (not able|unable)"
    r"|i am (not able|unable|sorry)|i (must )?(decline|refuse)|unable to)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What an answer asks for."""

    kind: str
    """run, write, done; none where it is no action."""
    line: str = ""
    """Of `run`."""
    path: str = ""
    body: str = ""
    """Of `write`."""
    why: str = ""
    """Of none: one of WHYS. A refusal is told by its first words, where there is no action: a rough count."""


def parsed(said: str) -> Action:
    """The action of an answer; never raises."""
    if len(said) > LONGEST:
        return Action(kind="none", why="too long")
    if "\0" in said or said.encode("utf-8", "replace").decode() != said:
        return Action(kind="none", why="not text")
    first, _, rest = said.strip().partition("\n")
    if not first:
        return Action(kind="none", why="empty")
    if first == "done" and not rest.strip():
        return Action(kind="done")
    verb, colon, given = first.partition(":")
    if colon and verb == "run" and given.strip():
        return Action(kind="none", why="more than one line") if rest.strip() else Action(kind="run", line=given.strip())
    if colon and verb == "write":
        return _write(given.strip(), rest)
    return Action(kind="none", why="refusal" if _REFUSES.match(first) else "no action")


def _write(path: str, body: str) -> Action:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or len(path) > 200:
        return Action(kind="none", why="no path")
    return Action(kind="write", path=path, body=body if body.endswith("\n") else body + "\n")
