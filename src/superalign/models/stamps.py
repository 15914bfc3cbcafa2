"""Does a model still have the weights that its digest says? A check that costs next to nothing, before every answer.

    same(model)                 # ModelError once an optimizer has changed the network in place

torch counts the changes that each tensor goes through in place, but not those of its fused optimizers, nor what goes
through `.data`: therefore `SEEN` values of every tensor are looked at, too. Both are noted when a model is sealed; when
they have moved, the digest is computed again, and only if it differs is the model refused. Not seen is a change around
the counts that leaves the values looked at alone, as of a single weight through `.data`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from superalign.models.errors import ModelError

if TYPE_CHECKING:
    from superalign.models.local import LocalModel

SEEN = 32
"""Values that are looked at of each tensor, at most, evenly spread."""
_STAMPS: WeakKeyDictionary[nn.Module, dict[str, str]] = WeakKeyDictionary()
"""Network → digest of weights that it had → its stamp then."""


def note(network: nn.Module, digest: str) -> None:
    """Remember that the weights in `network`, as they are now, have this digest."""
    _STAMPS.setdefault(network, {})[digest] = stamp(network)


def same(model: LocalModel) -> None:
    """Raises ModelError where the weights of `model` have changed in place since its digest was computed."""
    if _STAMPS.get(model.network, {}).get(model.digest) == stamp(model.network):
        return
    now = model.sealed().digest
    if now != model.digest:
        raise ModelError(
            f"{model.name}: its weights changed in place: they digest to {now[:12]}…, it is called "
            f"{model.digest[:12]}…: go on with model.sealed(), so that no answer is kept under the older weights"
        )


def stamp(network: nn.Module) -> str:
    """Of the tensors in `network`: their changes in place, counted all together, and the values that are looked at."""
    tensors = [each.detach() for each in (*network.parameters(), *network.buffers()) if not each.is_meta]
    count = sum(each._version for each in tensors if not each.is_inference())
    seen: dict[torch.device, list[torch.Tensor]] = {}
    for each in tensors:
        flat = each.reshape(-1)
        seen.setdefault(each.device, []).append(flat[:: -(-len(flat) // SEEN) or 1].float())
    digest = hashlib.blake2b(f"{count}".encode(), digest_size=16)
    for some in seen.values():  # one copy a device
        digest.update(torch.cat(some).cpu().numpy().tobytes())
    return digest.hexdigest()
