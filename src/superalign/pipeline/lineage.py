"""Where a model that is brought along comes from, as the ledger knows it: a LoRA adapter's child has two parents.

    enter_adapted(desk, model, "hf:models/llama?adapter=runs/lora", reason="pretrained before …")

What was fitted in this workspace keeps the lineage it has: it is not declared a base again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from superalign.models import LocalModel
    from superalign.pipeline.desk import Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What an adapted model is made of: digests, and names to show."""

    base: str
    base_name: str
    adapter: str
    adapter_name: str


def adapter_in(address: str) -> bool:
    """Does a model address name an adapter?

    >>> adapter_in("hf:models/llama?adapter=runs/lora"), adapter_in("family:m")
    (True, False)
    """
    from superalign.models.addresses import parsed

    return address.startswith("hf:") and bool(parsed(address).adapter)


def origin_of(address: str) -> Origin:
    """Base and adapter at an address that was loaded before. The base is loaded again where the adapter does not say.

    What a signed adapter says of its base was held against the weights when it was put on them. Errors as
    `models.load_model` raises them.
    """
    from superalign.models.adapters import adapter_digest
    from superalign.models.addresses import parsed
    from superalign.models.load import MANIFEST, load_base

    at = parsed(address, schemes=("hf",))
    folder = Path(at.adapter)
    signed = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) if (folder / MANIFEST).exists() else {}
    base = signed.get("base") or load_base(replace(at, adapter="")).digest
    return Origin(
        base=base,
        base_name=Path(at.where).name,
        adapter=adapter_digest(folder),
        adapter_name=f"{folder.name}, a LoRA adapter",
    )


def enter_adapted(desk: Desk, model: LocalModel, address: str, *, reason: str) -> None:
    """Base and adapter as declared bases, and `fit` edges from both to the child `model`, which is registered already.

    Nothing is declared of a child, a base or an adapter that this ledger knows the making of.
    """
    found = origin_of(address)
    with desk.ws.ledger.transaction():
        for digest, name, why in (
            (found.base, found.base_name, reason),
            (found.adapter, found.adapter_name, f"an adapter that was brought along: {reason}"),
        ):
            desk.ws.node(kind="model", digest=digest, name=name)
            if not made_here(desk, digest):
                desk.ws.base(digest, reason=why)
        for source in (found.base, found.adapter):
            desk.ws.use(source, model.digest, "fit")


def made_here(desk: Desk, digest: str) -> bool:
    """Does the ledger hold what this model was made of?"""
    return bool(desk.ws.state.graph.ins.get(digest))
