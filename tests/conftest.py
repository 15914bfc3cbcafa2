"""What every room's tests share: one thread, the order of files, and a language model small enough to check by hand."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch when it loads, which no test has done yet

import gc
from collections.abc import Callable
from typing import Any

import pytest

LONGEST = (
    "test_cli_stopping.py",
    "test_pipeline_hf.py",
    "test_pipeline_generalize.py",
    "test_pipeline_recount.py",
    "test_pipeline_run.py",
    "test_pipeline_held.py",
    "test_guides.py",
    "test_pipeline_spoken.py",
    "test_pipeline_spoken_served.py",
    "test_pipeline_game.py",
    "test_pipeline_interpret.py",
    "test_pipeline_board.py",
    "test_training_trl_fitting.py",
    "test_tasks_mutants_page.py",
    "test_pipeline_board_pitfalls.py",
    "test_tasks_audit.py",
    "test_sandbox_matrix.py",
)
"""Files that take longest: under xdist they begin first, so that no core waits for one of them at the end."""
ONE_RUN = {"test_pipeline_recount.py", "test_pipeline_run.py", "test_pipeline_held.py"}
"""Files that read the one finished run of tests/pipeline/conftest.py: they go to one process, which makes it once."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        place = {name: i for i, name in enumerate(LONGEST)}
        items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: whoever collects garbage need not look through it each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile` with the longest files first, and files that share a long fixture as one."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LongestFirst(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "the finished run" if file.rpartition("/")[2] in ONE_RUN else file

    config.option.loadscopereorder = False  # the order is that of `pytest_collection_modifyitems`
    return LongestFirst(config, log)


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


@pytest.fixture
def serving() -> Any:
    """`serving(speaker)`: the address of a chat server of that speaker on loopback, stopped when the test ends."""
    import threading

    from superalign.models.serving import ChatServer

    servers = []

    def start(speaker: Any, *, key: str = "", name: str = "small") -> str:
        server = ChatServer(speaker, key=key)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"{server.url}#{name}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()
