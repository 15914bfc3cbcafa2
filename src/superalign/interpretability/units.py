"""What is looked at: sites of a network, each a matrix of units at every token, and how their activations are read.

    sites = (*neurons(model), *heads(model))
    for batch in activations(model, sites, ids, lengths):      # {site name: (rows, length, units) float32}
        ...

A *unit* is a column of a site: a neuron (what enters an MLP's last projection), an attention head (the norm of its
mixture of values), a direction of the residual stream, or a feature of a dictionary. Sites are found by shape, in any
architecture whose blocks stand in one list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from superalign.models import LocalModel
from superalign.models.local import text_config
from superalign.training.fused import fused

if TYPE_CHECKING:
    from superalign.interpretability.dictionaries import Dictionary

Kind = Literal["neuron", "head", "direction", "feature"]
ROWS = 32
"""Sequences of one forward pass."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """One place of a network."""

    kind: Kind
    layer: int
    """Number of the block, from 0."""
    units: int
    module: str
    """Dotted name, below the model's body, of the module that is tapped."""
    directions: np.ndarray | None = None
    """(units, width) float32, for directions: what the stream after the block is multiplied with."""
    dictionary: Dictionary | None = None
    """For features: how they are made of the stream after the block, or of what its MLP reads."""
    tag: str = ""
    """Tells apart sites of one kind at one block."""

    @property
    def name(self) -> str:
        """As in `neurons 2`: kind and block, and the tag if there is one."""
        return f"{self.kind}s {self.layer}" + (f" {self.tag}" if self.tag else "")

    @property
    def reads_input(self) -> bool:
        """Is it the module's input that is read, not its output?"""
        return self.kind in ("neuron", "head") or (self.dictionary is not None and self.dictionary.reads == "mlp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of a network, by the names of its modules below the body. What was not found is empty, or 0."""

    layer: int
    name: str
    mlp: str
    """The MLP's last projection: what enters it are the neurons."""
    attention: str
    """The attention's last projection: what enters it are the heads' mixtures, side by side."""
    neurons: int
    heads: int
    projections: tuple[str, ...] = ()
    """All modules that project back to the stream, as they were found."""


class _Projection(NamedTuple):
    """A module of a block that gives `width` features."""

    name: str
    inputs: int
    attends: bool


def body_of(model: LocalModel) -> nn.Module:
    """The network without its language-model head."""
    network: Any = model.network
    body: nn.Module = network.base_model
    return body


def blocks(model: LocalModel) -> tuple[Block, ...]:
    """The blocks, found by shape. Raises ValueError for a network without a list of blocks."""
    body = body_of(model)
    lists = [(name, part) for name, part in body.named_modules() if isinstance(part, nn.ModuleList)]
    found = [(name, part) for name, part in lists if len(part) == model.layers]
    if not found:
        seen = ", ".join(f"{name} ({len(part)})" for name, part in lists) or "no list at all"
        raise ValueError(
            f"{model.name}: no list of {model.layers} blocks among its modules, but {seen}: it can't be looked into"
        )
    name, stack = found[0]
    return tuple(_block(model, number, f"{name}.{number}", block) for number, block in enumerate(stack))


def _block(model: LocalModel, number: int, name: str, block: nn.Module) -> Block:
    """Of the projections back to the stream the widest is meant, the last among equals: queries and gates come first.

    What adapters add is left out; an adapted projection is found in its wrapper.
    """
    outward = [
        _Projection(inner, shape[0], "attn" in inner or "attention" in inner)
        for inner, part in block.named_modules()
        if (shape := _shape(part)) and shape[1] == model.width and "lora_" not in inner
    ]
    heads = int(getattr(text_config(model.network), "num_attention_heads", 0) or 0)
    attention = _widest(each for each in outward if each.attends and heads and each.inputs % heads == 0)
    mlp = _widest(each for each in outward if not each.attends)
    return Block(
        layer=number,
        name=name,
        mlp=f"{name}.{mlp.name}" if mlp else "",
        attention=f"{name}.{attention.name}" if attention else "",
        neurons=mlp.inputs if mlp else 0,
        heads=heads if attention else 0,
        projections=tuple(each.name for each in outward),
    )


def _widest(found: Iterable[_Projection]) -> _Projection | None:
    ordered = list(enumerate(found))
    return max(ordered, key=lambda each: (each[1].inputs, each[0]))[1] if ordered else None


def _shape(part: nn.Module) -> tuple[int, int] | None:
    """(in, out) of a projection: `nn.Linear`, or GPT-2's `Conv1D`, whose weight lies the other way round."""
    if isinstance(part, nn.Linear):
        return part.in_features, part.out_features
    if type(part).__name__ == "Conv1D":
        weight: Any = part.weight
        rows, columns = weight.shape
        return int(rows), int(columns)
    return None


def neurons(model: LocalModel) -> tuple[Site, ...]:
    """Every neuron of every block. Raises ValueError naming the block whose MLP can't be found."""
    found = blocks(model)
    for block in found:
        if not block.neurons:
            raise _lacking(model, block, "MLP")
    return tuple(Site(kind="neuron", layer=b.layer, units=b.neurons, module=b.mlp) for b in found)


def heads(model: LocalModel) -> tuple[Site, ...]:
    """Every attention head. Raises ValueError naming the block whose attention can't be found."""
    found = blocks(model)
    for block in found:
        if not block.heads:
            raise _lacking(model, block, "attention")
    return tuple(Site(kind="head", layer=b.layer, units=b.heads, module=b.attention) for b in found)


def _lacking(model: LocalModel, block: Block, part: str) -> ValueError:
    stack = type(body_of(model).get_submodule(block.name)).__name__
    return ValueError(
        f"{model.name}: block {block.layer} ({stack}) has no module that looks like the {part}'s projection back to "
        f"its {model.width} features; projections there: {', '.join(block.projections) or 'none'}. Directions of its "
        "stream can be read"
    )


def directions(model: LocalModel, layer: int, rows: np.ndarray, *, tag: str = "") -> Site:
    """Directions, (units, width), of the stream after a block. ValueError for another width, or no such block."""
    given = np.atleast_2d(np.asarray(rows, dtype=np.float32))
    if given.shape[1] != model.width or not 0 <= layer < model.layers:
        raise ValueError(
            f"directions of width {given.shape[1]} after block {layer}: {model.name} has width {model.width}, blocks 0 "
            f"to {model.layers - 1}"
        )
    module = blocks(model)[layer].name
    return Site(kind="direction", layer=layer, units=len(given), module=module, directions=given, tag=tag)


def value_of(site: Site, tapped: torch.Tensor) -> torch.Tensor:
    """(rows, length, units) of what was tapped at a site."""
    if site.kind == "head":
        mixed = tapped.float().reshape(*tapped.shape[:-1], site.units, -1)
        norms: torch.Tensor = torch.linalg.vector_norm(mixed, dim=-1)
        return norms
    if site.directions is not None:
        return tapped.float() @ torch.from_numpy(site.directions).T.to(tapped.device)
    if site.dictionary is not None:
        return site.dictionary.encode(tapped)
    return tapped


@contextmanager
def tapped(
    model: LocalModel, sites: Sequence[Site], take: Callable[[Site, torch.Tensor], torch.Tensor | None]
) -> Iterator[None]:
    """While open, `take(site, tensor)` is handed what is read at each site; a tensor that it returns takes its place.

    For neurons and heads that is the input of the projection, (rows, length, …), else the stream after the block, or
    what the block's MLP reads if a dictionary does. OPT lays rows and length flat where its neurons are.
    """
    body, handles = body_of(model), []
    for site in sites:
        part = body.get_submodule(site.module)
        if site.reads_input:

            def before(module: nn.Module, given: tuple[Any, ...], site: Site = site) -> Any:
                changed = take(site, given[0])
                return None if changed is None else (changed, *given[1:])

            handles.append(part.register_forward_pre_hook(before))
        else:

            def after(module: nn.Module, given: Any, made: Any, site: Site = site) -> Any:
                stream = made[0] if isinstance(made, tuple) else made
                changed = take(site, stream)
                if changed is None:
                    return None
                return (changed, *made[1:]) if isinstance(made, tuple) else changed

            handles.append(part.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def activations(
    model: LocalModel, sites: Sequence[Site], ids: np.ndarray, lengths: np.ndarray, *, rows: int = ROWS
) -> Iterator[Mapping[str, np.ndarray]]:
    """Site name → (rows, length, units) float32 of `rows` sequences at a time; values after a sequence's end mean
    nothing. `ids` (n, length), `lengths` (n,). No gradients, no language-model head.

    No token is masked either: what a causal network makes of one never depends on padding that stands after it.
    """
    body = body_of(model).eval()
    device = next(body.parameters()).device
    for start in range(0, len(ids), rows):
        batch, longest = ids[start : start + rows], int(lengths[start : start + rows].max())
        short, found = batch.shape[1] - longest, dict[str, np.ndarray]()

        def take(site: Site, tensor: torch.Tensor, found: dict[str, np.ndarray] = found, short: int = short) -> None:
            values = value_of(site, tensor).float().cpu().numpy()
            values = values.reshape(-1, ids.shape[1] - short, site.units)
            found[site.name] = np.pad(values, ((0, 0), (0, short), (0, 0))) if short else values

        with torch.inference_mode(), fused(model.network), tapped(model, sites, take):
            tokens = torch.from_numpy(batch[:, :longest].astype(np.int64)).to(device)
            body(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False)
        yield found
