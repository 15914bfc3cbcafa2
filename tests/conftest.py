"""What every room's tests share: one thread, and a language model small enough to check by hand."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch when it loads, which no test has done yet

from collections.abc import Callable
from typing import Any

import pytest

WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", "a", "b", "c", "d", "=", "+", "-", "(", ")")


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """`tiny(seed=0)` → LocalModel: fresh GPT-2, 2 layers, width 16, context 24, thirteen words."""

    def make(seed: int = 0, name: str = "tiny") -> Any:
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel

        from superalign.models import LocalModel
        from superalign.models.words import word_tokenizer

        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=len(WORDS), n_positions=24, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )  # fmt: skip
        network = GPT2LMHeadModel(config).eval()
        return LocalModel(name=name, network=network, tokenizer=word_tokenizer(WORDS)).sealed()

    return make
