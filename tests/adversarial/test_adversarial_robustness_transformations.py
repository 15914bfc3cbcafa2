"""Transformations of plain text and of Python: decodable where that is claimed, doing what they did where that is."""

from __future__ import annotations

import ast
import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign.adversarial.robustness.scripts import (
    CODE_TRANSFORMATIONS,
    foreign_keywords,
    names_in,
    native_keywords,
    other_script,
    own_names,
)
from superalign.adversarial.robustness.transformations import TRANSFORMATIONS, composed

DECODED = [name for name, one in TRANSFORMATIONS.items() if one.decode]
PROGRAMS = (
    "def total(xs):\n    s = 0\n    for x in xs:\n        s += x\n    return s\nanswer = total([1, 2, 3])\n",
    "j, z = 1, 2\nanswer = [(j, z) for k in range(2) for c in 'ab']\n",
    "import math as m\nroot = m.sqrt(16)\nanswer = f'{root} of {m.pi:.2f}'\n",
    "class Box:\n    size = 3\n    def grow(self, by=1):\n        return self.size + by\nanswer = Box().grow(by=4)\n",
    "try:\n    number = int('a')\nexcept ValueError as error:\n    answer = str(error)\n",
    "_ = 4\n__x = 5\nanswer = (lambda a, *b, **c: a + len(b) + len(c))(_, __x, q=1)\n",
    "def out():\n  n = 1\n  def add():\n    nonlocal n\n    n += 1\n  add()\n  return n\nanswer = out()\n",
)  # fmt: skip


@pytest.mark.parametrize("name", DECODED)
@given(text=st.text(max_size=60), seed=st.integers(0, 2**31))
def test_it_decodes(name: str, text: str, seed: int) -> None:
    one = TRANSFORMATIONS[name]
    assert one.decode is not None
    assert one.decode(one.apply(text, seed)) == text


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_it_is_pure_and_does_something(name: str) -> None:
    one, text = TRANSFORMATIONS[name], "Write a small note to 3 people who help, please"
    assert one.name == name
    seen = {one.apply(text, seed) for seed in range(6)}
    assert seen == {one.apply(text, seed) for seed in range(6)}
    assert seen != {text}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("base64", "hi", "aGk="),
        ("rot13", "Why?", "Jul?"),
        ("leet", "least", "l3457"),
        ("spaced", "abc", "a b c"),
        ("backwards", "one  two three", "three  two one"),
        ("spelled", "3 apples, 4.5 or 10 or v2 or 7.", "three apples, 4.5 or 10 or v2 or seven."),
        ("syllables", "A", "ke"),
    ],
)
def test_known_answers(name: str, text: str, said: str) -> None:
    assert TRANSFORMATIONS[name].apply(text, 0) == said


def test_a_frame_that_was_not_there() -> None:
    decode = TRANSFORMATIONS["role-play"].decode
    assert decode is not None
    with pytest.raises(ValueError, match="none of the frames"):
        decode("hello")


def test_compositions_and_unknown_names() -> None:
    plan = (("rot13", 0), ("base64", 0))
    assert composed("hi", plan, TRANSFORMATIONS) == "dXY="
    assert composed("hi", (), TRANSFORMATIONS) == "hi"
    with pytest.raises(KeyError, match="rot14"):
        composed("hi", (("rot14", 0),), TRANSFORMATIONS)


@pytest.mark.parametrize("code", PROGRAMS)
@pytest.mark.parametrize("seed", range(4))
def test_other_scripts_do_what_they_did(code: str, seed: int) -> None:
    told, new = other_script(code, seed), names_in(code, seed)
    assert len(set(new.values())) == len(new)
    before: dict = {}
    after: dict = {}
    exec(code, before)
    exec(told, after)
    assert before["answer"] == after[new.get("answer", "answer")]
    assert all(name.isascii() for name in own_names(code))
    if own_names(code) not in ((), ("_", "__x")):
        assert not told.isascii()


def test_what_stays() -> None:
    names = own_names(PROGRAMS[3])
    assert "size" not in names
    assert "grow" not in names
    assert "by" not in names
    assert "print" not in own_names("print = 3")
    assert other_script("def :", 0) == "def :"


@pytest.mark.parametrize("code", PROGRAMS)
@pytest.mark.parametrize("seed", range(3))
def test_keywords_come_back(code: str, seed: int) -> None:
    told = foreign_keywords(code, seed)
    assert native_keywords(told, seed) == code
    if {"def", "for", "import", "class", "try"} & set(code.split()):
        with pytest.raises(SyntaxError):
            ast.parse(told)


def test_keywords_are_new_words() -> None:
    told = foreign_keywords(" ".join(keyword.kwlist), 0).split()
    assert len(set(told)) == len(keyword.kwlist)
    assert not set(told) & set(keyword.kwlist)
    assert foreign_keywords("x = '''open", 0) == "x = '''open"


@pytest.mark.parametrize("name", CODE_TRANSFORMATIONS)
def test_code_transformations_compose_with_the_others(name: str) -> None:
    told = composed(PROGRAMS[0], ((name, 1), ("rot13", 0)), {**TRANSFORMATIONS, **CODE_TRANSFORMATIONS})
    assert composed(told, (("rot13", 0),), TRANSFORMATIONS) == CODE_TRANSFORMATIONS[name].apply(PROGRAMS[0], 1)
    assert CODE_TRANSFORMATIONS[name].apply("x = '''open", 0) == "x = '''open"
