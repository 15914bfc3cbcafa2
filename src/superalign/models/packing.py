"""A model as one safetensors file: all weights, head and threshold; nothing is ever unpickled."""

from __future__ import annotations

import copy
import json

from superalign.models.change import read_manifest, unpack_change
from superalign.models.errors import ModelError, QuarantineError
from superalign.models.head import RewardHead
from superalign.models.local import LocalModel


def pack(model: LocalModel) -> bytes:
    """The model's weights and manifest as safetensors bytes."""
    from safetensors.torch import save

    tensors = {f"network.{k}": v.detach().clone().contiguous() for k, v in model.network.state_dict().items()}
    if model.head is not None:
        tensors |= {f"head.{k}": v.detach().clone().contiguous() for k, v in model.head.state_dict().items()}
    manifest = {
        "name": model.name,
        "digest": model.digest,
        "threshold": model.threshold,
        "organism": model.organism,
    }
    manifest["head_hidden"] = model.head.hidden if model.head is not None else 0
    return save(tensors, metadata={"superalign": json.dumps(manifest)})


def unpack(data: bytes, base: LocalModel, *, allow_organism: bool = False) -> LocalModel:
    """The model in `data`, all of its weights or what changed in `base`, whose shape it has.

    Raises QuarantineError for an organism or twin unless asked for, ModelError for a wrong digest.
    """
    from safetensors.torch import load

    manifest = read_manifest(data)
    if "base" in manifest:
        return unpack_change(data, base, allow_organism=allow_organism)
    if manifest["organism"] and not allow_organism:
        raise QuarantineError(f"{manifest['name']} is an organism or twin, in quarantine: pass allow_organism=True")
    tensors = load(data)
    network = copy.deepcopy(base.network)
    network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
    head = None
    if manifest["head_hidden"]:
        head = RewardHead(base.width, hidden=manifest["head_hidden"])
        head.load_state_dict({k[5:]: v for k, v in tensors.items() if k.startswith("head.")})
        head.to(base.device)
    model = LocalModel(
        name=manifest["name"],
        network=network.eval(),
        tokenizer=base.tokenizer,
        head=head.eval() if head else None,
        threshold=manifest["threshold"],
        organism=manifest["organism"],
    ).sealed()
    if model.digest != manifest["digest"]:
        raise ModelError(
            f"{model.name}: weights digest to {model.digest[:12]}…, the file says {manifest['digest'][:12]}…"
        )
    return model
