"""Prompts as markdown files: what stands in front of their text says what they are.

told, body = front_matter(data, ("name", "version"), where="mine.md")
"""

from __future__ import annotations

from collections.abc import Sequence


def front_matter(data: bytes, fields: Sequence[str], *, where: str) -> tuple[dict[str, str], str]:
    """The fields of a file's front matter, each `field: value` on a line between two lines `---`, and what follows.

    Raises ValueError, which names the file, where there is none or it has other fields.

    >>> front_matter(b"---\\nname: mine\\n---\\ntext", ("name",), where="x")
    ({'name': 'mine'}, 'text')
    """
    text = data.decode("utf-8").replace("\r\n", "\n")
    head, mark, body = text.removeprefix("---\n").partition("\n---\n")
    told = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    if not text.startswith("---\n") or not mark or set(told) != set(fields):
        raise ValueError(
            f"{where}: begin with a line ---, then {', '.join(fields)}, each `field: value`, then a line ---"
        )
    return told, body
