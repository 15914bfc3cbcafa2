"""From an address to a model: `family:SIZE`, `hf:NAME-OR-PATH`, or a folder that superalign saved.

    load_model("hf:models/llama?device=auto&dtype=bfloat16&adapter=runs/lora")

Options: `models.addresses`. safetensors only, no remote code, nothing unpickled; organisms and twins are refused unless
asked for. What is not float32 says so in its name (`llama.bfloat16@…`), because the digest alone would not: it is over
the float32 values of the weights, which loading as bfloat16 need not change, though what the model computes does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from superalign.models.addresses import ModelAddress, device_at, dtype_at, folder_at, parsed
from superalign.models.errors import ModelError, QuarantineError
from superalign.models.head import RewardHead
from superalign.models.hub import complete, failures, quiet, refused
from superalign.models.local import LocalModel, text_config

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
    """Load the model at `address`: float32 on the CPU, unless its options say otherwise.

    Raises ModelError when the address, an option or a device is wrong; when weights are missing, not safetensors, or
    not finite; when a repository is gated or missing, an adapter was made for another base, or a library for quantising
    is not there. QuarantineError for an organism.

    Example: `load_model("family:m")`, `load_model("hf:/models/tiny?dtype=bfloat16")`.
    """
    at = parsed(address, schemes=("family", "hf"))
    if at.adapter:
        from superalign.models.adapters import load_adapted

        return load_adapted(address, allow_organism=allow_organism).model
    return load_base(at, allow_organism=allow_organism)


def load_base(at: ModelAddress, *, allow_organism: bool = False) -> LocalModel:
    """The model at an address that is parsed already, without its adapter."""
    if at.scheme == "family":
        return _family_member(at)
    path = folder_at(at)
    if path is None:
        return _from_hub(at, allow_organism=allow_organism)
    complete(str(at), path)
    return load_folder(path, name=path.name, allow_organism=allow_organism, at=at)


def _family_member(at: ModelAddress) -> LocalModel:
    size = at.where
    path = family_path(size)
    model = load_folder(path, name=f"family-{size}", at=at)
    promised = json.loads((path / "recipe.json").read_text(encoding="utf-8"))["weights_sha256"]
    if model.digest != promised:
        raise ModelError(
            f"family:{size}: the weights in {path} digest to {model.digest[:12]}…, its recipe says {promised[:12]}…: "
            "install superalign again"
        )
    return model


def load_folder(
    path: Path, *, name: str | None = None, allow_organism: bool = False, at: ModelAddress | None = None
) -> LocalModel:
    """Load a folder in the Hugging Face format, with reward head and manifest where it has them.

    `at` says device, dtype and quantising; the folder is `path` all the same.
    """
    at = at or ModelAddress(scheme="hf", where=str(path))
    manifest = manifest_in(path)
    quarantined(manifest, path, allow_organism=allow_organism)
    network, tokenizer = _pretrained(str(path), at, local=True)
    head = None
    if (path / HEAD).exists():
        from safetensors.torch import load_file

        head = RewardHead(int(text_config(network).hidden_size), hidden=int(manifest["head_hidden"]))
        head.load_state_dict(load_file(path / HEAD))
        head.to(device_at(at))
    finite(network, path)
    if head is not None:
        finite(head, path / HEAD)
    model = LocalModel(
        name=_named(name or manifest.get("name", path.name), network),
        network=network,
        tokenizer=tokenizer,
        head=head,
        threshold=float(manifest.get("threshold", 0.0)),
        organism=bool(manifest.get("organism")),
    )
    return model.sealed()


def manifest_in(folder: Path) -> dict[str, Any]:
    """What superalign wrote beside the weights in `folder`; empty for somebody else's. ModelError if it is broken."""
    if not (folder / MANIFEST).exists():
        return {}
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder}: {MANIFEST} cannot be read: {error}: fetch or save the model again") from error
    if not isinstance(told, dict):
        raise ModelError(f"{folder}: {MANIFEST} is no JSON object: fetch or save the model again")
    return told


def quarantined(manifest: Mapping[str, Any], where: object, *, allow_organism: bool) -> None:
    """Raises QuarantineError for the manifest of an organism or twin that was not asked for."""
    if manifest.get("organism") and not allow_organism:
        raise QuarantineError(f"{where}: an organism or its twin, in quarantine: pass allow_organism=True to load it")


