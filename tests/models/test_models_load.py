from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from superalign.models import (
    LocalModel,
    ModelError,
    QuarantineError,
    RewardHead,
    family_path,
    load_folder,
    load_model,
    save_model,
)

Make = Callable[..., LocalModel]


@pytest.fixture
def saved(tiny: Make, tmp_path: Path) -> Path:
    save_model(tiny(), tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_model_comes_back_the_same(tiny: Make, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = tiny().sealed(head=RewardHead(16, hidden=8), threshold=0.25)
    save_model(model, tmp_path / "model")
    back = load_folder(tmp_path / "model")
    assert back.identity == model.identity
    assert back.threshold == 0.25
    texts = ["a b c", "( a ) = d"]
    assert back.read(texts)[0].reward == pytest.approx(model.read(texts)[0].reward, abs=1e-6)
    for got, want in zip(back.logprobs(texts), model.logprobs(texts), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    assert back.encode(texts) == model.encode(texts)


def test_an_address_loads_a_folder(saved: Path, tiny: Make) -> None:
    model = load_model(f"hf:{saved}")
    assert model.digest == tiny().digest
    assert not model.organism
    assert model.head is None
    assert not model.network.training


def test_a_folder_of_somebody_else_needs_no_manifest(saved: Path, tiny: Make) -> None:
    (saved / "superalign.json").unlink()
    assert load_model(f"hf:{saved}").digest == tiny().digest


def test_pickled_weights_are_never_read(saved: Path, tiny: Make) -> None:
    (saved / "model.safetensors").unlink()
    torch.save(tiny().network.state_dict(), saved / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \*\.safetensors weights"):
        load_model(f"hf:{saved}")
    with pytest.raises(ModelError, match="cannot load"):
        load_folder(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(saved: Path, value: float) -> None:
    weights = load_file(saved / "model.safetensors")
    name = next(name for name in weights if name.endswith("ln_f.weight"))
    weights[name][3] = value
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"ln_f\.weight holds NaN or infinity"):
        load_model(f"hf:{saved}")


def test_damaged_weights_are_refused(saved: Path) -> None:
    raw = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ModelError, match="cannot load"):
        load_model(f"hf:{saved}")


def test_a_damaged_reward_head_is_refused(tiny: Make, tmp_path: Path) -> None:
    save_model(tiny().sealed(head=RewardHead(16, hidden=8)), tmp_path)
    weights = load_file(tmp_path / "reward_head.safetensors")
    weights["scale"] = torch.tensor(float("nan"))
    save_file(weights, tmp_path / "reward_head.safetensors")
    with pytest.raises(ModelError, match="holds NaN or infinity"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("family:giant", "family:giant: no such family member"),
        ("family:", "no such family member"),
        ("gpt:4", "'gpt:4' is no model address"),
        ("m", "'m' is no model address"),
        ("hf:", "'hf:' is no model address"),
        ("hf:/nowhere/at/all", r"no \*\.safetensors weights"),
    ],
)
def test_bad_addresses_are_refused(address: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        load_model(address)


def test_organisms_stay_in_quarantine(tiny: Make, tmp_path: Path) -> None:
    save_model(tiny().sealed(organism=True), tmp_path)
    assert json.loads((tmp_path / "superalign.json").read_text())["organism"] is True
    with pytest.raises(QuarantineError, match="allow_organism=True"):
        load_model(f"hf:{tmp_path}")
    with pytest.raises(QuarantineError):
        load_folder(tmp_path)
    assert load_model(f"hf:{tmp_path}", allow_organism=True).organism


@pytest.mark.parametrize("size", ["xs", "s", "m", "l"])
def test_shipped_weights_are_what_their_recipe_says(size: str) -> None:
    recipe = json.loads((family_path(size) / "recipe.json").read_text(encoding="utf-8"))
    assert load_model(f"family:{size}").digest == recipe["weights_sha256"]


def test_other_weights_under_a_family_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import superalign.models.load as load

    folder = Path(shutil.copytree(family_path("xs"), tmp_path / "xs"))
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    (folder / "recipe.json").write_text(json.dumps(recipe | {"weights_sha256": "0" * 64}), encoding="utf-8")
    monkeypatch.setattr(load, "family_path", lambda size: folder)
    with pytest.raises(ModelError, match="its recipe says 000000000000"):
        load_model("family:xs")
