"""`hf:` addresses: options, every architecture, shards, numbers of any dtype, memory, and what goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from superalign.models import LocalModel, ModelError, load_model, save_model, weights_digest
from superalign.models.addresses import ModelAddress, device_at, parsed
from superalign.models.memory import halving

Folder = Callable[..., Path]
TEXTS = (
    "The judge reads what both sides say, and asks which answer is right. One side is honest.",
    "Who?",
    "def area(width, height):\n",
    "Zwölf Boxkämpfer",
)


@pytest.mark.parametrize(
    ("address", "want"),
    [
        ("hf:org/name", ModelAddress(scheme="hf", where="org/name")),
        ("hf:a b/c?device=cuda:1", ModelAddress(scheme="hf", where="a b/c", device="cuda:1")),
        ("hf:x?adapter=runs/a%26b+c", ModelAddress(scheme="hf", where="x", adapter="runs/a&b+c")),
        (
            "hf:x?dtype=bfloat16&quantise=4bit&revision=main",
            ModelAddress(scheme="hf", where="x", dtype="bfloat16", quantise="4bit", revision="main"),
        ),
        ("family:m?device=auto", ModelAddress(scheme="family", where="m", device="auto")),
        ("vllm:org/name?dtype=float16", ModelAddress(scheme="vllm", where="org/name", dtype="float16")),
    ],
)
def test_addresses_are_read(address: str, want: ModelAddress) -> None:
    assert parsed(address) == want


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("hf:x?devise=cpu", r"unknown option 'devise': hf: takes device, dtype, adapter, quantise, revision"),
        ("hf:x?", "unknown option ''"),
        ("hf:x?device", "option device is empty"),
        ("hf:x?device=", "option device is empty"),
        ("hf:x?dtype=float32&dtype=float16", "option dtype is given twice"),
        ("hf:x?dtype=float8", "dtype=float8: use one of float32, bfloat16, float16, auto"),
        ("hf:x?quantise=2bit", "quantise=2bit: use one of 4bit, 8bit"),
        ("hf:x?device=gpu", "device=gpu: use cpu, cuda"),
        ("hf:x?device=cuda:", "device=cuda:: use cpu, cuda"),
        ("hf:x?device=cpu:1", "device=cpu:1: use cpu, cuda"),
        ("family:m?dtype=float16", "unknown option 'dtype': family: takes device"),
        ("vllm:x?device=cpu", "unknown option 'device': vllm: takes"),
        ("hf:?device=cpu", "is no model address"),
    ],
)
def test_wrong_addresses_are_told_apart(address: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        parsed(address)


def test_devices_are_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    at = parsed("hf:x?device=auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_at(at) == torch.device("cpu")
    with pytest.raises(ModelError, match="sees 0 CUDA devices here: use device=cpu"):
        device_at(parsed("hf:x?device=cuda"))
    with pytest.raises(ModelError, match="device=mps: there is none here"):
        device_at(parsed("hf:x?device=mps"))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device_at(at) == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_at(at) == torch.device("cuda")
    with pytest.raises(ModelError, match="sees 2 CUDA devices"):
        device_at(parsed("hf:x?device=cuda:2"))


def reference(model: LocalModel, text: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """One text by itself, one forward pass: log-probabilities by log_softmax, and the states of all layers."""
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        said = model.network(input_ids=ids, output_hidden_states=True)
    logp = torch.log_softmax(said.logits[0, :-1].double(), -1).gather(-1, ids[0, 1:, None])[:, 0]
    return logp.numpy(), [states[0].float().numpy() for states in said.hidden_states]


def test_numbers_are_those_of_a_forward_pass(hf_folder: Folder, architecture: str) -> None:
    model = load_model(f"hf:{hf_folder(architecture)}")
    assert (model.width, model.layers, model.context) == (32, 2, 1_024 if architecture == "bloom" else 96)
    wants = [reference(model, text) for text in TEXTS]
    for got, (want, _) in zip(model.logprobs(TEXTS), wants, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=1e-4)
    for layer in (0, 1, 2, -1):
        for states, (_, want_states) in zip(model.hidden(TEXTS, layer=layer), wants, strict=True):
            np.testing.assert_allclose(states, want_states[layer], atol=1e-4)


def test_a_digest_comes_back_with_the_weights(hf_folder: Folder, architecture: str, tmp_path: Path) -> None:
    model = load_model(f"hf:{hf_folder(architecture)}")
    tied = model.network.get_input_embeddings().weight is model.network.get_output_embeddings().weight
    assert tied == (architecture in ("qwen2", "gemma2", "gemma3", "gpt2", "bloom"))
    save_model(model, tmp_path / "again")
    assert load_model(f"hf:{tmp_path / 'again'}").digest == model.digest
    assert load_model(f"hf:{hf_folder(architecture, seed=1)}").digest != model.digest


def test_other_dtypes_keep_their_digest_and_say_so_in_the_name(hf_folder: Folder) -> None:
    folder = hf_folder("llama")
    wide = load_model(f"hf:{folder}")
    narrow = load_model(f"hf:{folder}?dtype=bfloat16")
    assert narrow.network.dtype == torch.bfloat16
    assert (wide.name, narrow.name) == ("tiny-llama", "tiny-llama.bfloat16")
    assert narrow.digest == weights_digest(narrow.network.float(), None, 0.0) != wide.digest
    narrow = load_model(f"hf:{folder}?dtype=bfloat16")
    for got, want in zip(narrow.logprobs(TEXTS), wide.logprobs(TEXTS), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, atol=0.5)
    assert narrow.hidden(TEXTS)[0].dtype == np.float32
    assert load_model(f"hf:{folder}?dtype=auto").identity == wide.identity
    assert narrow.generate(["Who?"], tokens=2)


def sharded(source: Path, target: Path) -> list[str]:
    """Copy a model's folder, its weights in several files; their names."""
    from transformers import AutoModelForCausalLM

    shutil.copytree(source, target)
    (target / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(source).save_pretrained(target, max_shard_size="20KB")
    return sorted(path.name for path in target.glob("*.safetensors"))


def test_shards_are_loaded_and_missed(hf_folder: Folder, tmp_path: Path) -> None:
    names = sharded(hf_folder("llama"), tmp_path / "shards")
    assert len(names) > 2
    assert load_model(f"hf:{tmp_path / 'shards'}").digest == load_model(f"hf:{hf_folder('llama')}").digest
    (tmp_path / "shards" / names[1]).unlink()
    with pytest.raises(ModelError, match=f"shard {names[1]} of {len(names)} is missing"):
        load_model(f"hf:{tmp_path / 'shards'}")


@pytest.mark.parametrize(
    ("index", "why"),
    [
        ("{", "is no index of shards"),
        ("[]", "is no index of shards"),
        ('{"weight_map": 3}', "is no index of shards"),
        ('{"weight_map": {"a": "../../secret.safetensors"}}', "which is not in this folder: do not trust it"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "which is not in this folder"),
    ],
)
def test_an_index_that_lies_is_refused(hf_folder: Folder, tmp_path: Path, index: str, why: str) -> None:
    sharded(hf_folder("llama"), tmp_path / "shards")
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=why):
        load_model(f"hf:{tmp_path / 'shards'}")


