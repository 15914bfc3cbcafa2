"""Models on a GPU, tried on a device that is none: what they say, read, draw and keep is what they do on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from superalign.models import (
    Ask,
    Change,
    LocalModel,
    RewardHead,
    Turn,
    apply_change,
    load_model,
    pack_change,
    unpack_change,
)
from superalign.models.chatting import speaker_of
from superalign.models.generation import Request, continuations
from superalign.models.packing import pack, unpack
from superalign.models.sampling import sample

from ..elsewhere import same_there

TEXTS = ["The judge reads what both sides say.", "Who is who?", "", "def area(width, height):"]


@pytest.fixture
def loaded(hf_folder: Callable[..., Path]) -> Callable[[str], LocalModel]:
    return lambda name: load_model(f"hf:{hf_folder(name)}")


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "bloom"])
def test_what_is_said_and_read(loaded: Callable[[str], LocalModel], name: str) -> None:
    model = loaded(name)
    torch.manual_seed(0)
    model = replace(model, head=RewardHead(model.width))
    same_there(lambda model: model.logprobs(TEXTS), model)
    same_there(lambda model: model.word_logprobs(TEXTS), model)
    same_there(lambda model: [model.hidden(TEXTS, layer=layer) for layer in (0, 1, -1)], model)
    same_there(lambda model: model.read(TEXTS[:2]), model)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "bloom"])
def test_what_is_drawn(loaded: Callable[[str], LocalModel], name: str) -> None:
    model = loaded(name)
    asked = [
        Request(ids=(7, 8, 9, 10)[: 1 + i], tokens=5 + i, temperature=0.7 * (i % 2), seed=i, alternatives=2)
        for i in range(4)
    ]
    same_there(lambda model: continuations(model, asked), model)
    same_there(lambda model: sample(model, TEXTS[:2], tokens=5, temperature=0.8, seed=1), model)
    same_there(lambda model: model.generate(TEXTS[:2], tokens=5), model)


def test_a_chat(loaded: Callable[[str], LocalModel]) -> None:
    asks = [Ask(messages=(Turn("user", "Who is who?"),), tokens=6, seed=i, temperature=0.5 * i) for i in range(2)]
    same_there(lambda model: [reply.text for reply in speaker_of(model).ask(asks)], loaded("llama"))


def test_changes_are_merged_and_packed(tiny: Callable[..., LocalModel]) -> None:
    """The same weights, bit for bit: digests are equal."""
    torch.manual_seed(0)
    base = replace(tiny(), head=RewardHead(16)).sealed()
    name = next(name for name, _ in base.network.named_modules() if name.endswith("c_fc"))
    rows, columns = base.network.get_parameter(f"{name}.weight").shape
    factors = {name: (torch.randn(rows, 2), torch.randn(2, columns))}

    def work(base: LocalModel) -> Any:
        change = Change(factors=factors, head=base.head)
        model = apply_change(base, change, name="changed")
        again = [unpack(pack(model), base), unpack_change(pack_change(change, base, model), base)]
        assert {each.device for each in again} == {base.device}
        return [each.identity for each in (model, *again)]

    same_there(work, base)
