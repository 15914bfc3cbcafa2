"""The standard library as the family reads it: names in slots, the same ones in a window, whatever windows are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from superalign.interpretability.corpora import CONTEXT, _Codes, _rows, code_corpus, text_corpus
from superalign.interpretability.corpus import Corpus, split_of
from superalign.models import LocalModel, load_model
from superalign.tasks import lexer
from superalign.tasks.stdlib import source_files


@cache
def family() -> LocalModel:
    return load_model("family:xs")


@cache
def dev() -> Corpus:
    return code_corpus(family(), splits=("dev",))


def words_of(corpus: Corpus, row: int) -> list[str]:
    words: list[str] = family().tokenizer.convert_ids_to_tokens(corpus.ids[row, : corpus.lengths[row]].tolist())
    return words


def test_windows_follow_each_other_and_names_are_slots() -> None:
    """Word for word the lexed source, each other name a slot, one for one within a window."""
    corpus, known = dev(), set(family().tokenizer.get_vocab())
    sources = source_files("dev")
    for document in (0, 7, len(corpus.names) - 1):
        tokens = lexer.lex(sources[corpus.names[document]]).tokens
        room, read = corpus.length - 3, 0
        for number, row in enumerate(np.flatnonzero(corpus.documents == document)):
            words = words_of(corpus, int(row))
            assert words[:3] == ["<bos>", *CONTEXT]
            own = tokens[number * room : (number + 1) * room]
            read += len(own)
            assert len(words) == 3 + len(own)
            drawn: dict[str, str] = {}
            for token, word in zip(own, words[3:], strict=True):
                assert (word == token) if token in known else word in (*lexer.SLOTS, "<unk>")
                assert drawn.setdefault(token, word) == word
            slots = [word for token, word in drawn.items() if token not in known and word != "<unk>"]
            assert len(set(slots)) == len(slots) == min(len(lexer.SLOTS), sum(t not in known for t in drawn))
        assert read == len(tokens)


def test_slots_are_fresh_in_each_window_and_run_out() -> None:
    known = family().tokenizer.get_vocab()
    codes = _Codes(known)
    names = np.array([codes[f"name{i}"] for i in range(30)] * 2 + [codes["return"]])
    first, second, last = _rows("a.py", names, known, 30)
    assert len(set(first)) == len(lexer.SLOTS) + 1
    assert first[-6:] == [known["<unk>"]] * 6
    assert sorted(first) == sorted(second)
    assert first != second
    assert last == [known["return"]]
    assert _rows("a.py", names, known, 30) == [first, second, last]
    assert _rows("b.py", names, known, 30)[0] != first
    assert _rows("empty.py", names[:0], known, 30) == []


def test_the_same_corpus_every_time_parted_by_document() -> None:
    corpus = dev()
    assert code_corpus(family(), splits=("dev",)).digest == corpus.digest
    assert {corpus.names[d]: int(s) for d, s in zip(corpus.documents, corpus.splits, strict=True)} == {
        name: ("train", "dev", "validation", "test").index(split_of(name)) for name in corpus.names
    }
    assert (corpus.lengths > corpus.skip).all()


@pytest.mark.parametrize("windows", [1, 100, 250, 10**9])
def test_thinning_keeps_about_so_many_and_every_document(windows: int) -> None:
    whole, corpus = dev(), code_corpus(family(), splits=("dev",), windows=windows)
    assert corpus.names == whole.names
    assert len(corpus) <= min(len(whole), windows + len(whole.names))
    kept = {row.tobytes() for row in whole.ids}
    assert all(row.tobytes() in kept for row in corpus.ids)


def test_own_texts_are_cut_at_the_context(tiny: Callable[..., Any]) -> None:
    model = tiny()
    texts = {f"d{i}": " ".join("abcd"[(i + j) % 4] for j in range(50)) for i in range(40)}
    corpus = text_corpus(model, texts, length=128)
    assert corpus.length == 24
    assert (corpus.ids[:, 0] == 1).all()
    words = model.tokenizer(texts["d0"], add_special_tokens=False)["input_ids"]
    rows = corpus.documents == corpus.names.index("d0")
    read = [i for ids, end in zip(corpus.ids[rows], corpus.lengths[rows], strict=True) for i in ids[1:end].tolist()]
    assert read == words
    assert len(text_corpus(model, texts, windows=40)) <= 80


def test_bad_input_is_named(tiny: Callable[..., Any]) -> None:
    model = tiny()
    with pytest.raises(ValueError, match="ask for 4, its start, to 96"):
        code_corpus(family(), splits=("dev",), length=3)
    with pytest.raises(ValueError, match="to 96, its context"):
        code_corpus(family(), splits=("dev",), length=97)
    with pytest.raises(ValueError, match="does not read words of code"):
        code_corpus(replace(model, tokenizer=None), splits=("dev",))
    with pytest.raises(ValueError, match="ask for longer ones"):
        text_corpus(model, {"a": "a b"}, length=1)
    with pytest.raises(ValueError, match="0 sequences"):
        text_corpus(model, {})
    with pytest.raises(ValueError, match="none falls to"):
        text_corpus(model, {"one": "a b c"})