def test_weights_that_are_lacking_are_never_made_up(hf_folder: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hf_folder("llama"), tmp_path / "m"))
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 of the network's weights, model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(f"hf:{folder}")


@pytest.mark.parametrize(
    ("config", "told", "want"),
    [
        ({"max_position_embeddings": 96}, 10**30, 96),
        ({"max_position_embeddings": 96, "sliding_window": 12}, 40, 96),
        ({"n_positions": 20}, 40, 20),
        ({"max_seq_len": 30}, 40, 30),
        ({"max_position_embeddings": None, "seq_length": 50}, 40, 50),
        ({}, 40, 40),
        ({}, 10**30, 1_024),
        ({}, None, 1_024),
    ],
)
def test_contexts_come_from_wherever_they_are_said(config: dict[str, object], told: int | None, want: int) -> None:
    network: Any = SimpleNamespace(config=SimpleNamespace(**config))
    assert LocalModel(name="m", network=network, tokenizer=SimpleNamespace(model_max_length=told)).context == want


def test_texts_are_cut_at_the_context(hf_folder: Folder, architecture: str) -> None:
    model = load_model(f"hf:{hf_folder(architecture)}")
    assert len(model.encode(["Who? " * 500, "x"])[0]) == model.context
    assert len(model.logprobs(["Who? " * 500])[0]) == model.context - 1


def test_texts_of_no_token_are_nothing(hf_folder: Folder) -> None:
    model = load_model(f"hf:{hf_folder('qwen3')}")  # its tokenizer begins nothing
    assert model.encode([""]) == [[]]
    assert model.logprobs(["", "Who?"])[0].shape == (0,)
    assert model.hidden(["", "Who?"])[0].shape == (0, 32)


@pytest.mark.parametrize("error", ["cuda", "cublas", "cpu", "mps"])
@pytest.mark.parametrize("most", [1, 3])
def test_batches_are_halved_where_memory_runs_out(
    hf_folder: Folder, monkeypatch: pytest.MonkeyPatch, error: str, most: int
) -> None:
    model = load_model(f"hf:{hf_folder('llama')}")
    texts = [*TEXTS, *(f"{text} {i}" for i in range(3) for text in TEXTS)]
    want = model.logprobs(texts), model.hidden(texts, layer=1)
    real, tried = model.network.forward, []
    said = {
        "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 12"),
        "mps": RuntimeError("MPS backend out of memory (MPS allocated: 6.77 GiB)"),
    }[error]

    def forward(input_ids: torch.Tensor, **others: object) -> object:
        tried.append(len(input_ids))
        if len(input_ids) > most:
            raise said
        return real(input_ids=input_ids, **others)

    monkeypatch.setattr(model.network, "forward", forward)
    for got, wanted in zip((model.logprobs(texts), model.hidden(texts, layer=1)), want, strict=True):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    assert max(tried) > most
    assert min(tried) <= most


