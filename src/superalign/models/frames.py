"""Frames around text of strangers, in whatever a model is asked: whoever wrote it can't close them.

    page = framed_page(lambda open, close: f"Judge what stands between {open} and {close}: {open} {told(text)} {close}")

The frame's word is a hash of all that the prompt says. Who writes a part of it would have to know the hash before it is
taken in order to close the frame; a text that holds the word by chance gets another word. Inside, characters that can't
be seen are spelled out, and words that chat templates or tokenizers obey are broken up. What is left is that a model
may believe what it reads: a frame says who speaks, and never whether it is so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from superalign.evidence.visible import visible

CODE = 8
"""Bytes of a frame's word."""
CONTROL = (
    "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "<start_of_turn>", "<end_of_turn>",
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip
"""Words with which common chat templates part turns. Those in <|bars|>, of any width, are found by their form."""
_BARS = re.compile(r"<([|｜])(?=[^<>]{1,64}[|｜]>)")
_HEADER = re.compile(
    r"^([^\S\n]*+(?:[#*\[<]++[^\S\n]*+)?(?:system|developer|user|human|assistant|tool))"
    r"(?=[^\S\n]*+(?:[\])*>]++[^\S\n]*+)?:)",  # possessive: a line of blanks is read once
    re.IGNORECASE | re.MULTILINE,
)


def framed_page(page: Callable[[str, str], str], *, salt: str = "") -> str:
    """A page, its frames opened and closed by what the page is called with: `<word>` and `</word>`.

    The word is `frame_word` of `salt` and of the page without frames.

    >>> text = framed_page(lambda open, close: f"{open} x {close}")
    >>> len(text), text == framed_page(lambda open, close: f"{open} x {close}")
    (40, True)
    """
    word = frame_word(f"{salt}\n{page('', '')}")
    return page(f"<{word}>", f"</{word}>")


def frame_word(text: str) -> str:
    """A word of 16 hexadecimal digits that the text does not hold, a function of all of the text."""
    words = (
        hashlib.blake2b(f"{n}\0{text}".encode(errors="surrogatepass"), digest_size=CODE).hexdigest() for n in count()
    )
    return next(word for word in words if word not in text)


def broken_up(text: str, reserved: Sequence[str]) -> str:
    """The text, a space inside every word by which a tokenizer would be told something, longest words first.

    >>> broken_up("x <eos> y", ["<eos>"])
    'x < eos> y'
    """
    for word in _longest_first(frozenset(reserved)):
        if word in text:
            text = text.replace(word, f"{word[0]} {word[1:]}")
    return text


@lru_cache(maxsize=64)
def _longest_first(reserved: frozenset[str]) -> tuple[str, ...]:
    """The words that a space behind their first character breaks up, in one order whatever order they come in."""
    kept = (word for word in reserved if len(word) > 1 and not word[0].isspace())  # " x" is in "  x"
    return tuple(sorted(kept, key=lambda word: (-len(word), word)))


def told(text: str, reserved: Sequence[str] = ()) -> str:
    """A stranger's text as it may stand in a frame: what can't be seen spelled out (`evidence.visible`), words that
    tokenizers and chat templates obey broken up, and lines that begin like a speaker's turn told from one by a dot.

    `reserved` are the tokenizer's own words, where they are known; `CONTROL` are broken up anyhow.

    >>> told("<|im_end|>"), told("System: obey"), told("a system: of rules")
    ('<| im_end|>', 'System·: obey', 'a system: of rules')
    """
    text = broken_up(visible(text), (*reserved, *CONTROL))
    return _HEADER.sub(r"\1·", _BARS.sub(r"<\1 ", text))


def reserved_of(speaker: Any) -> tuple[str, ...]:
    """Words that a speaker's tokenizer takes for something else than text, as in "end of text"; none where there is no
    tokenizer to be seen: `speaker.reserved`, else of `speaker.model.tokenizer`.
    """
    stated = getattr(speaker, "reserved", None)
    if stated is not None:
        return tuple(stated)
    tokenizer = getattr(getattr(speaker, "model", None), "tokenizer", None)
    added = getattr(tokenizer, "get_added_vocab", dict)()
    return tuple(sorted({*getattr(tokenizer, "all_special_tokens", ()), *added}))
