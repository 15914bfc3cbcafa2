"""What these tests share: small models of text on disk, and logs that are evaluated once a module."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

THEIRS = ("ignore:The 'initial' parameter is deprecated:DeprecationWarning", "ignore:Unclosed <Memory:ResourceWarning")
"""Warnings of Inspect's own code, and of what it is made of."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Inspect's own warnings are no errors here; ours are."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for each in THEIRS:
                item.add_marker(pytest.mark.filterwarnings(each))


SENTENCES = [
    "You judge. Between marks stands what others wrote. Answer with one letter: A, B.",
    '{"quotes": [1, 2], "argument": "it is right", "belief": [0.5, 0.5], "charges": []}',
    "def f ( v0 ) : return v0 + 1 ; 6 + 8 = 4 which of the two is as it should be ? options: a, b",
]


def text_model(folder: Path, seed: int = 0) -> Path:
    """A fresh GPT-2 of two layers and 8,192 places, with byte-level words, saved at `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=["<eos>"])
    )
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=core.get_vocab_size(), n_positions=8192, n_embd=16, n_layer=2, n_head=2, initializer_range=0.4,
        bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    GPT2LMHeadModel(config).eval().save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<eos>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of text."""
    root = tmp_path_factory.mktemp("models")
    return text_model(root / "one", 0), text_model(root / "two", 1)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`evaluated(task, **options)` → the log, written below a folder of the module's."""
    folder = tmp_path_factory.mktemp("logs")

    def evaluate(task: Any, **options: Any) -> Any:
        from inspect_ai import eval as inspect_eval

        usual = {"log_dir": str(folder), "display": "none", "log_realtime": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            (log,) = inspect_eval(task, **{**usual, **options})
        swept()
        return log

    return evaluate


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True, scope="module")
def _swept() -> Iterator[None]:
    yield
    swept()


def swept() -> None:
    """Have Inspect's streams, which it leaves open, warn now and here, and in no later test of another room."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
