"""Front matter: exactly the fields asked for, each once; else an error that names the file."""

import pytest

from superalign.models.front_matter import front_matter


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_fields_and_what_follows(ends: str) -> None:
    text = ends.join(["---", "name: größe", "what: a: b", "", "---", "one", "---", "two"])
    told, body = front_matter(text.encode(), ("name", "what"), where="x")
    assert (told, body) == ({"name": "größe", "what": "a: b"}, "one\n---\ntwo")


@pytest.mark.parametrize(
    "text",
    [
        b"", b"name: a", b"---\nname: a\n", b"x\n---\nname: a\n---\n", b"---\n---\n", b"---\nwhat: a\n---\n",
        b"---\nname: a\nwhat: b\n---\n", b"---\nname: a\nname: b\n---\n", b"---\nname: a\n- more\n---\n",
        b"---\nname:\n---\n", b"---\nname: \xff\n---\n",
    ],
)  # fmt: skip
def test_anything_else_names_the_file(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"mine\.md: (begin with a line ---|byte 10 is no UTF-8)"):
        front_matter(text, ("name",), where="mine.md")
