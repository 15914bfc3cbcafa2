"""Words: a tokenizer for a closed vocabulary of them, in Hugging Face's format, and what tokens say of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Tokenizer that maps each word to its place in `words`, which begins `<pad> <bos> <eos> <unk>`.

    Texts are wrapped as `<bos> … <eos>`. Raises ValueError when a word occurs twice or the specials are missing.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    if len(set(words)) != len(words) or tuple(words[:4]) != ("<pad>", "<bos>", "<eos>", "<unk>"):
        raise ValueError("a vocabulary begins <pad> <bos> <eos> <unk> and holds each word once")
    ids = {word: i for i, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", ids["<bos>"]), ("<eos>", ids["<eos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def one_token_a_word(tokenizer: Any) -> bool:
    """Is every word one token, after a first special one?"""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and type(backend.model).__name__ == "WordLevel"


def word_sums(text: str, spans: Sequence[tuple[int, int]], logprobs: np.ndarray) -> np.ndarray:
    """(words,): token log-probabilities summed over each word of `text`; a token belongs to the word it ends in,
    blanks to the word after them.

    `spans` (tokens, 2) are places in the text, empty for special tokens; `logprobs` (up to tokens - 1,) begin with the
    second token. NaN for words of which a token has no log-probability.

    >>> word_sums("ab c", [(0, 0), (0, 1), (1, 2), (2, 4)], np.array([-1.0, -2.0, -3.0]))
    array([-3., -3.])
    """
    ends = np.array([m.end() for m in re.finditer(r"\S+", text)])
    out, seen = np.zeros(len(ends)), np.zeros(len(ends), dtype=bool)
    for place, (begin, end) in enumerate(spans):
        inked = text[begin:end].rstrip()
        word = int(np.searchsorted(ends, begin + len(inked)) if inked else np.searchsorted(ends, begin, side="right"))
        if end > begin and word < len(ends):
            seen[word] |= bool(inked)
            out[word] += logprobs[place - 1] if 0 < place <= len(logprobs) else np.nan
    out[~seen] = np.nan
    return out


def token_words(text: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """(tokens,): number of the word that each token ends in, blanks counting to the word after them; -1 for special
    tokens, whose span is empty.

    >>> token_words("ab c", [(0, 0), (0, 1), (1, 2), (2, 4)]).tolist()
    [-1, 0, 0, 1]
    """
    places = np.array([m.span() for m in re.finditer(r"\S+", text)], dtype=np.int64).reshape(-1, 2)
    begin, end = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    word = np.searchsorted(places[:, 0], end) - 1  # the last one that begins before the token's end
    ends = places[word, 1] if len(places) else end
    blank = (word < 0) | (ends <= begin)
    return np.where(end > begin, word + blank, -1)


def words_of(tokenizer: Any, texts: Sequence[str]) -> list[np.ndarray]:
    """`token_words` of each text as `tokenizer` cuts it, special tokens included.

    Raises ValueError for a tokenizer that does not say where tokens stand.
    """
    if not texts:
        return []
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"{type(tokenizer).__name__} does not say where tokens stand: load a fast tokenizer")
    told = tokenizer(list(texts), add_special_tokens=True, return_offsets_mapping=True)["offset_mapping"]
    return [token_words(text, spans) for text, spans in zip(texts, told, strict=True)]


def starts_after(tokenizer: Any, texts: Sequence[str], words: int) -> np.ndarray:
    """(texts,): place of the first token that is no part of the first `words` words, at least 1; beyond the text's last
    token where there is none.

    The first token never counts: nothing precedes it. ValueError as `words_of`, where words are cut into tokens.
    """
    if words == 0 or one_token_a_word(tokenizer):
        return np.full(len(texts), words + 1)
    found = (np.flatnonzero(each >= words) for each in words_of(tokenizer, texts))
    return np.array([max(1, int(some[0])) if len(some) else 1 << 30 for some in found], dtype=np.int64)


def word_peaks(words: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """(count,): the largest of the tokens' values in each word; NaN for words without a token that has one.

    `words` (tokens,) as `token_words`; `values` (up to tokens - 1,) begin with the second token.

    >>> word_peaks(np.array([-1, 0, 0, 1]), np.array([1.0, 3.0, 2.0]), 3)
    array([ 3.,  2., nan])
    """
    out, which = np.full(count, -np.inf), words[1 : 1 + len(values)]
    inside = (which >= 0) & (which < count)
    np.maximum.at(out, which[inside], values[: len(which)][inside])
    return np.where(np.isfinite(out), out, np.nan)


def padded_to(values: np.ndarray, words: int) -> np.ndarray:
    """The first `words` values, NaN for those that are missing."""
    return np.concatenate([values[:words], np.full(max(0, words - len(values)), np.nan, dtype=values.dtype)])
