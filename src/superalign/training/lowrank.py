"""Low-rank changes of weights (Hu et al. 2021, 2106.09685, §4.1), by torch's own parametrisations."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """weight → weight + a @ b, a zero at the start, so that training begins at the base model."""

    def __init__(self, rows: int, columns: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(rows, rank))
        self.b = nn.Parameter(torch.randn(rank, columns, generator=generator) / rank**0.5 * 0.1)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The changed weight."""
        return weight + self.a @ self.b


def blocks(network: nn.Module) -> nn.ModuleList:
    """The network's stack of blocks: its longest ModuleList. Raises ValueError when it has none."""
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"{type(network).__name__} has no stack of blocks to train")
    return max(lists, key=len)


def open_top(network: nn.Module, *, top: int, rank: int, seed: int) -> list[nn.Parameter]:
    """Freeze `network` but for low-rank changes of every matrix in its `top` last blocks; returns what trains."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    opened: list[nn.Parameter] = []
    for block in list(blocks(network))[-top:] if top else []:
        for module in list(block.modules()):
            weight = getattr(module, "weight", None)
            if isinstance(weight, nn.Parameter) and weight.ndim == 2:
                change = LowRank(*weight.shape, rank, generator)
                parametrize.register_parametrization(module, "weight", change)
                opened += [change.a, change.b]
    return opened


def take_out(network: nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Remove all low-rank changes: module name → factors a (rows, rank), b (rank, columns). Base weights stay."""
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, module in list(network.named_modules()):
        if parametrize.is_parametrized(module, "weight"):
            change = module.parametrizations.weight[0]
            factors[name] = (change.a.detach().clone(), change.b.detach().clone())
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return factors
