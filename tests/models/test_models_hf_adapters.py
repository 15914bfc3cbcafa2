"""LoRA adapters: children with digests of their own, on their own base only, never unpickled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from superalign.models import LocalModel, ModelError, QuarantineError, load_folder, load_model
from superalign.models.adapters import adapted, adapter_digest, load_adapted, sign_adapter

Folder = Callable[..., Path]
pytestmark = [  # by peft, as it fits and saves
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
]
TEXTS = ("The judge reads what both sides say.", "Who?")


def fitted(base: LocalModel, folder: Path, *, seed: int = 0, **options: Any) -> list[np.ndarray]:
    """An adapter with random factors, as peft saves it; what base and adapter say together, unmerged."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    told = {"r": 3, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | options
    if base.network.config.model_type == "gpt2":
        told["fan_in_fan_out"] = True
    wrapped = get_peft_model(base.network, LoraConfig(**told))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    wrapped.save_pretrained(folder)
    said = []
    for text in TEXTS:
        ids = torch.tensor([base.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            logits = wrapped.eval()(input_ids=ids).logits[0, :-1].double()
        said.append(torch.log_softmax(logits, -1).gather(-1, ids[0, 1:, None])[:, 0].numpy())
    return said


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama", {}),
        ("gpt2", {"use_rslora": True}),
        ("neox", {"rank_pattern": {"dense": 5}, "alpha_pattern": {"dense": 3}}),
        ("phi3", {}),
        ("llama", {"use_dora": True}),
        ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
        ("llama", {"modules_to_save": ["lm_head"]}),
    ],
)
def test_an_adapter_is_a_child_of_its_base(
    hf_folder: Folder, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    folder = hf_folder(name)
    want = fitted(load_model(f"hf:{folder}"), tmp_path / "lora", **options)
    base = load_model(f"hf:{folder}")
    found = load_adapted(f"hf:{folder}?adapter={tmp_path / 'lora'}")
    for got, wanted in zip(found.model.logprobs(TEXTS), want, strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-4)
    assert found.lineage == (base.digest, found.model.digest)
    assert found.model.digest != base.digest
    assert found.model.name == f"tiny-{name}+lora"
    assert found.model.identity == load_model(f"hf:{folder}?adapter={tmp_path / 'lora'}").identity
    assert not [key for key in found.model.network.state_dict() if "lora" in key]
    assert sorted(found.model.network.state_dict()) == sorted(base.network.state_dict())


def test_another_adapter_is_another_child(hf_folder: Folder, tmp_path: Path) -> None:
    folder = hf_folder("llama")
    found = []
    for seed in (0, 1):
        fitted(load_model(f"hf:{folder}"), tmp_path / "lora", seed=seed)
        found.append(load_adapted(f"hf:{folder}?adapter={tmp_path / 'lora'}"))
    assert found[0].base == found[1].base
    assert found[0].adapter != found[1].adapter
    assert found[0].model.digest != found[1].model.digest


def test_the_merge_is_rounded_once(hf_folder: Folder, tmp_path: Path) -> None:
    fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora")
    base = load_model(f"hf:{hf_folder('llama')}")
    before = base.network.state_dict()["model.layers.0.self_attn.q_proj.weight"].clone()
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    a, b = (tensors[f"base_model.model.model.layers.0.self_attn.q_proj.lora_{each}.weight"].double() for each in "AB")
    child = adapted(base, tmp_path / "lora").model
    after = child.network.state_dict()["model.layers.0.self_attn.q_proj.weight"]
    assert torch.equal(after, (before.double() + 2.0 * (b @ a)).float())


def test_an_unmerged_adapter_is_in_the_digest(
    hf_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a quantised base, whose weights cannot take it."""
    digests = set()
    for seed in (0, 1):
        want = fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora", seed=seed)
        base = load_model(f"hf:{hf_folder('llama')}")
        monkeypatch.setattr(base.network, "is_quantized", True, raising=False)
        child = adapted(base, tmp_path / "lora").model
        np.testing.assert_allclose(child.logprobs(TEXTS)[0], want[0], atol=1e-4)
        assert [key for key in child.network.state_dict() if "lora_A" in key]
        digests |= {base.digest, child.digest}
    assert len(digests) == 3


def test_how_an_unmerged_adapter_is_scaled_is_in_the_digest(
    hf_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The factors are the same; how strongly they count stands in no tensor."""
    children = []
    for alpha in (6, 60):
        fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora", lora_alpha=alpha)
        base = load_model(f"hf:{hf_folder('llama')}")
        monkeypatch.setattr(base.network, "is_quantized", True, raising=False)
        children.append(adapted(base, tmp_path / "lora").model)
    assert not np.allclose(*(child.logprobs(TEXTS)[1] for child in children))
    assert children[0].digest != children[1].digest
    assert children[0].digest == children[0].sealed().digest


def test_an_adapter_alone_is_no_model(hf_folder: Folder, tmp_path: Path) -> None:
    """transformers would load the base that its configuration names, and say nothing."""
    base = load_model(f"hf:{hf_folder('llama')}")
    base.tokenizer.save_pretrained(tmp_path / "lora")
    fitted(base, tmp_path / "lora")
    with pytest.raises(
        ModelError, match=rf"an adapter is no model by itself: write hf:BASE\?adapter={tmp_path / 'lora'}"
    ):
        load_model(f"hf:{tmp_path / 'lora'}")
    with pytest.raises(ModelError, match="an adapter is no model by itself"):
        load_folder(tmp_path / "lora")


def test_a_signature_is_of_the_adapter_that_it_was_made_for(hf_folder: Folder, tmp_path: Path) -> None:
    """Else what it says of base and quarantine would go on to whatever is saved over it."""
    base = load_model(f"hf:{hf_folder('llama')}")
    fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora")
    sign_adapter(tmp_path / "lora", base)
    fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora", seed=1)
    address = f"hf:{hf_folder('llama')}?adapter={tmp_path / 'lora'}"
    with pytest.raises(ModelError, match="it was changed since: fetch it again, or sign it anew"):
        load_model(address)
    sign_adapter(tmp_path / "lora", base)
    assert load_model(address).digest != base.digest
    (tmp_path / "lora" / "superalign.json").write_text("{")
    with pytest.raises(ModelError, match=r"superalign\.json cannot be read"):
        load_model(address)


def test_a_wrong_base_is_named(hf_folder: Folder, tmp_path: Path) -> None:
    fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora")
    for other in ("gpt2", "phi3"):
        with pytest.raises(ModelError, match=rf"made for .*tiny-llama, does not fit tiny-{other}@") as raised:
            load_model(f"hf:{hf_folder(other)}?adapter={tmp_path / 'lora'}")
        assert "load that base" in str(raised.value)
    right = load_model(f"hf:{hf_folder('llama')}")
    sign_adapter(tmp_path / "lora", right)
    assert load_model(f"hf:{hf_folder('llama')}?adapter={tmp_path / 'lora'}").digest != right.digest
    with pytest.raises(ModelError, match=rf"fitted from {right.digest[:12]}… .*not from tiny-llama@"):
        load_model(f"hf:{hf_folder('llama', seed=1)}?adapter={tmp_path / 'lora'}")


def test_an_adapter_that_lacks_weights_is_refused(hf_folder: Folder, tmp_path: Path) -> None:
    fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora")
    file = tmp_path / "lora" / "adapter_model.safetensors"
    weights = load_file(file)
    gone = sorted(weights)[4]
    save_file({key: value for key, value in weights.items() if key != gone}, file)
    with pytest.raises(ModelError, match=r"it lacks weights for .*lora_"):
        load_model(f"hf:{hf_folder('llama')}?adapter={tmp_path / 'lora'}")
    save_file(weights | {gone: weights[gone] * float("nan")}, file)
    with pytest.raises(ModelError, match="holds NaN or infinity"):
        load_model(f"hf:{hf_folder('llama')}?adapter={tmp_path / 'lora'}")


def test_pickled_adapters_are_never_read(hf_folder: Folder, tmp_path: Path) -> None:
    fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora")
    address = f"hf:{hf_folder('llama')}?adapter={tmp_path / 'lora'}"
    (tmp_path / "lora" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors there"):
        load_model(address)

    class Boom:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "unpickled",))

    torch.save({"a": Boom()}, tmp_path / "lora" / "adapter_model.bin")
    with pytest.raises(ModelError, match="is a pickle, which is never read"):
        load_model(address)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("config", "why"), [("{", "cannot be read"), ("[]", "says None"), ('{"peft_type": "IA3"}', "says IA3: only LoRA")]
)
def test_other_configurations_are_refused(hf_folder: Folder, tmp_path: Path, config: str, why: str) -> None:
    fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora")
    (tmp_path / "lora" / "adapter_config.json").write_text(config)
    with pytest.raises(ModelError, match=why):
        load_model(f"hf:{hf_folder('llama')}?adapter={tmp_path / 'lora'}")


def test_an_organisms_adapter_is_in_quarantine(hf_folder: Folder, tmp_path: Path) -> None:
    base = load_model(f"hf:{hf_folder('llama')}")
    fitted(load_model(f"hf:{hf_folder('llama')}"), tmp_path / "lora")
    sign_adapter(tmp_path / "lora", base, organism=True)
    address = f"hf:{hf_folder('llama')}?adapter={tmp_path / 'lora'}"
    with pytest.raises(QuarantineError, match="an adapter of an organism or twin"):
        load_model(address)
    assert load_model(address, allow_organism=True).organism
    assert json.loads((tmp_path / "lora" / "superalign.json").read_text())["adapter"] == adapter_digest(
        tmp_path / "lora"
    )


def test_an_address_without_an_adapter_has_no_lineage(hf_folder: Folder) -> None:
    with pytest.raises(ModelError, match="no adapter=DIR in this address"):
        load_adapted(f"hf:{hf_folder('llama')}")
