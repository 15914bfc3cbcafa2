"""Prompts for explainers and judges: markdown files with front matter, one part under each second-level heading.

prompt = load_prompt("explain")
prompt.fill("user", windows=…, quiet=…)

Every word that a model reads beside the material stands in the file; the file's SHA-256 is the prompt's identity.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from superalign.models.front_matter import front_matter

FIELDS = ("name", "version", "placeholders")
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_HEADING = re.compile(r"^## (\w+)[ \t]*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt: its parts in words."""

    name: str
    version: str
    parts: Mapping[str, str]
    digest: str

    def fill(self, part: str, **values: object) -> str:
        """A part with its holes filled, in one pass: what is filled in may look like a hole, and stays as it is."""
        return _HOLE.sub(lambda hole: str(values[hole[1]]), self.parts[part])


def load_prompt(name: str | Path) -> Prompt:
    """The prompt of that name that ships, or the one in a file `….md`. Raises ValueError, FileNotFoundError."""
    path = Path(name)
    if path.suffix == ".md":
        return parse_prompt(path.read_bytes(), where=str(path))
    shelf = files("superalign.interpretability").joinpath("prompts")
    shipped = sorted(entry.name[:-3] for entry in shelf.iterdir() if entry.name.endswith(".md"))
    if name not in shipped:
        raise ValueError(f"no prompt is called {name}: use {', '.join(shipped)}, or a file that ends in .md")
    return parse_prompt(shelf.joinpath(f"{name}.md").read_bytes(), where=str(name))


def parse_prompt(data: bytes, *, where: str = "prompt") -> Prompt:
    """A prompt from the bytes of its file. Raises ValueError that says what is wrong and where."""
    told, body = front_matter(data, FIELDS, where=where)
    pieces = _HEADING.split(body)
    parts = {name: part.removesuffix("\n") for name, part in zip(pieces[1::2], pieces[2::2], strict=True)}
    declared = {word for word in re.split(r"[,\s]+", told["placeholders"]) if word}
    used = {hole for name, part in parts.items() for hole in _HOLE.findall(part) if name != "language"}
    if not parts or declared != used:
        raise ValueError(
            f"{where}: placeholders are said to be {', '.join(sorted(declared))}, and are {', '.join(sorted(used))}"
        )
    return Prompt(name=told["name"], version=told["version"], parts=parts, digest=hashlib.sha256(data).hexdigest())
