"""Tiny random copies of the common architectures, saved to disk as they would come from the hub."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SENTENCES = (
    "The judge reads what both sides say, and asks which answer is right.",
    "One side is honest; the other is paid to mislead. Who is who?",
    "def area(width, height):\n    return width * height  # a plain function",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. 日本語 → ok",
)
CONTEXT, WINDOW = 96, 12
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "mistral", "gpt2", "neox", "phi", "phi3", "bloom")
WITH_BOS = ("llama", "gemma2", "gemma3", "mistral")


@cache
def trained() -> str:
    """A byte-level BPE of some 350 pieces, as JSON."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=["<|begin|>", "<|end|>", "<|start|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(SENTENCES * 3, trainer)
    return str(core.to_str())


def tokenizer_of(*, bos: bool, pad: bool, template: str | None = None) -> Any:
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer.from_str(trained())
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|begin|>", eos_token="<|end|>", additional_special_tokens=["<|start|>"]
    )
    if pad:
        made.pad_token = "<|pad|>"
    if template is not None:
        made.chat_template = template
    return made


def network_of(name: str, *, words: int, seed: int = 0) -> Any:
    """A random network with weights large enough for it to have opinions: 2 blocks, width 32."""
    import torch
    import transformers as t

    common: dict[str, Any] = {
        "vocab_size": words, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": CONTEXT, "bos_token_id": 0, "eos_token_id": 1,
        "pad_token_id": None, "initializer_range": 0.4,
    }  # fmt: skip
    grouped = common | {"num_key_value_heads": 2}
    gemma = grouped | {"head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}
    configs: dict[str, Callable[[], Any]] = {
        "llama": lambda: t.LlamaConfig(**grouped),
        "qwen2": lambda: t.Qwen2Config(**grouped, tie_word_embeddings=True),
        "qwen3": lambda: t.Qwen3Config(**grouped, head_dim=8),
        "gemma2": lambda: t.Gemma2Config(**gemma),
        "gemma3": lambda: t.Gemma3TextConfig(**gemma, layer_types=["sliding_attention", "full_attention"]),
        "mistral": lambda: t.MistralConfig(**grouped, sliding_window=WINDOW),
        "gpt2": lambda: t.GPT2Config(
            vocab_size=words, n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=4, initializer_range=0.4,
            bos_token_id=0, eos_token_id=1,
        ),
        "neox": lambda: t.GPTNeoXConfig(**common),
        "phi": lambda: t.PhiConfig(**common),
        "bloom": lambda: t.BloomConfig(  # has no places of its own: no position ids, no longest context
            vocab_size=words, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.4, bos_token_id=0, eos_token_id=1
        ),
        "phi3": lambda: t.Phi3Config(**grouped),
    }  # fmt: skip
    torch.manual_seed(seed)
    return t.AutoModelForCausalLM.from_config(configs[name](), dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`hf_folder("llama", seed=0, template=None)` → a folder with config, safetensors and tokenizer; made once."""

    @cache
    def make(name: str, seed: int = 0, template: str | None = None) -> Path:
        folder = tmp_path_factory.mktemp("hf") / f"tiny-{name}"
        tokenizer = tokenizer_of(bos=name in WITH_BOS, pad=name not in ("gpt2", "neox", "phi"), template=template)
        network_of(name, words=len(tokenizer), seed=seed).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """The name of each architecture in turn."""
    return str(request.param)