def manifest_of(at: ModelAddress) -> dict[str, Any]:
    """`manifest_in` the folder or repository at an address. Errors of the hub as of `load_model`.

    Empty, too, where the hub is not to be reached and the file was never fetched: nobody here can tell then.
    """
    path = folder_at(at)
    if path is not None:
        return manifest_in(path)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return manifest_in(Path(hf_hub_download(at.where, MANIFEST, revision=at.revision or None)).parent)
    except EntryNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise refused(str(at), error) from quiet(error)


def save_model(model: LocalModel, path: Path) -> None:
    """Write network, tokenizer, head and manifest into `path`, in the Hugging Face format beside our two files."""
    from safetensors.torch import save_file
    from transformers.utils import logging

    logging.disable_progress_bar()
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


def _from_hub(at: ModelAddress, *, allow_organism: bool) -> LocalModel:
    manifest = manifest_of(at)
    quarantined(manifest, at, allow_organism=allow_organism)
    network, tokenizer = _pretrained(at.where, at, local=False)
    finite(network, at.where)
    name = _named(at.where.replace("/", "--"), network)
    organism = bool(manifest.get("organism"))
    return LocalModel(name=name, network=network, tokenizer=tokenizer, organism=organism).sealed()


def _pretrained(where: str, at: ModelAddress, *, local: bool) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    extra: dict[str, Any] = {"quantization_config": _quantised(at)} if at.quantise else {}
    device = device_at(at)
    extra |= {} if device.type == "cpu" else {"device_map": {"": device}}
    told: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    told |= {"revision": at.revision} if at.revision and not local else {}
    extra |= {"ignore_mismatched_sizes": True, "output_loading_info": True}  # refused below, by name
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, **told)
        network, report = AutoModelForCausalLM.from_pretrained(
            where, **told, **extra, use_safetensors=True, dtype=dtype_at(at)
        )
    except failures() as error:
        raise refused(f"hf:{where}", error) from quiet(error)
    if hasattr(network, "peft_config"):
        raise ModelError(f"hf:{where}: an adapter is no model by itself: fetch it, then write hf:BASE?adapter=FOLDER")
    if report["mismatched_keys"]:
        name, found, need = min(report["mismatched_keys"])
        raise ModelError(
            f"hf:{where}: its {name} is {tuple(found)} in the files and {tuple(need)} by config.json: fetch it again"
        )
    if report["missing_keys"]:
        first, count = min(report["missing_keys"]), len(report["missing_keys"])
        raise ModelError(
            f"hf:{where}: the files lack {count} of the network's weights, {first} among them: they would be random. "
            "Fetch or save the model again"
        )
    if at.quantise and not getattr(network, "is_quantized", False):
        raise ModelError(f"{at}: came back without quantise={at.quantise}: this architecture does not take it")
    return network.eval(), tokenizer


def _quantised(at: ModelAddress) -> Any:
    """How bitsandbytes shall quantise: NF4 (Dettmers et al. 2023, 2305.14314, §3) or LLM.int8 (2208.07339)."""
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
        raise ModelError(f"{at}: quantise={at.quantise} needs bitsandbytes: pip install bitsandbytes accelerate")
    if device_at(at).type != "cuda":
        raise ModelError(f"{at}: quantise={at.quantise} needs a CUDA device: add device=cuda, or leave quantise out")
    from transformers import BitsAndBytesConfig

    if at.quantise == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    dtype = torch.bfloat16 if dtype_at(at) == "auto" else dtype_at(at)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _named(name: str, network: Any) -> str:
    """`name`, with the dtype after a point where it is not float32."""
    dtype = str(network.dtype).removeprefix("torch.")
    suffix = f".{dtype}"
    return name if dtype == "float32" or name.endswith(suffix) else name + suffix


def finite(network: torch.nn.Module, where: object) -> None:
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        wide = tensor if tensor.element_size() > 1 else tensor.float()  # float8 has no isfinite
        if not torch.isfinite(wide).all():
            raise ModelError(f"{where}: weight {name} holds NaN or infinity: the file is damaged, fetch it again")
