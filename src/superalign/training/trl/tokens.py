"""What TRL needs of a tokenizer, and which rows fit into a model's context."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from superalign.models import LocalModel
from superalign.training.trl.errors import FinetuneError
from superalign.training.trl.recipe import TrlRecipe
from superalign.training.trl.rows import TEXTS, conversational


def tokenizer_of(base: LocalModel) -> Any:
    """A copy of the model's tokenizer as TRL needs it: with a token to pad by, and without an end-of-text of its own
    after every text, which TRL writes itself and which would end a prompt before it is answered.

    Raises FinetuneError for a tokenizer without end-of-text.
    """
    tokenizer = copy.deepcopy(base.tokenizer)
    if tokenizer.eos_token is None:
        raise FinetuneError(
            f"{base.name}: its tokenizer has no end-of-text token, so that no completion would ever end: set "
            "tokenizer.eos_token (and pad_token), and save the model again"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    ids = tokenizer("a")["input_ids"]
    if ids and ids[-1] == tokenizer.eos_token_id:
        _end_no_text(tokenizer, base.name)
    return tokenizer


def _end_no_text(tokenizer: Any, name: str) -> None:
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise FinetuneError(f"{name}: its tokenizer ends every text with end-of-text: load a fast tokenizer")
    _wrap(tokenizer, end=False)


def ending(tokenizer: Any) -> Any:
    """A copy that ends every text with end-of-text, as TRL trains rewards; one that pads with it is left as it is."""
    tokenizer = copy.deepcopy(tokenizer)
    if tokenizer.pad_token_id != tokenizer.eos_token_id:
        _wrap(tokenizer, end=True)
    return tokenizer


def _wrap(tokenizer: Any, *, end: bool) -> None:
    """Special tokens around a text: the one that begins it, if it has one now, and end-of-text, or not."""
    from tokenizers.processors import TemplateProcessing

    begun = tokenizer.bos_token is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    begin = [(tokenizer.bos_token, tokenizer.bos_token_id)] if begun else []
    close = [(tokenizer.eos_token, tokenizer.eos_token_id)] if end else []
    parts = [*(token for token, _ in begin), "$A", *(token for token, _ in close)]
    specials = list(dict([*begin, *close]).items())
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=" ".join(parts), special_tokens=specials)


def need_template(base: LocalModel, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises FinetuneError for rows of messages and a tokenizer that can't write them as text."""
    if conversational(rows) and not getattr(tokenizer, "chat_template", None):
        raise FinetuneError(
            f"{base.name}: the rows are messages, and its tokenizer has no chat template: set "
            "tokenizer.chat_template and save the model again, or give rows of plain text"
        )


def fitting(rows: Sequence[dict[str, Any]], tokenizer: Any, recipe: TrlRecipe, method: str) -> list[dict[str, Any]]:
    """The rows that fit into the recipe's length, end-of-text included; of GRPO, with a whole completion after them.

    Raises FinetuneError where none does.
    """
    room = recipe.length - (recipe.tokens if method == "grpo" else 1)
    kept = [row for row in rows if max(len(ids) for ids in _ids(row, tokenizer, method)) <= room]
    if not kept:
        what = f" and a completion of {recipe.tokens}" if method == "grpo" else ""
        raise FinetuneError(
            f"none of {len(rows)} rows fits into {recipe.length} tokens{what}: give shorter rows, or a greater length"
        )
    return kept


def _ids(row: Mapping[str, Any], tokenizer: Any, method: str) -> list[list[int]]:
    """Every text of a row as ids, prompt and all."""
    if method == "grpo":
        return [_encoded(tokenizer, row["prompt"], answered=True)]
    before = row.get("prompt")
    texts = [row[name] for name in TEXTS[1:] if name in row]
    return [_encoded(tokenizer, text if before is None else before + text) for text in texts]


def _encoded(tokenizer: Any, text: Any, *, answered: bool = False) -> list[int]:
    """The ids of a text or of messages; `answered`: with the template's words by which an answer begins."""
    if isinstance(text, str):
        return list(tokenizer(text)["input_ids"])
    told = tokenizer.apply_chat_template(text, add_generation_prompt=answered, tokenize=True, return_dict=True)
    return list(told["input_ids"])
