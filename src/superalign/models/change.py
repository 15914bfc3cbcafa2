"""A fitted model as what was changed: low-rank factors of some matrices, and a reward head if it has one.

    data = pack_change(change, base, name="reviewer")        # a few hundred kB, safetensors
    model = unpack_change(data, base)                        # the same weights, bit for bit

Merging is exact on every machine: a product of two float32 numbers is exact in float64, the products are added one
rank after the other, and the sum is rounded once to float32. No BLAS and no thread count has a say in it, so that the
digest of a shipped change can be checked anywhere.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from superalign.models.errors import ModelError, QuarantineError
from superalign.models.head import RewardHead
from superalign.models.local import LocalModel

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What fitting changed: module name → factors a (rows, rank) and b (rank, columns), and the head."""

    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    head: RewardHead | None


def merged(weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """weight + a @ b: (rows, columns), (rows, rank), (rank, columns) → float32 on the CPU, the same bits everywhere.

    A narrower weight counts with its exact float32 value.
    """
    total, left, right = (each.detach().to("cpu", torch.float32).numpy().astype(np.float64) for each in (weight, a, b))
    for rank in range(left.shape[1]):
        total = total + left[:, rank : rank + 1] * right[rank : rank + 1]
    return torch.from_numpy(total.astype(np.float32))


def apply_change(base: LocalModel, change: Change, *, name: str, **fields: Any) -> LocalModel:
    """`base` with `change` merged in, as an ordinary model; `base` stays as it is. `fields` such as the threshold.

    Raises ModelError when a changed matrix is not in `base`.
    """
    network = copy.deepcopy(base.network)
    for module, (a, b) in change.factors.items():
        try:
            weight = network.get_parameter(f"{module}.weight")
        except AttributeError as error:
            raise ModelError(f"{name}: changes {module}, which {base.name} has not: use its own base") from error
        with torch.no_grad():
            weight.copy_(merged(weight, a, b))
    head = copy.deepcopy(change.head).eval() if change.head is not None else None
    model = LocalModel(name=name, network=network.eval(), tokenizer=base.tokenizer, head=head, **fields)
    return model.sealed()


def pack_change(change: Change, base: LocalModel, model: LocalModel, **notes: Any) -> bytes:
    """`change` as safetensors bytes; the manifest names `base`, the digest of the merged `model`, and any `notes`."""
    from safetensors.torch import save

    head = change.head.state_dict() if change.head is not None else {}
    tensors = {f"head.{k}": v.detach().clone().contiguous() for k, v in head.items()}
    for module, (a, b) in change.factors.items():
        tensors |= {f"a.{module}": a.detach().clone().contiguous(), f"b.{module}": b.detach().clone().contiguous()}
    manifest = {
        "format": FORMAT,
        "name": model.name,
        "base": base.digest,
        "digest": model.digest,
        "threshold": model.threshold,
        "organism": model.organism,
        "head_hidden": change.head.hidden if change.head is not None else 0,
        "notes": notes,
    }
    return save(tensors, metadata={"superalign": json.dumps(manifest, sort_keys=True)})


def repacked(data: bytes, model: LocalModel) -> bytes:
    """A packed change under the name, digest and threshold of `model`, which has the same weights."""
    from safetensors.torch import load, save

    manifest = read_manifest(data) | {
        "name": model.name, "digest": model.digest, "threshold": model.threshold, "organism": model.organism,
    }  # fmt: skip
    return save(load(data), metadata={"superalign": json.dumps(manifest, sort_keys=True)})


def read_manifest(data: bytes) -> dict[str, Any]:
    """The manifest at the head of packed bytes. Raises ModelError when there is none."""
    try:
        size = struct.unpack("<Q", data[:8])[0]
        manifest = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["superalign"])
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            "not a model that superalign packed: its header cannot be read; fetch or train it again"
        ) from error
    if not isinstance(manifest, dict):
        raise ModelError("not a model that superalign packed: its manifest is no table; fetch or train it again")
    return manifest


def unpack_change(data: bytes, base: LocalModel, *, allow_organism: bool = False) -> LocalModel:
    """The model in `data`, made on `base` again.

    Raises QuarantineError for an organism or twin unless asked for, ModelError when `base` is another model than the
    one it was fitted from, or the merged weights do not have the digest that the manifest says.
    """
    from safetensors.torch import load

    manifest = read_manifest(data)
    name = manifest["name"]
    if manifest["organism"] and not allow_organism:
        raise QuarantineError(f"{name} is an organism or twin, in quarantine: pass allow_organism=True")
    if manifest["base"] != base.digest:
        raise ModelError(f"{name} was fitted from {manifest['base'][:12]}…, not from {base.identity}: load that base")
    tensors = load(data)
    head = None
    if manifest["head_hidden"]:
        head = RewardHead(base.width, hidden=manifest["head_hidden"])
        head.load_state_dict({k[5:]: v for k, v in tensors.items() if k.startswith("head.")})
        head.to(base.device)
    factors = {k[2:]: (v, tensors[f"b.{k[2:]}"]) for k, v in tensors.items() if k.startswith("a.")}
    model = apply_change(
        base,
        Change(factors=factors, head=head),
        name=name,
        threshold=manifest["threshold"],
        organism=manifest["organism"],
    )
    if model.digest != manifest["digest"]:
        raise ModelError(f"{name}: weights digest to {model.digest[:12]}…, the file says {manifest['digest'][:12]}…")
    return model
