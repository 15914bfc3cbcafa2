"""The device that is none fails where CUDA's tensors do, and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from superalign.models import RewardHead

from .elsewhere import THERE, Far, elsewhere, moved

ON = {"device": "cuda"}
MIXED = "at least two devices"


def far(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape).to("cuda")


def test_values_and_gradients_are_those_of_the_cpu(tiny: Callable[..., Any]) -> None:
    here = tiny()
    ids = torch.tensor([[1, 4, 5, 6, 7]])
    with elsewhere():
        there = moved(here)
        assert there.device == THERE
        assert all(isinstance(each, Far) for each in there.network.parameters())
        assert copy.deepcopy(there).device == THERE
        losses = [m.network(input_ids=i, labels=i).loss for m, i in ((here, ids), (there, ids.to(THERE)))]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(losses[0], losses[1].cpu())
        for one, two in zip(here.network.parameters(), there.network.parameters(), strict=True):
            assert two.grad.device == THERE
            torch.testing.assert_close(one.grad, two.grad.cpu(), rtol=1e-4, atol=1e-5)


def test_tensors_that_are_made_or_moved_there_are_there() -> None:
    with elsewhere(), torch.inference_mode():
        made = [
            torch.zeros(2, **ON), torch.tensor([1.0, 2.0], **ON), torch.as_tensor(np.ones(2), **ON),
            torch.ones(2).cuda(), torch.ones(2).to("cuda:0"), torch.ones(2).to(THERE, torch.float64),
            torch.ones(2).to(far(1)), torch.ones(2).pin_memory().to(THERE, non_blocking=True),
            torch.arange(2, **ON), far(2).new_zeros(2), torch.zeros_like(far(2)), far(2)[0] + 1, far(2).clone().add_(1),
        ]  # fmt: skip
        assert {each.device for each in made} == {THERE}
        back = [far(2).cpu(), far(2).to("cpu"), far(2).to(torch.zeros(1)), torch.zeros(2), torch.ones(2).new_zeros(1)]
        assert {each.device.type for each in back} == {"cpu"}
        assert far(2).tolist() == [0.0, 1.0]
        assert float(far(3).sum()) == 3.0


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "sum": (lambda: far(2) + torch.ones(2), MIXED),
    "number and vector": (lambda: torch.ones(2) + far(2).sum(), MIXED),
    "product": (lambda: far(2, 2) @ torch.ones(2, 2), MIXED),
    "linear": (lambda: torch.nn.functional.linear(far(2, 2), torch.ones(2, 2)), MIXED),
    "embedding": (lambda: torch.nn.functional.embedding(torch.tensor([0]), far(2, 2)), MIXED),
    "where": (lambda: torch.where(torch.tensor([True, False]), far(2), far(2)), MIXED),
    "masked": (lambda: far(2).masked_fill(torch.tensor([True, False]), 0), MIXED),
    "cat": (lambda: torch.cat([far(2), torch.ones(2)]), MIXED),
    "stack of numbers": (lambda: torch.stack([far(2).sum(), torch.tensor(1.0)]), MIXED),
    "gather": (lambda: far(2, 2).gather(1, torch.tensor([[0], [1]])), MIXED),
    "index_add_": (lambda: torch.zeros(2).index_add_(0, far(2).long(), far(2)), MIXED),
    "in place": (lambda: torch.ones(2).add_(far(2)), MIXED),
    "number in place": (lambda: torch.ones(()).add_(far(2).sum()), MIXED),
    "put": (lambda: far(2).index_put_((torch.tensor([0, 1]),), torch.ones(2)), MIXED),
    "indexed": (lambda: torch.ones(2)[far(2).long()], "indices should be either on cpu"),
    "numpy": (lambda: far(2).numpy(), "can't convert cuda:0 device type tensor to numpy"),
    "asarray": (lambda: np.asarray(far(2)), "can't convert cuda:0"),
    "ufunc": (lambda: np.exp(far(2)), "can't convert cuda:0"),
    "list": (lambda: np.stack([far(2), far(2)]), "can't convert cuda:0"),
    "generator": (lambda: torch.multinomial(far(3), 1, generator=torch.Generator()), "device type for generator"),
    "drawn": (lambda: torch.randn(2, generator=torch.Generator(), **ON), "device type for generator"),
    "integers": (lambda: far(2, 2).long() @ far(2, 2).long(), "not implemented for integers"),
}


@pytest.mark.parametrize("inference", [True, False])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses_is_refused(name: str, inference: bool) -> None:
    done, why = REFUSED[name]
    with elsewhere(), torch.inference_mode(inference), pytest.raises((RuntimeError, TypeError), match=why):
        done()


GRANTED: dict[str, tuple[Callable[[], Any], list[float]]] = {
    "number": (lambda: far(2) * torch.tensor(3.0), [0, 3]),
    "number first": (lambda: torch.tensor(3.0) + far(2), [3, 4]),
    "where": (lambda: torch.where(far(2) > 0, far(2), torch.tensor(5.0)), [5, 1]),
    "indexed": (lambda: far(3)[torch.tensor([2, 1])], [2, 1]),
    "masked": (lambda: far(3)[torch.tensor([True, False, True])], [0, 2]),
    "indexed by a number": (lambda: torch.ones(2)[far(2).long()[1]].reshape(1), [1]),
    "put": (lambda: far(2).index_put_((torch.tensor([0]),), torch.tensor(9.0)), [9, 1]),
    "list": (lambda: far(3)[[2, 1]], [2, 1]),
    "lists": (lambda: far(2, 2)[[1, 0], [0, 1]], [2, 1]),
    "list set": (lambda: _written(far(2, 2), [1]), [0, 7, 2, 7]),
    "numpy array": (lambda: far(3)[np.array([1, 2])], [1, 2]),
    "copied": (lambda: far(2).copy_(torch.ones(2)), [1, 1]),
    "copied back": (lambda: torch.zeros(2).copy_(far(2)), [0, 1]),
    "moved is another": (lambda: _moved(torch.zeros(2)), [0, 0]),
    "moved back is another": (lambda: _moved(far(2)), [0, 1]),
    "new data": (lambda: _replaced(far(2), far(2) + 5), [5, 6]),
    "written through data": (lambda: _replaced(far(2)), [9, 9]),
    "written through a view": (lambda: _written(far(2, 2)), [0, 7, 2, 7]),
}


def _written(table: torch.Tensor, column: Any = 1) -> torch.Tensor:
    table[:, column] = 7
    return table.reshape(-1)


def _moved(values: torch.Tensor) -> torch.Tensor:
    other = values.to("cpu" if isinstance(values, Far) else "cuda")
    values.add_(1)
    return other


def _replaced(values: torch.Tensor, new: torch.Tensor | None = None) -> torch.Tensor:
    if new is None:
        values.data.fill_(9)
    else:
        values.data = new
    return values


@pytest.mark.parametrize("inference", [True, False])
@pytest.mark.parametrize("name", GRANTED)
def test_what_cuda_grants_is_granted(name: str, inference: bool) -> None:
    done, values = GRANTED[name]
    with elsewhere(), torch.inference_mode(inference):
        assert done().tolist() == values


def test_a_head_goes_with_its_model(tiny: Callable[..., Any]) -> None:
    from dataclasses import replace

    with elsewhere():
        there = moved(replace(tiny(), head=RewardHead(16)))
        assert there.head is not None
        assert {each.device for each in there.head.parameters()} == {THERE}
        assert there.sealed().digest == replace(tiny(), head=there.head.to("cpu")).sealed().digest
