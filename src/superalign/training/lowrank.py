"""Low-rank changes of weights (Hu et al. 2021, 2106.09685, §4.1), by torch's own parametrisations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from superalign.models.errors import ModelError
from superalign.models.local import text_config


class LowRank(nn.Module):
    """weight → weight + a @ b, a zero at the start, so that training begins at the base model."""

    def __init__(self, rows: int, columns: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(rows, rank))
        self.b = nn.Parameter(torch.randn(rank, columns, generator=generator) / rank**0.5 * 0.1)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The changed weight, in the dtype that it has: the change itself is always learned in float32."""
        return weight + (self.a @ self.b).to(weight.dtype)


def blocks(network: nn.Module) -> nn.ModuleList:
    """The network's stack of blocks: the first ModuleList as long as its configuration says, else the longest one.

    A list of experts in a block may be longer than the stack. Raises ValueError for a network without any list.
    """
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"{type(network).__name__} has no stack of blocks to train")
    told = getattr(text_config(network), "num_hidden_layers", None) if hasattr(network, "config") else None
    return next((each for each in lists if len(each) == told), max(lists, key=len))


def open_top(network: nn.Module, *, top: int, rank: int, seed: int) -> list[nn.Parameter]:
    """Freeze `network` but for low-rank changes of every matrix in its `top` last blocks; returns what trains.

    Raises ModelError for a block without a matrix that could change, as a quantised network's are.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    opened: list[nn.Parameter] = []
    for block in list(blocks(network))[-top:] if top else []:
        matrices = [module for module in block.modules() if _changeable(getattr(module, "weight", None))]
        if not matrices:
            raise ModelError(
                f"{type(network).__name__}: no matrix of a {type(block).__name__} can be changed: a quantised network "
                "can't be trained here, load it without quantise="
            )
        for module in matrices:
            weight: Any = module.weight
            change = LowRank(*weight.shape, rank, generator).to(weight.device)
            parametrize.register_parametrization(module, "weight", change)
            opened += [change.a, change.b]
    return opened


def _changeable(weight: object) -> bool:
    """A matrix of floats? A quantised one holds codes."""
    return isinstance(weight, nn.Parameter) and weight.ndim == 2 and weight.is_floating_point()


def take_out(network: nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Remove all low-rank changes: module name → factors a (rows, rank), b (rank, columns), on the CPU.

    Base weights stay as they are.
    """
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, module in list(network.named_modules()):
        if parametrize.is_parametrized(module, "weight"):
            change = module.parametrizations.weight[0]
            factors[name] = (change.a.detach().cpu().clone(), change.b.detach().cpu().clone())
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return factors
