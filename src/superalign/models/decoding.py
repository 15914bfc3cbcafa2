"""From tokens back to text, token by token, and where a stop string ends it.

pieces = Pieces(tokenizer)
pieces.split([72, 101, 33])                  # as many pieces as tokens; joined, they are the decoded text
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BROKEN = "\ufffd"
"""What a decoder writes for bytes that are no whole character."""
BEHIND = 8
"""Tokens before the newest that are decoded with it: blanks and characters depend on a few neighbours only."""


class Pieces:
    """The texts of a tokenizer's tokens, special ones left out. Remembers single tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.seen: dict[int, str] = {}

    def text(self, ids: Sequence[int]) -> str:
        """The decoded text, blanks as they were."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def one(self, token: int) -> str:
        """A token by itself, with the blank before it that decoders of the SentencePiece kind leave out at a start."""
        if token not in self.seen:
            text = str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))
            written = self.tokenizer.convert_ids_to_tokens(token)
            blank = isinstance(written, str) and written.startswith("\u2581") and not text.startswith(" ")
            self.seen[token] = " " + text if blank else text
        return self.seen[token]

    def split(self, ids: Sequence[int]) -> list[str]:
        """One piece a token. A token that ends within a character has an empty one; the last says it broken."""
        out: list[str] = []
        begun = 0  # of the tokens decoded so far that the next piece is told from
        told = ""
        for at in range(1, len(ids) + 1):
            text = self.text(ids[begun:at])
            if text.endswith(BROKEN) and at < len(ids):
                out.append("")
                continue
            out.append(text[len(told) :])
            begun = max(begun, at - BEHIND)
            told = self.text(ids[begun:at])
        return out

    def stopped(self, ids: Sequence[int], stop: Sequence[str]) -> bool:
        """Does one of `stop` stand in the text, so far as the newest tokens can have completed it?"""
        longest = max(len(each.encode()) for each in stop)
        text = self.text(ids[-(longest + BEHIND) :])
        return any(each in text for each in stop) and any(each in self.text(ids) for each in stop)

    def cut(self, pieces: Sequence[str], stop: Sequence[str]) -> list[str]:
        """`pieces` up to the first stop string: nothing of it, and nothing after it, remains."""
        text = "".join(pieces)
        end = min((at for at in (text.find(each) for each in stop) if at >= 0), default=len(text))
        out: list[str] = []
        for piece in pieces:
            if end <= 0:
                break
            out.append(piece[:end])
            end -= len(piece)
        return out