def test_what_does_not_fit_alone_says_what_to_do(hf_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(f"hf:{hf_folder('llama')}")

    def forward(**_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(model.network, "forward", forward)
    with pytest.raises(ModelError, match=r"log-probabilities of tiny-llama: memory runs out .*use shorter texts"):
        model.logprobs(TEXTS)


def test_other_errors_pass_through_halving() -> None:
    def work(some: object) -> list[int]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        halving(work, range(4), what="work")


@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 100])
def test_halving_gives_every_row_once_in_order(most: int) -> None:
    sizes: list[int] = []

    def work(some: object) -> list[int]:
        rows = list(some)  # type: ignore[call-overload]
        sizes.append(len(rows))
        if len(rows) > most:
            raise MemoryError
        return [row * row for row in rows]

    assert halving(work, range(13), what="squares") == [i * i for i in range(13)]
    too_many = [size for size in sizes if size > most]
    assert len(set(too_many)) == len(too_many)
    assert halving(work, [], what="nothing") == []


def test_quantising_without_its_library_or_device_is_no_other_model(
    hf_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"hf:{hf_folder('llama')}?quantise=4bit"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"quantise=4bit needs bitsandbytes: pip install bitsandbytes"):
        load_model(address)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleType(name))
    with pytest.raises(ModelError, match="needs a CUDA device: add device=cuda"):
        load_model(address + "&device=cpu")


def test_what_would_be_handed_to_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from superalign.models import load as under_test

    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleType(name))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    four = under_test._quantised(parsed("hf:x?quantise=4bit"))
    assert (four.load_in_4bit, four.bnb_4bit_quant_type, four.bnb_4bit_compute_dtype) == (True, "nf4", torch.bfloat16)
    eight = under_test._quantised(parsed("hf:x?quantise=8bit&dtype=float16"))
    assert (eight.load_in_8bit, eight.load_in_4bit) == (True, False)


def test_a_network_that_came_back_unquantised_is_refused(hf_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from superalign.models import load as under_test

    monkeypatch.setattr(under_test, "_quantised", lambda at: None)
    with pytest.raises(ModelError, match="came back without quantise=8bit"):
        load_model(f"hf:{hf_folder('gpt2')}?quantise=8bit&device=cpu")


def test_packed_weights_have_a_digest() -> None:
    """As bitsandbytes packs them: codes as uint8, scales and lookup tables beside."""

    class Packed(torch.nn.Module):
        def __init__(self, code: int, scale: float) -> None:
            super().__init__()
            self.register_buffer("weight", torch.tensor([[code], [7]], dtype=torch.uint8))
            self.register_buffer("weight.absmax".replace(".", "_"), torch.tensor([scale]))

    one = weights_digest(Packed(3, 0.5), None, 0.0)
    assert one == weights_digest(Packed(3, 0.5), None, 0.0)
    assert len({one, weights_digest(Packed(4, 0.5), None, 0.0), weights_digest(Packed(3, 0.25), None, 0.0)}) == 3


def test_a_broken_configuration_is_a_clear_error(hf_folder: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hf_folder("llama"), tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text())
    wrong: list[Any] = [
        {"model_type": "unheard-of"},
        {"hidden_size": "32"},
        {"num_attention_heads": 5},
        {"hidden_act": "?"},
    ]
    for told in (*(json.dumps(config | change) for change in wrong), "[]", "{"):
        (folder / "config.json").write_text(told)
        with pytest.raises(ModelError, match="cannot load a causal language model"):
            load_model(f"hf:{folder}")
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(
        ModelError, match=r"_proj\.weight is \(\d+, \d+\) in the files and \(\d+, \d+\) by config\.json"
    ):
        load_model(f"hf:{folder}")


@pytest.mark.parametrize("told", ["{", "[]", "\xff"])
def test_a_broken_manifest_is_no_way_out_of_quarantine(hf_folder: Folder, tmp_path: Path, told: str) -> None:
    folder = Path(shutil.copytree(hf_folder("llama"), tmp_path / "m"))
    (folder / "superalign.json").write_bytes(told.encode("latin-1"))
    with pytest.raises(ModelError, match=r"superalign\.json (cannot be read|is no JSON object)"):
        load_model(f"hf:{folder}")


def test_weights_that_do_not_fit_in_memory_say_so(hf_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(ModelError, match=r"tiny-llama: does not fit in memory: use a smaller dtype"):
        load_model(f"hf:{hf_folder('llama')}")
