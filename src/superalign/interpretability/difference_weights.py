"""What fitting did to each weight matrix: how much, in how many directions, and how alike the twin's change is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from superalign.models import LocalModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatrixChange:
    """Child less parent, beside twin less parent, of one parameter."""

    name: str
    child: float
    """Frobenius norm of the change, over the parent's."""
    twin: float
    cosine: float
    """Between the two changes, entry by entry; NaN where one is nothing."""
    beyond: float
    """Norm of child − twin, over the parent's."""
    concentration: float
    """Share of the squared norm of child − twin that its first singular direction holds; NaN where that is nothing."""
    rank: int
    """Singular directions that hold 90 % of it; 0 where it is nothing."""
    left: np.ndarray | None
    """(rows,) and, below, (columns,): the first singular directions of child − twin; None for vectors."""
    right: np.ndarray | None


def weight_changes(parent: LocalModel, child: LocalModel, twin: LocalModel) -> tuple[MatrixChange, ...]:
    """Every parameter of the network that differs in child or twin, most beyond the twin first.

    Raises ValueError where the three have other parameters or shapes.
    """
    states = [model.network.state_dict() for model in (parent, child, twin)]
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in states]
    for model, found in zip((child, twin), shapes[1:], strict=True):
        if odd := sorted(name for name in {*found, *shapes[0]} if found.get(name) != shapes[0].get(name)):
            raise ValueError(
                f"{model.name} has {len(odd)} parameters of other shape than {parent.name}, as {odd[0]}: "
                "compare a child with its own parent"
            )
    seen: set[int] = set()
    out = []
    for name, before in states[0].items():
        if before.data_ptr() in seen or not before.is_floating_point():
            continue  # tied weights are one matrix
        seen.add(before.data_ptr())
        moved, usual = (state[name].double() - before.double() for state in states[1:])
        if moved.any() or usual.any():
            out.append(_change(name, float(before.double().norm()) or 1.0, moved, usual))
    return tuple(sorted(out, key=lambda change: -change.beyond))


def _change(name: str, size: float, moved: torch.Tensor, usual: torch.Tensor) -> MatrixChange:
    beyond, lengths = moved - usual, (float(moved.norm()), float(usual.norm()))
    share, rank, left, right = float("nan"), 0, None, None
    if beyond.ndim == 2 and beyond.any():
        u, s, v = torch.linalg.svd(beyond, full_matrices=False)
        held = torch.cumsum(s**2, 0) / (s**2).sum()
        share, rank = float(held[0]), int((held < 0.9).sum()) + 1
        left, right = u[:, 0].cpu().numpy(), v[0].cpu().numpy()
    return MatrixChange(
        name=name,
        child=lengths[0] / size,
        twin=lengths[1] / size,
        cosine=float((moved * usual).sum()) / (lengths[0] * lengths[1]) if min(lengths) > 0 else float("nan"),
        beyond=float(beyond.norm()) / size,
        concentration=share,
        rank=rank,
        left=left,
        right=right,
    )
