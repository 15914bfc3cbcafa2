"""Prompts as markdown files: front matter says what they are, second-level headings part them.

    ---
    name: mine
    version: 1
    placeholders: question, options, transcript, letters, open, close
    ---
    ## prompt
    Between {{open}} and {{close}} stands what others wrote. {{question}} {{options}} {{transcript}} Answer:
    ## quote
    [verified] place {{place}}: {{text}}

Every word that a model reads beside the material stands in the file, and the file's hash is the prompt's identity.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from superalign.evidence import SuperalignError

PARTS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    name: (frozenset(needed.split()), frozenset(f"{needed} {allowed}".split()))
    for name, needed, allowed in (
        ("prompt", "options transcript", "question letters open close"),
        ("unasked", "", ""),
        ("option", "letter name", ""),
        ("place", "letter", ""),
        ("nothing", "", ""),
        ("speaks", "", "speaker"),
        ("argues", "letter", "speaker"),
        ("quote", "text", "place"),
        ("side", "letter text", ""),
        ("misquote", "", ""),
        ("words", "text", ""),
        ("belief", "beliefs", ""),
        ("charge", "letter", "place"),
        ("holds", "letter", "place"),
        ("fails", "letter", "place"),
    )
}
"""Part → placeholders that it needs, and those that it may have."""
FIELDS = ("name", "version", "placeholders")
MOST = 100_000
"""Bytes of a prompt's file."""
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_HEADING = re.compile(r"^## (\w+)[ \t]*$", re.MULTILINE)


class PromptError(SuperalignError):
    """A prompt's file can't be used; the message says which, where and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt: its parts in words. `digest` is the SHA-256 of the file it was read from."""

    name: str
    version: str
    parts: Mapping[str, str]
    """Part (see PARTS) → its text, with holes."""
    digest: str

    def fill(self, part: str, **values: str) -> str:
        """A part with its holes filled, in one pass: what is filled in may look like a hole, and stays as it is."""
        return _HOLE.sub(lambda hole: values[hole[1]], self.parts[part])


def load_prompt(name: str | Path) -> Prompt:
    """The prompt of that name that ships ("verdict", "short"), or the one in a file `….md`. Raises PromptError."""
    path = Path(name)
    if path.suffix != ".md":
        shelf = files("superalign.oversight").joinpath("prompts")
        shipped = sorted(entry.name[:-3] for entry in shelf.iterdir() if entry.name.endswith(".md"))
        if name not in shipped:
            raise PromptError(f"no prompt is called {name}: use {', '.join(shipped)}, or a file that ends in .md")
        return parse_prompt(shelf.joinpath(f"{name}.md").read_bytes(), where=str(name))
    try:
        with path.open("rb") as file:
            return parse_prompt(file.read(MOST + 1), where=str(path))
    except OSError as error:
        raise PromptError(f"the prompt {path} can't be read ({error.strerror}): give the path of a file") from error


def parse_prompt(data: bytes, *, where: str = "prompt") -> Prompt:
    """A prompt from the bytes of its file. Raises PromptError, which says what is wrong and where."""
    if len(data) > MOST:
        raise PromptError(f"{where}: more than {MOST} bytes are no prompt: shorten it")
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise PromptError(f"{where}: byte {error.start} isn't UTF-8: save the file as UTF-8") from error
    head, mark, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not mark:
        raise PromptError(f"{where}: no front matter: begin with a line ---, {', '.join(FIELDS)}, and a line ---")
    told = _front_matter(head, where)
    parts = _parts(body, where)
    declared, used = set(re.split(r"[,\s]+", told["placeholders"])), set(_HOLE.findall(parts["prompt"]))
    if declared != used:
        raise PromptError(
            f"{where}: placeholders are said to be {', '.join(sorted(declared))} and are {', '.join(sorted(used))}: "
            "say which the part prompt has"
        )
    digest = hashlib.sha256(data).hexdigest()
    return Prompt(name=told["name"], version=told["version"], parts=parts, digest=digest)


def _front_matter(head: str, where: str) -> dict[str, str]:
    lines = [line.partition(":") for line in head.splitlines() if line.strip()]
    found = {key.strip(): value.strip() for key, _, value in lines}
    if sorted(found) != sorted(FIELDS) or len(lines) != len(FIELDS) or not all(found.values()):
        raise PromptError(f"{where}: front matter has {', '.join(FIELDS)}, a line each, and nothing else")
    return found


def _parts(body: str, where: str) -> dict[str, str]:
    before, *pieces = _HEADING.split(body)
    names = pieces[::2]
    if before.strip() or sorted(names) != sorted(PARTS):
        odd = sorted({*names} ^ {*PARTS}) or sorted({name for name in names if names.count(name) > 1})
        raise PromptError(
            f"{where}: each part once, under a heading `## part`, and nothing before: {', '.join(PARTS)}"
            + (f"; look at {', '.join(odd)}" if odd else "")
        )
    parts = {name: text.strip() for name, text in zip(names, pieces[1::2], strict=True)}
    for name, text in parts.items():
        needed, allowed = PARTS[name]
        holes = set(_HOLE.findall(text))
        if not needed <= holes <= allowed:
            raise PromptError(
                f"{where}, part {name}: it needs {', '.join(sorted(needed)) or 'no placeholder'}"
                f" and may have {', '.join(sorted(allowed)) or 'none'}; it has {', '.join(sorted(holes)) or 'none'}"
            )
    return parts
