"""Does a model still have the weights that its digest says? A check that costs next to nothing, before every answer.

    same(model)                 # ModelError once an optimizer has changed the network in place

torch counts the changes that each tensor goes through in place. The counts are noted when a model is first met; when
they have moved, the digest is computed again, and only if it differs is the model refused. A change before that, or one
that goes around the counts, through `.data`, is not seen.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import nn

from superalign.models.errors import ModelError
from superalign.models.local import LocalModel, weights_digest

_COUNTS: WeakKeyDictionary[nn.Module, dict[str, int]] = WeakKeyDictionary()


def same(model: LocalModel) -> None:
    """Raises ModelError where the weights of `model` have changed in place since it was first met here."""
    known = _COUNTS.setdefault(model.network, {})
    count = changes(model.network)
    if known.setdefault(model.digest, count) == count:
        return
    now = weights_digest(model.network, model.head, model.threshold)
    if now != model.digest:
        raise ModelError(
            f"{model.name}: its weights changed in place: they digest to {now[:12]}…, it is called "
            f"{model.digest[:12]}…: go on with model.sealed(), so that no answer is kept under the older weights"
        )
    known[model.digest] = count


def changes(network: nn.Module) -> int:
    """Changes in place that the weights of `network` have gone through, all together."""
    return sum(each._version for each in network.state_dict(keep_vars=True).values() if not each.is_inference())
