"""What a model reads for `superalign interpret`: stored as arrays, read again from there by workers and auditors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.evidence import SuperalignError
from superalign.interpretability.corpus import Corpus
from superalign.pipeline.arrays import arrays_from_bytes, arrays_to_bytes
from superalign.pipeline.interpret_config import InterpretConfig, InterpretSizes

if TYPE_CHECKING:
    from superalign.models import LocalModel  # torch loads where it is needed

ARRAYS = ("ids", "lengths", "documents", "splits")
MOST_TEXT = 1 << 30
"""Bytes of your own text."""


def corpus_for(model: LocalModel, config: InterpretConfig, sizes: InterpretSizes) -> Corpus:
    """The standard library, or your own text.

    Raises SuperalignError where there is none to read, for a file that can't be used (naming the line), and for too
    few documents.
    """
    from superalign.interpretability.corpora import code_corpus, text_corpus
    from superalign.models.words import one_token_a_word

    if config.corpus is None and not one_token_a_word(model.tokenizer):
        raise SuperalignError(f"{model.name} needs text to read: pass --corpus with a folder or a JSON Lines file")
    try:
        if config.corpus is None:
            return code_corpus(model, windows=sizes.windows)
        return text_corpus(model, own_texts(config.corpus), windows=sizes.windows)
    except ValueError as error:
        raise SuperalignError(f"--corpus {config.corpus or 'of code'}: {error}") from error


def own_texts(path: Path) -> dict[str, str]:
    """Document → text, of a folder's text files or of JSON Lines with `text` and `document`.

    Raises SuperalignError for a path that isn't there, too much text, and the first line that can't be used.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        if sum(p.stat().st_size for p in files) > MOST_TEXT:
            raise SuperalignError(f"{path} holds more than {MOST_TEXT >> 20} MiB: name a smaller folder")
        texts = {str(p.relative_to(path)): _decoded(p) for p in files}
    elif path.is_file():
        texts = _lines(path)
    else:
        raise SuperalignError(f"--corpus {path} is not there: name a folder of text files or a JSON Lines file")
    texts = {name: text for name, text in texts.items() if text.strip()}
    if not texts:
        raise SuperalignError(f"--corpus {path} holds no text")
    return texts


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SuperalignError(f"{path} is no text in UTF-8 (byte {error.start}): take it out of the folder") from error


def _lines(path: Path) -> dict[str, str]:
    if path.stat().st_size > MOST_TEXT:
        raise SuperalignError(f"{path} has more than {MOST_TEXT >> 20} MiB: give a part of it")
    found: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            text, name = told["text"], told["document"]
        except (ValueError, KeyError, TypeError) as error:
            raise _bad(path, number, f"{type(error).__name__}: {error}") from error
        if not isinstance(text, str) or not isinstance(name, str | int):
            raise _bad(path, number, "`text` or `document` is of another type")
        found.setdefault(str(name), []).append(text)
    return {name: "\n".join(parts) for name, parts in found.items()}


def _bad(path: Path, number: int, why: str) -> SuperalignError:
    return SuperalignError(f'{path}, line {number}: {why:.200}; write {{"text": "…", "document": "name"}}')


def corpus_to_bytes(corpus: Corpus) -> bytes:
    """Arrays and names, without anything that would have to be unpickled."""
    told: dict[str, np.ndarray] = {name: getattr(corpus, name) for name in ARRAYS}
    if corpus.classes is not None:
        told["classes"] = corpus.classes
    names = json.dumps({"names": corpus.names, "pad": corpus.pad, "skip": corpus.skip})
    return arrays_to_bytes(told | {"told": np.frombuffer(names.encode(), dtype=np.uint8)})


def corpus_of(data: bytes) -> Corpus:
    """From `corpus_to_bytes`. Raises ValueError or LookupError for other bytes."""
    arrays = arrays_from_bytes(data)
    told: Mapping[str, Any] = json.loads(arrays["told"].tobytes())
    return Corpus(
        **{name: arrays[name] for name in ARRAYS},
        names=tuple(told["names"]),
        pad=told["pad"],
        skip=told["skip"],
        classes=arrays.get("classes"),
    )


@lru_cache(maxsize=2)
def corpus_at(path: Path) -> Corpus:
    """From a file of the store, once a process."""
    return corpus_of(path.read_bytes())
