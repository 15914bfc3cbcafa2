from __future__ import annotations

import io
import keyword
import tokenize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.tasks.lexer import INDENTS, NUMBER, SLOTS, STRING, lex, line_starts, slotted
from superalign.tasks.stdlib import source_files


@pytest.mark.parametrize(
    ("source", "tokens"),
    [
        ("x = f(1)  # one", ("x", "=", "f", "(", NUMBER, ")")),
        ("if x:\n    return 'y'", ("if", "x", ":", "<L1>", "return", STRING)),
        ("a\n\n\n        b", ("a", "<L2>", "b")),  # blank lines are one
        ("f(\n  a,\n  [b,\n c],\n)\nd", ("f", "(", "a", ",", "[", "b", ",", "c", "]", ",", ")", "<L0>", "d")),
        # a bracket in a string opens nothing
        ("x = {'(': 1}\ny", ("x", "=", "{", STRING, ":", NUMBER, "}", "<L0>", "y")),
        ("a  # ( [\nb", ("a", "<L0>", "b")),  # nor one in a comment
        ('"""one\ntwo"""\nz', (STRING, "<L0>", "z")),
        (r"s = 'it\'s' + rb'\n'", ("s", "=", STRING, "+", STRING)),
        ("'#' # '", (STRING,)),
        ("a \\\n + b", ("a", "+", "b")),
        ("0x1F 1_000 1e-9 .5 2j", (NUMBER,) * 5),
        ("a ** b // c != d -> e := f", ("a", "**", "b", "//", "c", "!=", "d", "->", "e", ":=", "f")),
        (")))\nx", (")", ")", ")", "<L0>", "x")),  # unmatched: depth never goes under zero
        ("x\n\ty", ("x", "<L2>", "y")),  # a tab is eight columns
        ("x\n" + " " * 80 + "y", ("x", "<L6>", "y")),
        ("", ()),
    ],
)
def test_tokens(source: str, tokens: tuple[str, ...]) -> None:
    assert lex(source).tokens == tokens


def test_spans_slice_back_to_the_words() -> None:
    source = "def f(alpha, beta):\n    # no\n    return alpha + beta * 'x'\n"
    lexed = lex(source)
    for token, (start, end), word in zip(lexed.tokens, lexed.spans, lexed.words, strict=True):
        shown = source[start:end]
        if token == STRING:
            assert shown == "'x'"
        elif token in INDENTS:
            assert shown.strip() == ""
        else:
            assert shown == token
        assert word == shown.isidentifier()


def test_names_agree_with_the_standard_tokenizer() -> None:
    source = "\n".join(next(iter(source_files("dev").values())).splitlines()[:400]) + "\n"
    try:
        theirs = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.NAME]
    except tokenize.TokenError:  # the cut fell into a bracket
        pytest.fail("choose another cut")
    lexed = lex(source)
    ours = [token for token, word in zip(lexed.tokens, lexed.words, strict=True) if word]
    assert ours == theirs
    assert len(ours) > 200
    assert any(keyword.iskeyword(token) for token in ours)


PIECES = st.sampled_from([*"'\"\\\n#()[}x1. \té\0", '"""', "'''", "r'", "0x"])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join)))
def test_lex_never_fails_and_spans_increase(source: str) -> None:
    lexed = lex(source)
    assert len(lexed.tokens) == len(lexed.spans) == len(lexed.words)
    end = 0
    for start, stop in lexed.spans:
        assert end <= start < stop <= len(source)
        end = stop
    assert all(
        t in INDENTS or t in (STRING, NUMBER) or t == source[a:b]
        for t, (a, b) in zip(lexed.tokens, lexed.spans, strict=True)
    )


def test_lines_start_after_indents() -> None:
    lexed = lex("a = 1\nb = f(\n2)\n    c")
    assert [lexed.tokens[i] for i in line_starts(lexed)] == ["b", "c"]


def test_slots_are_consistent_injective_and_random() -> None:
    tokens = ("foo", "=", "bar", "(", "foo", ")")
    seen = {slotted(tokens, frozenset("=()"), np.random.default_rng(seed)) for seed in range(20)}
    assert len(seen) > 10
    for made in seen:
        assert made[0] == made[4] != made[2]
        assert {made[0], made[2]} <= set(SLOTS)
        assert (made[1], made[3], made[5]) == ("=", "(", ")")


def test_more_names_than_slots_are_unknown() -> None:
    made = slotted([f"n{i}" for i in range(30)], frozenset(), np.random.default_rng(0))
    assert set(made[:24]) == set(SLOTS)
    assert set(made[24:]) == {"<unk>"}
