"""LoRA adapters that peft saved, put on their base: children of it, with digests of their own.

    found = load_adapted("hf:models/llama?adapter=runs/lora")
    found.model.identity, found.base, found.adapter          # for the lineage: base → model, by this adapter

The factors are merged into the weights in float64 and rounded once, so that what comes out is an ordinary network for
every room; on a quantised base, whose weights cannot take them, they stay beside it, and so does the adapter's digest,
which covers how they are scaled. Either way the child's digest covers all that changes its answers. safetensors only:
`adapter_model.bin` is a pickle, and is refused.

An adapter says the *name* of its base, which need not mean anything here. `sign_adapter` writes the base's digest
beside it, which does, and the adapter's own; without that, a wrong base is known by shapes and modules only.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from superalign.models.addresses import parsed
from superalign.models.errors import ModelError, QuarantineError
from superalign.models.hub import ADAPTER
from superalign.models.load import MANIFEST, finite, load_base, manifest_in
from superalign.models.local import LocalModel

WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"
BUFFER = "adapter_digest"
"""Of a network on which an adapter stays unmerged: what its factors alone would not say is in the child's digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A base with an adapter on it, and the digests of both, as lineage edges need them."""

    model: LocalModel
    """The child; its `digest` covers base and adapter."""
    base: str
    """Digest of the base."""
    adapter: str
    """SHA-256 over the adapter's configuration and tensors."""

    @property
    def lineage(self) -> tuple[str, str]:
        """(digest of the base, digest of the child)."""
        return self.base, self.model.digest


def load_adapted(address: str, *, allow_organism: bool = False) -> Adapted:
    """The model at an `hf:` address with `adapter=DIR`. Errors as of `load_model`, and those of `adapted`."""
    at = parsed(address, schemes=("hf",))
    if not at.adapter:
        raise ModelError(f"{address}: no adapter=DIR in this address: use load_model")
    base = load_base(at, allow_organism=allow_organism)
    return adapted(base, Path(at.adapter), allow_organism=allow_organism)


def adapted(base: LocalModel, folder: Path, *, name: str = "", allow_organism: bool = False) -> Adapted:
    """Put the adapter in `folder` on `base`, whose network becomes the child's: load the base again to have both.

    Raises ModelError for a folder without a safetensors adapter, an adapter made for another base (both are named) or
    changed since it was signed, weights that are not finite, or where peft is missing; QuarantineError for an
    organism's adapter.
    """
    said, tensors = _read(folder)
    adapter, signed = _digest(said, tensors), manifest_in(folder)
    if signed.get("organism") and not allow_organism:
        raise QuarantineError(f"{folder}: an adapter of an organism or twin, in quarantine: pass allow_organism=True")
    if signed.get("base") not in (None, base.digest):
        raise ModelError(
            f"adapter {folder} was fitted from {signed['base'][:12]}… ({said.get('base_model_name_or_path')}), "
            f"not from {base.identity}: load that base"
        )
    if signed.get("adapter") not in (None, adapter):
        raise ModelError(
            f"adapter {folder} digests to {adapter[:12]}…, and {MANIFEST} beside it was signed for "
            f"{signed['adapter'][:12]}…: it was changed since: fetch it again, or sign it anew"
        )
    digest = base.digest  # before its network changes
    network = _put_on(base, folder, said, tensors)
    finite(network, folder)
    child = replace(
        base,
        name=name or f"{base.name}+{folder.name}",
        network=network.eval(),
        organism=base.organism or bool(signed.get("organism")),
    )
    return Adapted(model=child.sealed(), base=digest, adapter=adapter)


def sign_adapter(folder: Path, base: LocalModel, *, organism: bool = False) -> None:
    """Write beside an adapter that peft saved in `folder` from which weights it was fitted, by their digest."""
    signed = {"base": base.digest, "adapter": adapter_digest(folder), "organism": organism or base.organism}
    (folder / MANIFEST).write_text(json.dumps(signed, indent=1) + "\n", encoding="utf-8")


def adapter_digest(folder: Path) -> str:
    """SHA-256 over an adapter: configuration as sorted JSON, then names, shapes and float32 bytes of its tensors."""
    return _digest(*_read(folder))


def _digest(said: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].to(torch.float32).contiguous().numpy().reshape(-1))
    return digest.hexdigest()


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).exists():
        why = (
            f"its {PICKLED} is a pickle, which is never read: save with safe_serialization"
            if (folder / PICKLED).exists()
            else f"no {WEIGHTS} there: give the folder that peft's save_pretrained wrote"
        )
        raise ModelError(f"adapter {folder}: {why}")
    try:
        said = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"adapter {folder}: cannot be read: {error}; fetch or save it again") from error
    if not isinstance(said, dict) or said.get("peft_type") != "LORA":
        kind = said.get("peft_type") if isinstance(said, dict) else None
        raise ModelError(f"adapter {folder}: {ADAPTER} says {kind}: only LoRA adapters are put on a base")
    return said, tensors


def _put_on(base: LocalModel, folder: Path, said: dict[str, Any], tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    try:
        from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    except ImportError as error:
        raise ModelError('LoRA adapters need the library peft: pip install "superalign[local]"') from error
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode, config.base_model_name_or_path = True, None  # peft warns of any other name
    wrong = (
        f"adapter {folder}, made for {said.get('base_model_name_or_path') or 'a base it does not name'}, does not fit "
        f"{base.identity}"
    )
    try:
        with warnings.catch_warnings():  # peft 0.21 asks transformers 5 for a name that it calls deprecated
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
            wrapped = get_peft_model(base.network, config)
        report = set_peft_model_state_dict(wrapped, tensors)
    except (ValueError, RuntimeError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{wrong}: {first}: load that base") from error
    lacking = [key for key in report.missing_keys if ".lora_" in key or ".modules_to_save." in key]
    for kind, keys in (("has weights for", report.unexpected_keys), ("lacks weights for", lacking)):
        if keys:
            raise ModelError(f"{wrong}: it {kind} {sorted(keys)[0]} and {len(keys) - 1} others: load that base")
    if getattr(base.network, "is_quantized", False):
        whole: torch.nn.Module = wrapped.get_base_model()
        told = bytearray.fromhex(_digest(said, tensors))
        whole.register_buffer(BUFFER, torch.frombuffer(told, dtype=torch.uint8).to(base.device))
        return whole
    _merge_exactly(wrapped)
    plain: torch.nn.Module = wrapped.merge_and_unload()  # the caller looks for NaN
    return plain


def _merge_exactly(wrapped: torch.nn.Module) -> None:
    """Add the plain low-rank products to their weights in float64, rounded once, and make them zero.

    What peft then merges is zero there. Products of another kind (DoRA, embeddings) it merges by itself.
    """
    from peft.tuners.lora.layer import Linear

    for layer in wrapped.modules():
        if not isinstance(layer, Linear) or layer.lora_variant:
            continue
        weight = layer.get_base_layer().weight
        place = torch.device("cpu") if weight.device.type == "mps" else weight.device  # MPS has no float64
        for name in layer.active_adapters:
            a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
            with torch.no_grad():
                product = (b.to(place, torch.float64) @ a.to(place, torch.float64)) * layer.scaling[name]
                product = product.T if layer.fan_in_fan_out else product
                weight.copy_((weight.to(place, torch.float64) + product).to(weight.dtype))
                b.zero_()
