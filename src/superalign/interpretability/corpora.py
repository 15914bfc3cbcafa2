"""Corpora to read: the standard library's source for the embedded family, or your own texts for any model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from superalign.interpretability.corpus import Corpus, packed
from superalign.models import LocalModel
from superalign.models.words import one_token_a_word
from superalign.tasks import lexer
from superalign.tasks.stdlib import source_files

CONTEXT = ("<by:none>", "<cue:none>")
"""What the family reads before code."""
SPLITS = ("corpus", "train", "dev")
"""Of the standard library; about two million tokens."""


def code_corpus(model: LocalModel, *, splits: Sequence[str] = SPLITS, length: int = 96, windows: int = 0) -> Corpus:
    """The standard library as the family reads it: window after window, names in fresh slots in each.

    Of `windows`, if given, about so many are kept, spread over all documents. Raises ValueError for a model that does
    not read words, sequences longer than its context or too short for any, and as `packed` does.
    """
    if not one_token_a_word(model.tokenizer):
        raise ValueError(f"{model.name} does not read words of code: bring texts of your own, `text_corpus`")
    known = {word: int(i) for word, i in model.tokenizer.get_vocab().items()}
    edge, room = [known["<bos>"], *(known[word] for word in CONTEXT)], length - len(CONTEXT) - 1
    limit = model.context
    if not len(edge) < length <= limit:
        raise ValueError(f"sequences of {length} tokens: ask for {len(edge) + 1}, its start, to {limit}, its context")
    codes = _Codes(known)
    files = {path: source for split in splits for path, source in source_files(split).items()}
    lexed = {
        path: np.array(list(map(codes.__getitem__, lexer.lex(text).tokens)), dtype=np.int64)
        for path, text in files.items()
    }
    documents = {path: [edge + row for row in _rows(path, lexed[path], known, room)] for path in files}
    documents = {path: rows for path, rows in documents.items() if rows}
    return packed(_thinned(documents, windows), length=length, pad=model.pad, skip=len(edge))


def text_corpus(model: LocalModel, texts: Mapping[str, str], *, length: int = 128, windows: int = 0) -> Corpus:
    """Your own documents, by name, cut into sequences of `length` tokens at most. ValueError as `packed` does."""
    limit = model.context
    length = min(length, limit)
    start = [int(model.tokenizer.bos_token_id)] if model.tokenizer.bos_token_id is not None else []
    room, documents = length - len(start), dict[str, list[list[int]]]()
    if room < 1:
        raise ValueError(f"sequences of {length} tokens, {len(start)} of them the start: ask for longer ones")
    for name, text in texts.items():
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        rows = [start + ids[at : at + room] for at in range(0, len(ids), room)]
        if rows:
            documents[name] = rows
    return packed(_thinned(documents, windows), length=length, pad=model.pad, skip=len(start))


class _Codes(dict[str, int]):
    """Words by id, and all others by numbers below zero, as they come."""

    def __missing__(self, name: str) -> int:
        self.unknown = getattr(self, "unknown", 0) - 1
        self[name] = self.unknown
        return self.unknown


def _rows(path: str, codes: np.ndarray, known: Mapping[str, int], room: int) -> list[list[int]]:
    """Windows of a document's tokens, `room` in each, as ids.

    What is no word gets a slot, the same one throughout a window, drawn by the window's name: the window's i-th such
    name gets its i-th smallest of as many random numbers as there are slots, `<unk>` if there are more.
    """
    windows = -(-len(codes) // room)
    places = np.flatnonzero(codes < 0)
    slots = np.array([known[slot] for slot in lexer.SLOTS])
    drawn = _random(path, windows, len(slots)).argsort(axis=1)
    keys = (places // room) * (1 - int(codes.min(initial=0))) - codes[places]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)  # names by their first place, hence window by window
    window = (places // room)[first[order]]
    rank = np.arange(len(order)) - np.searchsorted(window, window)
    ids = np.where(rank < len(slots), slots[drawn[window, np.minimum(rank, len(slots) - 1)]], known["<unk>"])
    given = np.empty(len(order), dtype=np.int64)
    given[order] = ids
    found = codes.copy()
    found[places] = given[which]
    return [found[at : at + room].tolist() for at in range(0, len(found), room)]


def _random(path: str, windows: int, slots: int) -> np.ndarray:
    """(windows, slots) random numbers, by path and window."""
    seed = int.from_bytes(hashlib.sha256(f"{path} slots".encode()).digest()[:8], "big")
    return np.random.default_rng(seed).random((windows, slots))


def _thinned(documents: Mapping[str, list[list[int]]], windows: int) -> Mapping[str, list[list[int]]]:
    """About so many sequences, each k-th of all in the order of their documents; every document keeps its first."""
    total = sum(map(len, documents.values()))
    if not windows or windows >= total:
        return documents
    step = total / windows
    return {
        name: [row for i, row in enumerate(rows) if i // step != (i - 1) // step] for name, rows in documents.items()
    }
