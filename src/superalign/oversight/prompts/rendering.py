"""A View as a model reads it: marks are the table's, and whatever somebody else wrote stands in a frame.

The frame's word is a hash of all that the prompt says. Who writes a part of it would have to know the hash before it
is taken in order to close the frame; a text that holds the word by chance gets another word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from superalign.evidence.visible import visible
from superalign.models.frames import broken_up, framed_page
from superalign.oversight.prompts.telling import LETTERS, only_places, speakers
from superalign.oversight.prompts.template import Prompt
from superalign.oversight.types import Charge, Message, Quote, View


def rendered(prompt: Prompt, view: View, order: Sequence[int], *, reserved: Sequence[str] = ()) -> str:
    """The prompt for a view, option `order[k]` shown under letter k. `reserved`: words a tokenizer obeys, broken up.

    A quote that differs from the item shows nothing of what it says. Raises ValueError for over 26 options, or an order
    that isn't one of them.
    """
    letters = letters_of(view.options, order)

    def page(opened: str, closed: str) -> str:
        shown = Page(
            prompt=prompt, letters=letters, open=opened, close=closed, told=lambda text: broken_up(text, reserved)
        )
        return prompt.fill("prompt", **shown.holes(view))

    return framed_page(page, salt=prompt.digest)


def letters_of(options: Sequence[str], order: Sequence[int]) -> dict[int, str]:
    """Option → its letter, in the order of the letters. Raises ValueError as `rendered` does.

    >>> letters_of(("no", "yes"), (1, 0))
    {1: 'A', 0: 'B'}
    """
    if sorted(order) != list(range(len(options))) or len(order) > len(LETTERS):
        raise ValueError(f"{len(options)} options in the order {tuple(order)}: each once, and 26 at most")
    return {option: LETTERS[at] for at, option in enumerate(order)}


class Filled(Protocol):
    """A prompt's file, as far as a page needs it."""

    def fill(self, part: str, **values: str) -> str:
        """A part with its holes filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What stands in a prompt's holes, each text of a stranger in a frame."""

    prompt: Filled
    letters: Mapping[int, str]
    """Option → its letter, in the order of the letters."""
    open: str
    close: str
    told: Callable[[str], str]
    """A stranger's text, all of it visible, as it may stand in a frame."""

    def holes(self, view: View) -> dict[str, str]:
        """Placeholder → text."""
        names = speakers(view)
        said = [self._message(message, names[message.speaker]) for message in view.messages]
        return {
            "question": self.framed(view.question) if view.question.strip() else self.prompt.fill("unasked"),
            "options": "\n".join(self._option(view.options, option) for option in self.letters),
            "transcript": "\n".join(said) or self.prompt.fill("nothing"),
            "letters": ", ".join(self.letters.values()),
            "open": self.open,
            "close": self.close,
        }

    def framed(self, text: str) -> str:
        """A stranger's text in a frame."""
        return f"{self.open} {self.told(visible(text))} {self.close}"

    def sides(self, texts: Sequence[str]) -> str:
        """The texts of one place: one an option, each under its letter, or one for all."""
        if len(texts) != len(self.letters):
            return " ".join(self.framed(text) for text in texts)
        told = (
            self.prompt.fill("side", letter=letter, text=self.framed(texts[option]))
            for option, letter in self.letters.items()
        )
        return " ".join(told)

    def _option(self, options: Sequence[str], option: int) -> str:
        letter = self.letters[option]
        if only_places(options):
            return self.prompt.fill("place", letter=letter)
        return self.prompt.fill("option", letter=letter, name=self.framed(options[option]))

    def _message(self, message: Message, name: str) -> str:
        side = self.letters.get(-1 if message.side is None else message.side)
        lines = [
            self.prompt.fill("speaks", speaker=name)
            if side is None
            else self.prompt.fill("argues", speaker=name, letter=side),
            *(self._quote(quote) for quote in message.quotes),
            *((self.prompt.fill("words", text=self.framed(message.text)),) if message.text.strip() else ()),
            *(self._charge(charge) for charge in message.charges),
        ]
        if len(message.belief) == len(self.letters):
            told = ", ".join(f"{letter} {message.belief[option]:.0%}" for option, letter in self.letters.items())
            lines.append(self.prompt.fill("belief", beliefs=told))
        return "\n".join(lines)

    def _quote(self, quote: Quote) -> str:
        if not quote.verified:
            return self.prompt.fill("misquote")
        return self.prompt.fill("quote", place=str(quote.piece + 1), text=self.sides(quote.texts))

    def _charge(self, charge: Charge) -> str:
        part = {True: "holds", False: "fails", None: "charge"}[charge.holds]
        return self.prompt.fill(part, letter=self.letters[charge.option], place=str(charge.piece + 1))
