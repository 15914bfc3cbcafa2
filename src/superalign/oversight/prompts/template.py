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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from superalign.evidence import SuperalignError

Parts = Mapping[str, tuple[frozenset[str], frozenset[str]]]
"""Part → placeholders that it needs, and those that it may have."""


def parts_with(*rows: tuple[str, str, str]) -> Parts:
    """Parts from rows of a name, the placeholders that it needs, and others that it may have."""
    return {
        name: (frozenset(needed.split()), frozenset(f"{needed} {allowed}".split())) for name, needed, allowed in rows
    }


VIEW = (
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
"""What was shown and said, in words."""
PARTS = parts_with(("prompt", "options transcript", "question letters open close"), *VIEW)
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
        return filled(self.parts[part], values)


def load_prompt(name: str | Path) -> Prompt:
    """The prompt of that name that ships ("verdict", "short"), or the one in a file `….md`. Raises PromptError."""
    data, where = file_of(name, "")
    return parse_prompt(data, where=where)


def parse_prompt(data: bytes, *, where: str = "prompt") -> Prompt:
    """A prompt from the bytes of its file. Raises PromptError, which says what is wrong and where."""
    told, body = front_matter(data, where, FIELDS)
    parts = parts_of(body, where, PARTS)
    same_holes(told["placeholders"], parts, ("prompt",), where)
    digest = hashlib.sha256(data).hexdigest()
    return Prompt(name=told["name"], version=told["version"], parts=parts, digest=digest)


def file_of(name: str | Path, shelf: str) -> tuple[bytes, str]:
    """Bytes of a prompt's file and what to call it: one that ships on that shelf, by its name, or a file `….md`.

    Raises PromptError where there is none.
    """
    path = Path(name)
    if path.suffix != ".md":
        folder = files("superalign.oversight").joinpath("prompts", shelf)
        shipped = sorted(entry.name[:-3] for entry in folder.iterdir() if entry.name.endswith(".md"))
        if name not in shipped:
            raise PromptError(f"no prompt is called {name}: use {', '.join(shipped)}, or a file that ends in .md")
        return folder.joinpath(f"{name}.md").read_bytes(), str(name)
    try:
        with path.open("rb") as file:
            return file.read(MOST + 1), str(path)
    except OSError as error:
        raise PromptError(f"the prompt {path} can't be read ({error.strerror}): give the path of a file") from error


def front_matter(data: bytes, where: str, fields: Sequence[str]) -> tuple[dict[str, str], str]:
    """What the front matter says, field by field, and the text behind it. Raises PromptError."""
    if len(data) > MOST:
        raise PromptError(f"{where}: more than {MOST} bytes are no prompt: shorten it")
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise PromptError(f"{where}: byte {error.start} isn't UTF-8: save the file as UTF-8") from error
    head, mark, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not mark:
        raise PromptError(f"{where}: no front matter: begin with a line ---, {', '.join(fields)}, and a line ---")
    lines = [line.partition(":") for line in head.splitlines() if line.strip()]
    found = {key.strip(): value.strip() for key, _, value in lines}
    if sorted(found) != sorted(fields) or len(lines) != len(fields) or not all(found.values()):
        raise PromptError(f"{where}: front matter has {', '.join(fields)}, a line each, and nothing else")
    return found, body


def same_holes(declared: str, parts: Mapping[str, str], asked: Sequence[str], where: str) -> None:
    """Does the front matter declare the placeholders that these parts have? Raises PromptError."""
    said, used = set(re.split(r"[,\s]+", declared)), {hole for part in asked for hole in holes_in(parts[part])}
    if said != used:
        raise PromptError(
            f"{where}: placeholders are said to be {', '.join(sorted(said))} and are {', '.join(sorted(used))}: "
            f"say which the part{'s' * (len(asked) > 1)} {', '.join(asked)} ha{'ve' if len(asked) > 1 else 's'}"
        )


def holes_in(text: str) -> set[str]:
    """Placeholders of a part.

    >>> sorted(holes_in("{{b}} {{a}} {c}"))
    ['a', 'b']
    """
    return set(_HOLE.findall(text))


def filled(text: str, values: Mapping[str, str]) -> str:
    """A part with its holes filled, in one pass: what is filled in may look like a hole, and stays as it is."""
    return _HOLE.sub(lambda hole: values[hole[1]], text)


def parts_of(body: str, where: str, known: Parts) -> dict[str, str]:
    """Part → its text: each of `known` once, with the holes that it needs and no others. Raises PromptError."""
    before, *pieces = _HEADING.split(body)
    names = pieces[::2]
    if before.strip() or sorted(names) != sorted(known):
        odd = sorted({*names} ^ {*known}) or sorted({name for name in names if names.count(name) > 1})
        raise PromptError(
            f"{where}: each part once, under a heading `## part`, and nothing before: {', '.join(known)}"
            + (f"; look at {', '.join(odd)}" if odd else "")
        )
    parts = {name: text.strip() for name, text in zip(names, pieces[1::2], strict=True)}
    for name, text in parts.items():
        needed, allowed = known[name]
        holes = holes_in(text)
        if not needed <= holes <= allowed:
            raise PromptError(
                f"{where}, part {name}: it needs {', '.join(sorted(needed)) or 'no placeholder'}"
                f" and may have {', '.join(sorted(allowed)) or 'none'}; it has {', '.join(sorted(holes)) or 'none'}"
            )
    return parts
