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


def padded_to(values: np.ndarray, words: int) -> np.ndarray:
    """The first `words` values, NaN for those that are missing."""
    return np.concatenate([values[:words], np.full(max(0, words - len(values)), np.nan, dtype=values.dtype)])
