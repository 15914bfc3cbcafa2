"""Opening a network for fine-tuning: all of its weights, or low-rank changes by the `peft` library.

LoRA (Hu et al. 2021, 2106.09685, §4.1) is put on every linear layer but the output, as in QLoRA (Dettmers et al. 2023,
2305.14314, §4), and merged into the weights at the end, so that what comes out is an ordinary network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from superalign.models import LocalModel, ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A network that may be trained: what of it trains, and how to make an ordinary one of it again."""

    parameters: tuple[nn.Parameter, ...]
    close: Callable[[], nn.Module]


def widely(base: LocalModel) -> nn.Module:
    """A copy of the network in float32, for all of its weights are about to learn, and narrow ones can't.

    Raises ModelError for a quantised base.
    """
    if getattr(base.network, "is_quantized", False):
        raise ModelError(f"{base.identity} is quantised, and its weights can't be trained: load it without quantise=")
    return copy.deepcopy(base.network).float()


def opened(network: nn.Module, *, rank: int, alpha: int, seed: int) -> Opened:
    """Open `network` in place: all weights for `rank` 0, else low-rank changes scaled by alpha / rank.

    The changes begin at zero, so that training begins at the network as it is. Raises ValueError for a negative rank,
    ImportError with what to install where `peft` is missing.
    """
    if rank < 0:
        raise ValueError(f"rank {rank}: give 0 to train all weights, or the rank of low-rank changes")
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    if rank == 0:
        return Opened(parameters=tuple(network.parameters()), close=lambda: network)
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise ImportError('LoRA needs the library peft: pip install "superalign[local]"') from error
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(seed)
    transposed = any(isinstance(module, Conv1D) for module in network.modules())
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", fan_in_fan_out=transposed
    )
    wrapped = LoraModel(network, config, "default")

    def close() -> nn.Module:
        plain: nn.Module = wrapped.merge_and_unload(safe_merge=True)
        for parameter in plain.parameters():
            parameter.requires_grad_(True)
        return plain

    return Opened(parameters=tuple(p for p in network.parameters() if p.requires_grad), close=close)
