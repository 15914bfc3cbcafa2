"""A View as a model reads it: marks are the table's, and whatever somebody else wrote stands in a frame.

The frame's word is a hash of all that the prompt says. Who writes a part of it would have to know the hash before it
is taken in order to close the frame; a text that holds the word by chance gets another word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from superalign.evidence.visible import visible
from superalign.oversight.prompts.telling import LETTERS, only_places, speakers
from superalign.oversight.prompts.template import Prompt
from superalign.oversight.types import Charge, Message, Quote, View

CODE = 8
"""Bytes of a frame's word."""


def rendered(prompt: Prompt, view: View, order: Sequence[int], *, reserved: Sequence[str] = ()) -> str:
    """The prompt for a view, option `order[k]` shown under letter k. `reserved`: words a tokenizer obeys, broken up.

    A quote that differs from the item shows nothing of what it says. Raises ValueError for over 26 options, or an order
    that isn't one of them.
    """
    if sorted(order) != list(range(len(view.options))) or len(order) > len(LETTERS):
        raise ValueError(f"{len(view.options)} options in the order {tuple(order)}: each once, and 26 at most")
    letters = {option: LETTERS[at] for at, option in enumerate(order)}
    draft = _Page(prompt=prompt, letters=letters, open="", close="", reserved=reserved).of(view)
    word = frame_word(f"{prompt.digest}\n{draft}")
    return _Page(prompt=prompt, letters=letters, open=f"<{word}>", close=f"</{word}>", reserved=reserved).of(view)


def frame_word(text: str) -> str:
    """A word of 16 hexadecimal digits that the text does not hold, a function of all of the text."""
    words = (hashlib.blake2b(f"{n}\0{text}".encode(), digest_size=CODE).hexdigest() for n in count())
    return next(word for word in words if word not in text)


def broken_up(text: str, reserved: Sequence[str]) -> str:
    """The text, a space inside every word by which a tokenizer would be told something, longest words first.

    >>> broken_up("x <eos> y", ["<eos>"])
    'x < eos> y'
    """
    for word in sorted(reserved, key=len, reverse=True):
        if len(word) > 1 and not any(map(str.isspace, word)):
            text = text.replace(word, f"{word[0]} {word[1:]}")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    prompt: Prompt
    letters: Mapping[int, str]
    """Option → its letter, in the order of the letters."""
    open: str
    close: str
    reserved: Sequence[str]

    def of(self, view: View) -> str:
        names = speakers(view)
        said = [self._message(message, names[message.speaker]) for message in view.messages]
        return self.prompt.fill(
            "prompt",
            question=self._framed(view.question) if view.question.strip() else self.prompt.fill("unasked"),
            options="\n".join(self._option(view.options, option) for option in self.letters),
            transcript="\n".join(said) or self.prompt.fill("nothing"),
            letters=", ".join(self.letters.values()),
            open=self.open,
            close=self.close,
        )

    def _framed(self, text: str) -> str:
        return f"{self.open} {broken_up(visible(text), self.reserved)} {self.close}"

    def _option(self, options: Sequence[str], option: int) -> str:
        letter = self.letters[option]
        if only_places(options):
            return self.prompt.fill("place", letter=letter)
        return self.prompt.fill("option", letter=letter, name=self._framed(options[option]))

    def _message(self, message: Message, name: str) -> str:
        side = self.letters.get(-1 if message.side is None else message.side)
        lines = [
            self.prompt.fill("speaks", speaker=name)
            if side is None
            else self.prompt.fill("argues", speaker=name, letter=side),
            *(self._quote(quote) for quote in message.quotes),
            *((self.prompt.fill("words", text=self._framed(message.text)),) if message.text.strip() else ()),
            *(self._charge(charge) for charge in message.charges),
        ]
        if len(message.belief) == len(self.letters):
            told = ", ".join(f"{letter} {message.belief[option]:.0%}" for option, letter in self.letters.items())
            lines.append(self.prompt.fill("belief", beliefs=told))
        return "\n".join(lines)

    def _quote(self, quote: Quote) -> str:
        if not quote.verified:
            return self.prompt.fill("misquote")
        if len(quote.texts) == len(self.letters):
            sides = [
                self.prompt.fill("side", letter=letter, text=self._framed(quote.texts[option]))
                for option, letter in self.letters.items()
            ]
            return self.prompt.fill("quote", place=str(quote.piece + 1), text=" ".join(sides))
        text = " ".join(self._framed(text) for text in quote.texts)
        return self.prompt.fill("quote", place=str(quote.piece + 1), text=text)

    def _charge(self, charge: Charge) -> str:
        part = {True: "holds", False: "fails", None: "charge"}[charge.holds]
        return self.prompt.fill(part, letter=self.letters[charge.option], place=str(charge.piece + 1))
