"""Prompts as markdown files: what stands in front of their text says what they are.

told, body = front_matter(data, ("name", "version"), where="mine.md")
"""

from __future__ import annotations

from collections.abc import Sequence


def front_matter(data: bytes, fields: Sequence[str], *, where: str) -> tuple[dict[str, str], str]:
    """The fields of a file's front matter, each `field: value` on a line between two lines `---`, and what follows.

    Raises ValueError, which names the file, where it is no UTF-8, there is none, or it has other lines than these.

    >>> front_matter(b"---\\nname: mine\\n---\\ntext", ("name",), where="x")
    ({'name': 'mine'}, 'text')
    """
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: byte {error.start} is no UTF-8: save the file as UTF-8") from error
    head, mark, body = text.removeprefix("---\n").partition("\n---\n")
    told = [line.partition(": ") for line in head.split("\n") if line.strip()]
    if not text.startswith("---\n") or not mark or sorted(name for name, _, _ in told) != sorted(fields):
        raise ValueError(
            f"{where}: begin with a line ---, then {', '.join(fields)}, each `field: value`, then a line ---"
        )
    return {name: value for name, _, value in told}, body
