"""A tokenizer for a closed vocabulary of words parted by spaces, in Hugging Face's format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
