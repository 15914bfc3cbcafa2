"""Sites are found by shape in any architecture, read what they say they read, and name what they can't find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from superalign.interpretability.units import activations, blocks, body_of, directions, heads, neurons, tapped
from superalign.models import LocalModel

COMMON = {"vocab_size": 13, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SHAPE = COMMON | {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 24}
MLP = {"intermediate_size": 40}
SMALL = COMMON | {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 24}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str, int, str]] = {
    "Llama, grouped queries": (
        "Llama", SHAPE | MLP | {"num_key_value_heads": 2}, "mlp.down_proj", 40, "self_attn.o_proj"
    ),
    "Llama, as wide as its stream": (
        "Llama", SHAPE | {"intermediate_size": 16}, "mlp.down_proj", 16, "self_attn.o_proj"
    ),
    "GPT-NeoX": ("GPTNeoX", SHAPE | MLP, "mlp.dense_4h_to_h", 40, "attention.dense"),
    "OPT": ("OPT", SHAPE | {"ffn_dim": 40, "word_embed_proj_dim": 16}, "fc2", 40, "self_attn.out_proj"),
    "GPT-J": ("GPTJ", SMALL | {"rotary_dim": 4}, "mlp.fc_out", 64, "attn.out_proj"),
    "Bloom": (
        "Bloom", COMMON | {"hidden_size": 16, "n_layer": 2, "n_head": 4}, "mlp.dense_4h_to_h", 64,
        "self_attention.dense",
    ),
    "Qwen2": ("Qwen2", SHAPE | MLP | {"num_key_value_heads": 4}, "mlp.down_proj", 40, "self_attn.o_proj"),
    "Gemma, wide heads": (
        "Gemma", SHAPE | MLP | {"num_key_value_heads": 1, "head_dim": 8}, "mlp.down_proj", 40, "self_attn.o_proj"
    ),
}  # fmt: skip


def made(kind: str, config: dict[str, Any]) -> LocalModel:
    import transformers

    from superalign.models.words import word_tokenizer

    torch.manual_seed(0)
    settings = getattr(transformers, f"{kind}Config")(**config)
    network = getattr(transformers, f"{kind}ForCausalLM")(settings).eval()
    words = ["<pad>", "<bos>", "<eos>", "<unk>", *"abcdefghi"]
    return LocalModel(name=kind, network=network, tokenizer=word_tokenizer(words)).sealed()


def texts(n: int = 5, length: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, length + 1, n)
    lengths[0] = length
    ids = np.where(np.arange(length) < lengths[:, None], rng.integers(4, 13, (n, length)), 0)
    return ids.astype(np.int32), lengths.astype(np.int32)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_blocks_are_found_by_shape(name: str) -> None:
    kind, config, mlp, width, attention = ARCHITECTURES[name]
    model = made(kind, config)
    found = blocks(model)
    assert [block.layer for block in found] == [0, 1]
    assert all(block.mlp == f"{block.name}.{mlp}" and block.neurons == width for block in found)
    assert all(block.attention == f"{block.name}.{attention}" and block.heads == 4 for block in found)
    ids, lengths = texts()
    sites = (*neurons(model), *heads(model), directions(model, 0, np.eye(16)))
    (read,) = activations(model, sites, ids, lengths)
    assert {site.name: read[site.name].shape for site in sites} == {s.name: (5, 12, s.units) for s in sites}
    assert all(np.isfinite(values).all() for values in read.values())


def test_neurons_heads_and_directions_are_what_they_say(tiny: Callable[..., Any]) -> None:
    model = tiny()
    ids, lengths = texts()
    sites = (neurons(model)[1], heads(model)[1], directions(model, 1, np.eye(16)))
    (read,) = activations(model, sites, ids, lengths)
    body: Any = body_of(model)
    with torch.inference_mode():
        states = body(input_ids=torch.from_numpy(ids.astype(np.int64)), output_hidden_states=True).hidden_states
        block = body.h[1]
        mixed: list[torch.Tensor] = []
        with tapped(model, (sites[1],), lambda site, tensor: mixed.append(tensor)):
            after = block(states[1])
        after = after[0] if isinstance(after, tuple) else after
        stream = states[1] + block.attn.c_proj(mixed[0])
        fired = block.mlp.act(block.mlp.c_fc(block.ln_2(stream)))
    inside = np.arange(12) < lengths[:, None]
    np.testing.assert_allclose(read["neurons 1"][inside], fired.numpy()[inside], atol=1e-5)
    np.testing.assert_allclose(read["directions 1"][inside], after.numpy()[inside], atol=1e-5)
    halves = np.linalg.norm(mixed[0].numpy().reshape(5, 12, 2, 8), axis=-1)
    np.testing.assert_allclose(read["heads 1"][inside], halves[inside], atol=1e-5)


def test_a_sequence_reads_the_same_alone_and_beside_longer_ones(tiny: Callable[..., Any]) -> None:
    model, (ids, lengths) = tiny(), texts()
    sites = (*neurons(model), *heads(model))
    (together,) = activations(model, sites, ids, lengths)
    for row, end in enumerate(lengths):
        (alone,) = activations(model, sites, ids[row : row + 1], lengths[row : row + 1])
        for site in sites:
            assert alone[site.name].shape == (1, 12, site.units)
            np.testing.assert_allclose(alone[site.name][0, :end], together[site.name][row, :end], atol=1e-5)


@pytest.mark.parametrize("kind", ["Llama", "GPTNeoX"])
def test_bfloat16_is_read_as_float32(kind: str) -> None:
    model = made(kind, SHAPE | {"intermediate_size": 40})
    model.network.to(torch.bfloat16)
    ids, lengths = texts()
    sites = (*neurons(model), *heads(model), directions(model, 1, np.ones(16)))
    (read,) = activations(model, sites, ids, lengths)
    assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in read.values())


def test_tied_weights_change_nothing() -> None:
    tied = made("Llama", SHAPE | {"intermediate_size": 40, "tie_word_embeddings": True})
    assert [site.module for site in neurons(tied)] == ["layers.0.mlp.down_proj", "layers.1.mlp.down_proj"]


def test_what_is_returned_takes_its_place(tiny: Callable[..., Any]) -> None:
    model, (ids, lengths) = tiny(), texts()
    (before,) = activations(model, (directions(model, 1, np.eye(16)),), ids, lengths)
    with tapped(model, neurons(model), lambda site, tensor: torch.zeros_like(tensor)):
        (changed,) = activations(model, (directions(model, 1, np.eye(16)),), ids, lengths)
    (after,) = activations(model, (directions(model, 1, np.eye(16)),), ids, lengths)
    assert np.abs(before["directions 1"] - changed["directions 1"]).max() > 0.1
    np.testing.assert_array_equal(before["directions 1"], after["directions 1"])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft reads it
def test_adapters_do_not_hide_the_projections() -> None:
    from peft import LoraConfig, get_peft_model

    model = made("Llama", SHAPE | {"intermediate_size": 40})
    get_peft_model(model.network, LoraConfig(r=8, target_modules=["o_proj", "down_proj"], task_type="CAUSAL_LM"))
    found = blocks(model)
    assert found[0].attention == "layers.0.self_attn.o_proj.base_layer"
    assert found[0].mlp == "layers.0.mlp.down_proj.base_layer"


def test_what_is_not_there_is_named(tiny: Callable[..., Any]) -> None:
    model = tiny()
    body: Any = body_of(model)
    body.h[1].mlp = nn.Identity()
    assert [block.neurons for block in blocks(model)] == [64, 0]
    assert len(heads(model)) == 2
    with pytest.raises(ValueError, match=r"block 1 \(GPT2Block\) has no module that looks like the MLP.*attn.c_proj"):
        neurons(model)
    body.h[0].attn = nn.Identity()
    with pytest.raises(ValueError, match=r"block 0 .* the attention's projection"):
        heads(model)
    body.h = nn.Sequential(*body.h)
    with pytest.raises(ValueError, match="no list of 2 blocks"):
        blocks(model)


@pytest.mark.parametrize(("layer", "width"), [(0, 15), (2, 16), (-1, 16)])
def test_directions_of_another_network_are_refused(tiny: Callable[..., Any], layer: int, width: int) -> None:
    with pytest.raises(ValueError, match="has width 16, blocks 0 to 1"):
        directions(tiny(), layer, np.ones((2, width)))


def test_tags_tell_sites_apart(tiny: Callable[..., Any]) -> None:
    assert directions(tiny(), 1, np.ones(16)).name == "directions 1"
    assert directions(tiny(), 1, np.ones(16), tag="lies").name == "directions 1 lies"
