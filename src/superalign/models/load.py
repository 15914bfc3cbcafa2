"""From an address to a model: `family:SIZE`, `hf:NAME-OR-PATH`, or a folder that superalign saved.

safetensors only, no remote code, nothing unpickled; organisms and twins are refused unless asked for.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from superalign.models.errors import ModelError, QuarantineError
from superalign.models.head import RewardHead
from superalign.models.local import LocalModel

MANIFEST, HEAD = "superalign.json", "reward_head.safetensors"
SHIPPED = ("xs", "s", "m", "l")


def family_path(size: str) -> Path:
    """Folder of a family member that ships with the package. Raises ModelError for an unknown size."""
    path = Path(str(files("superalign.models").joinpath("weights", size)))
    if not (path / "config.json").exists():
        raise ModelError(
            f"family:{size}: no such family member at {path}: use one of {', '.join(SHIPPED)}, "
            "or train it with `superalign family train`"
        )
    return path


def load_model(address: str, *, allow_organism: bool = False) -> LocalModel:
    """Load the model at `address`, float32, on the CPU.

    Raises ModelError when weights are missing, not safetensors, or not finite; QuarantineError for an organism.

    Example: `load_model("family:m")`, `load_model("hf:/models/tiny")`.
    """
    scheme, _, rest = address.partition(":")
    if scheme == "family":
        return _family_member(rest)
    if scheme != "hf" or not rest:
        raise ModelError(f"{address!r} is no model address: write family:SIZE or hf:NAME-OR-PATH")
    path = Path(rest)
    if path.exists() or rest.startswith((".", "/")):
        if not list(path.glob("*.safetensors")):
            raise ModelError(f"hf:{rest}: no *.safetensors weights in this folder: save with safe_serialization")
        return load_folder(path, name=path.name, allow_organism=allow_organism)
    return _from_hub(rest)


def _family_member(size: str) -> LocalModel:
    path = family_path(size)
    model = load_folder(path, name=f"family-{size}")
    promised = json.loads((path / "recipe.json").read_text(encoding="utf-8"))["weights_sha256"]
    if model.digest != promised:
        raise ModelError(
            f"family:{size}: the weights in {path} digest to {model.digest[:12]}…, its recipe says {promised[:12]}…: "
            "install superalign again"
        )
    return model


def load_folder(path: Path, *, name: str | None = None, allow_organism: bool = False) -> LocalModel:
    """Load a folder in the Hugging Face format, with reward head and manifest where it has them."""
    manifest: dict[str, Any] = {}
    if (path / MANIFEST).exists():
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("organism") and not allow_organism:
        raise QuarantineError(f"{path}: an organism or its twin, in quarantine: pass allow_organism=True to load it")
    network, tokenizer = _pretrained(str(path), local=True)
    head = None
    if (path / HEAD).exists():
        from safetensors.torch import load_file

        head = RewardHead(int(network.config.hidden_size), hidden=int(manifest["head_hidden"]))
        head.load_state_dict(load_file(path / HEAD))
    _finite(network, path)
    if head is not None:
        _finite(head, path / HEAD)
    model = LocalModel(
        name=name or manifest.get("name", path.name),
        network=network,
        tokenizer=tokenizer,
        head=head,
        threshold=float(manifest.get("threshold", 0.0)),
        organism=bool(manifest.get("organism")),
    )
    return model.sealed()


def save_model(model: LocalModel, path: Path) -> None:
    """Write network, tokenizer, head and manifest into `path`, in the Hugging Face format beside our two files."""
    from safetensors.torch import save_file

    path.mkdir(parents=True, exist_ok=True)
    model.network.save_pretrained(path)
    model.tokenizer.save_pretrained(path)
    manifest = {
        "name": model.name,
        "digest": model.digest,
        "organism": model.organism,
        "threshold": model.threshold,
    }
    if model.head is not None:
        save_file({k: v.contiguous() for k, v in model.head.state_dict().items()}, path / HEAD)
        manifest["head_hidden"] = model.head.hidden
    (path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _from_hub(name: str) -> LocalModel:
    network, tokenizer = _pretrained(name, local=False)
    _finite(network, name)
    return LocalModel(name=name.replace("/", "--"), network=network, tokenizer=tokenizer).sealed()


def _pretrained(where: str, *, local: bool) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=local, trust_remote_code=False)
        network = AutoModelForCausalLM.from_pretrained(
            where, local_files_only=local, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(
            f"hf:{where}: cannot load a causal language model: {first}; fetch it or save it again"
        ) from error
    return network.eval(), tokenizer


def _finite(network: torch.nn.Module, where: object) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{where}: weight {name} holds NaN or infinity: the file is damaged, fetch it again")
