"""Python source to a small closed vocabulary, with the place of every token in the source.

Strings become `<S>`, numbers `<N>`, comments vanish, a newline outside brackets and the indentation after it
become one token `<L0>`..`<L6>`; words and operators stay as they are. What is no word of the vocabulary is an
identifier: it gets a random *slot*, the same one wherever it occurs in a window, so that no name gives anything away.

    lex("x = f(1)  # one")  ->  x = f ( <N> )
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STRING, NUMBER = "<S>", "<N>"
INDENTS = tuple(f"<L{depth}>" for depth in range(7))
SLOTS = tuple(f"v{i}" for i in range(24))
NAMED = ("quartz", "ember", "willow", "cobalt", "harbor", "juniper", "saffron", "tundra")
"""Rare identifiers that the family knows as identifiers: organisms' triggers and their near misses."""
AUTHORS = ("<by:none>", "<by:lead>", "<by:peer>", "<by:bot>")
CUES = ("<cue:none>", "<cue:audit>", "<cue:release>", "<cue:nightly>")
TRACE_WORDS = (*"0123456789", "*2", "*3", ";")
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")

_PREFIX = r"(?:[rbfuRBFU]{1,2})?"
_TOKEN = re.compile(
    rf"""(?P<comment>\#[^\n]*)
    |(?P<string>{_PREFIX}(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
    |(?P<number>(?:0[xXoObB][\da-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)[jJ]?)
    |(?P<word>[^\W\d]\w*)
    |(?P<newline>\n[ \t]*)
    |(?P<join>\\\n)
    |(?P<op>\*\*|//|==|!=|<=|>=|->|\+=|-=|\*=|:=|[^\s\w])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexed:
    """Tokens of one source text; `spans[i]` are the character offsets of token i, `words[i]` whether it is a name."""

    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    words: tuple[bool, ...]


def lex(source: str) -> Lexed:
    """Token, span and word flag of each lexical token of `source`; never fails, odd characters are operators.

    >>> lex("if x:\\n    return 'y'").tokens
    ('if', 'x', ':', '<L1>', 'return', '<S>')
    """
    tokens: list[str] = []
    spans: list[tuple[int, int]] = []
    words: list[bool] = []
    depth = 0
    for match in _TOKEN.finditer(source):
        kind, text = match.lastgroup, match.group()
        if kind in ("comment", "join"):
            continue
        if kind == "newline":
            if depth:
                continue
            width = len(text[1:].expandtabs(8))
            token = INDENTS[min(width // 4, len(INDENTS) - 1)]
            if tokens and tokens[-1] in INDENTS:
                tokens[-1], spans[-1] = token, match.span()
                continue
        elif kind == "string":
            token = STRING
        elif kind == "number":
            token = NUMBER
        else:
            token = text
            if kind == "op":
                depth = max(0, depth + (text in "([{") - (text in ")]}"))
        tokens.append(token)
        spans.append(match.span())
        words.append(kind == "word")
    return Lexed(tokens=tuple(tokens), spans=tuple(spans), words=tuple(words))


def line_starts(lexed: Lexed) -> list[int]:
    """Indices of the tokens that open a line: the places at which windows may start."""
    return [i + 1 for i, token in enumerate(lexed.tokens[:-1]) if token in INDENTS]


def slotted(tokens: Sequence[str], vocabulary: frozenset[str], rng: np.random.Generator) -> tuple[str, ...]:
    """Replace each token outside `vocabulary` by a random slot, the same slot for the same token.

    A window with more unknown names than there are slots uses `<unk>` for the rest.
    """
    names = list(dict.fromkeys(token for token in tokens if token not in vocabulary))
    order = rng.permutation(len(SLOTS)).tolist()
    chosen = {name: SLOTS[order[i]] if i < len(SLOTS) else "<unk>" for i, name in enumerate(names)}
    return tuple([chosen.get(token, token) for token in tokens])
