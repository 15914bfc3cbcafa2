from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from superalign.models import Change, LocalModel, RewardHead, apply_change
from superalign.training.lowrank import LowRank, blocks, open_top, take_out

Make = Callable[..., LocalModel]
IDS = torch.tensor([[1, 4, 5, 6, 7, 2]])


def test_training_begins_at_the_base(tiny: Make) -> None:
    network = tiny().network
    with torch.no_grad():
        before = network(input_ids=IDS).logits
    opened = open_top(network, top=2, rank=3, seed=0)
    with torch.no_grad():
        torch.testing.assert_close(network(input_ids=IDS).logits, before)
    assert len(opened) == 2 * 2 * 4  # two blocks, two factors, four matrices
    trains = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    assert trains == {id(parameter) for parameter in opened}


@pytest.mark.parametrize("top", [0, 1, 2])
def test_only_the_top_blocks_are_opened(tiny: Make, top: int) -> None:
    network = tiny().network
    opened = {id(p) for p in open_top(network, top=top, rank=2, seed=0)}
    for i, block in enumerate(blocks(network)):
        inside = {id(p) for p in block.parameters()} & opened
        assert bool(inside) == (i >= 2 - top)


def test_taking_out_leaves_the_base_and_the_change(tiny: Make) -> None:
    base = tiny()
    network = copy.deepcopy(base.network)
    original = copy.deepcopy(network.state_dict())
    opened = open_top(network, top=1, rank=2, seed=5)
    with torch.no_grad():
        for parameter in opened:
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1
        changed = network(input_ids=IDS).logits.clone()
    factors = take_out(network)
    assert network.state_dict().keys() == original.keys()
    assert all(torch.equal(value, original[key]) for key, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert len(factors) == 4
    made = apply_change(base, Change(factors=factors, head=RewardHead(base.width)), name="made")
    with torch.no_grad():
        torch.testing.assert_close(made.network(input_ids=IDS).logits, changed)
    moved = {key for key in original if not torch.equal(made.network.state_dict()[key], original[key])}
    assert moved == {f"{module}.weight" for module in factors}
    for key in moved:
        assert torch.linalg.matrix_rank(made.network.state_dict()[key] - original[key], atol=1e-4) <= 2


def test_the_seed_decides_the_start() -> None:
    first, same, other = (LowRank(4, 5, 2, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.b, same.b)
    assert not torch.equal(first.b, other.b)
    assert not first.a.any()


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear has no stack of blocks"):
        open_top(nn.Linear(3, 3), top=1, rank=1, seed=0)
