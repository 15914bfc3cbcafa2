"""A device that is none: tensors "on cuda:0" whose values lie on the CPU, and that fail where CUDA's would.

    with elsewhere():
        model = moved(tiny())                      # a copy whose weights are there
        record(model, sites, corpus, seed=0)       # raises where a CPU tensor meets them, or .numpy() lacks .cpu()
    same_there(lambda model: model.logprobs(["a b = c"]), tiny())           # and says what it says here

Inside the block, what is made on "cuda" or moved there is a `Far`, a tensor that says "cuda:0" and holds a CPU tensor.
It refuses `.numpy()`, and operations that mix it with CPU tensors, by PyTorch's own rules: a number (no dimensions) may
mix where an operation goes element by element, a CPU tensor may index a tensor there but not the other way round, a
generator of the CPU draws nothing there, and integers have no matrix product. Autograd, views and operations in place
are PyTorch's own. Underneath the device is "meta", the only one besides the CPU that every build has.

PyTorch's `FakeTensorMode` knows these rules too, but holds no values: code that looks at what it computed stops there.
What CUDA's kernels compute, their dtypes and their order of sums are not imitated: that takes a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from superalign.models import LocalModel

THERE, UNDERNEATH = torch.device("cuda:0"), torch.device("meta")
COPIES = ("copy_", "_to_copy", "to", "type_as", "copy")
"""What takes values from one device to the other."""
INDEXED = ("index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put")
PRODUCTS = ("mm", "bmm", "mv", "addmm", "addmv", "addbmm", "baddbmm", "dot", "matmul", "linear", "einsum")


class Far(torch.Tensor):
    """A tensor there."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Far:
        with torch.inference_mode(False):  # a view of a tensor from before inference mode is none of inference
            made: Any = torch.Tensor._make_wrapper_subclass(
                cls,
                inner.size(),
                strides=inner.stride(),
                storage_offset=inner.storage_offset(),
                dtype=inner.dtype,
                layout=inner.layout,
                device=UNDERNEATH,
            )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return performed(func, args, kwargs or {})

    device = property(lambda self: THERE)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    is_meta = property(lambda self: False)

    @property
    def data(self) -> Far:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, given: torch.Tensor) -> None:
        if not isinstance(given, Far) or given.shape != self.shape:
            raise NotImplementedError(f"{tuple(self.shape)} for {tuple(given.shape)} on {given.device}: not imitated")
        self.inner = given.inner

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
                "first."
            )
        return self.detach().cpu().numpy()

    def __array__(self, *given: Any, **named: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def untyped_storage(self) -> Any:
        return self.inner.untyped_storage()

    def __deepcopy__(self, memo: Any) -> Far:
        memo[id(self)] = made = Far(self.inner.clone()).requires_grad_(self.requires_grad)
        vars(made).update({name: value for name, value in vars(self).items() if name != "inner"})  # is it a parameter?
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """In a file as a CPU tensor: what `torch.load` makes of one from a GPU with `map_location="cpu"`."""
        return self.detach().inner.__reduce_ex__(protocol)

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.inner!r})"


def performed(func: Any, args: Any, kwargs: Any) -> Any:
    """`func` on the values, its result where PyTorch would put it. Raises RuntimeError where devices may not mix."""
    leaves = tree_leaves((args, kwargs))
    there = before = any(isinstance(each, Far) for each in leaves)
    name = func.overloadpacket.__name__
    if there:
        near = [each for each in leaves if isinstance(each, torch.Tensor) and not isinstance(each, Far)]
        if near and name not in COPIES and func._can_decompose():
            made = func.decompose(*args, **kwargs)  # by the rules of what it is made of
            if made is not NotImplemented:
                return made
        _allowed(func, name, args, kwargs, near, leaves)
    if devices := [each for each in leaves if isinstance(each, torch.device)]:
        there = devices[0] == UNDERNEATH
        _drawn_here(there, leaves)
        args, kwargs = tree_map_only(torch.device, lambda _: torch.device("cpu"), (args, kwargs))
    elif name in ("to", "type_as") and len(args) > 1 and isinstance(args[1], torch.Tensor):
        there = isinstance(args[1], Far)
    given, named = tree_map_only(Far, lambda each: each.inner, (args, kwargs))
    made = func(*given, **named)
    if there != before and any(made is each for each in given):
        made = made.clone()  # underneath nothing had to be moved
    if changed := _changed(func, args, kwargs):
        if any(isinstance(each, Far) and each.shape != each.inner.shape for each in changed):
            raise NotImplementedError(f"{func} changes a tensor's shape in place, which is not imitated")
        if all(each.alias_info is not None and each.alias_info.is_write for each in func._schema.returns):
            return changed[0] if len(func._schema.returns) == 1 else tuple(changed)
    return tree_map_only(torch.Tensor, Far, made) if there else made


def _changed(func: Any, args: Any, kwargs: Any) -> list[Any]:
    """Arguments that are changed in place."""
    told = [
        args[i] if i < len(args) else kwargs.get(argument.name)
        for i, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return [each for each in told if each is not None]


def _allowed(func: Any, name: str, args: Any, kwargs: Any, near: list[torch.Tensor], leaves: list[Any]) -> None:
    _drawn_here(True, leaves)
    if name.rstrip("_") in PRODUCTS and not next(e for e in leaves if isinstance(e, Far)).inner.is_floating_point():
        raise RuntimeError(f'"{name}_cuda" not implemented for integers')
    if not near or name in COPIES:
        return
    if name in INDEXED:
        if not isinstance(args[0], Far):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        near = [each for each in near if not any(each is index for index in args[1])]
        if all(each.dim() == 0 for each in near):
            return
    changed = _changed(func, args, kwargs)
    if (
        torch.Tag.pointwise not in func.tags
        or any(each.dim() > 0 for each in near)
        or any(each is other for each in changed for other in near)
    ):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({func})"
        )


def _drawn_here(there: bool, leaves: list[Any]) -> None:
    if there and any(isinstance(each, torch.Generator) and each.device.type == "cpu" for each in leaves):
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")


class _Operations(TorchDispatchMode):
    """Factories and copies, whose arguments need not be there yet."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return performed(func, args, kwargs or {})


class _Names(TorchFunctionMode):
    """Says "meta" where "cuda" is said, before PyTorch looks for a driver."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, named = [_named(each) for each in args], {name: _named(each) for name, each in (kwargs or {}).items()}
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and named.get("device") == UNDERNEATH:
            return func(*given, **(named | {"device": None})).to(UNDERNEATH)  # PyTorch makes none of values on "meta"
        if func is torch.Tensor.cuda:
            return given[0].to(UNDERNEATH)
        named.pop("pin_memory", None)
        if func is torch.Tensor.pin_memory:
            return given[0]
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            given[1] = tuple(map(_index, given[1])) if isinstance(given[1], tuple) else _index(given[1])
        return func(*given, **named)


def _named(told: Any) -> Any:
    if isinstance(told, str) and told.partition(":")[0] == "cuda":
        return UNDERNEATH
    return UNDERNEATH if isinstance(told, torch.device) and told.type == "cuda" else told


def _index(told: Any) -> Any:
    if not isinstance(told, list):
        return told
    return torch.tensor(told) if told else torch.zeros(0, dtype=torch.long)  # PyTorch's own would lie underneath


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """While open, there is a device "cuda:0" in this thread. Modules that are moved keep their parameters, and ties.

    Streams and events are stand-ins: nothing is ever under way.
    """
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with patch.multiple(torch.cuda, Event=MagicMock, current_stream=MagicMock()), _Operations(), _Names():
            yield THERE
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def moved(model: LocalModel) -> LocalModel:
    """A copy of a model whose weights are there, its digest as it was; inside `elsewhere` only."""
    head = None if model.head is None else copy.deepcopy(model.head).to(THERE)
    return replace(model, network=copy.deepcopy(model.network).to(THERE), head=head)


def same_there(work: Callable[..., Any], *models: LocalModel, rtol: float = 1e-3, atol: float = 1e-4) -> None:
    """What `work` gives of models here is what it gives of copies there, and the copies have stayed there."""
    here = work(*models)
    with elsewhere():
        copies = [moved(model) for model in models]
        there = work(*copies)
        assert all(copied.device == THERE for copied in copies)
        assert_alike(here, there, rtol=rtol, atol=atol)


def assert_alike(one: Any, other: Any, *, rtol: float = 1e-3, atol: float = 1e-4, at: str = "") -> None:
    """Equal, numbers to rounding, through dataclasses, mappings and sequences; a tensor may be on any device."""
    told: dict[str, Any] = {"rtol": rtol, "atol": atol}
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor), at
        np.testing.assert_allclose(other.detach().cpu(), one.detach().cpu(), err_msg=at, **told)
    elif isinstance(one, float) or (isinstance(one, np.ndarray) and one.dtype.kind == "f"):
        assert type(other) is type(one), f"{at}: {type(one)}, {type(other)}"
        np.testing.assert_allclose(other, one, err_msg=at, **told)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(other, one, err_msg=at)
    elif is_dataclass(one):
        for field in fields(one):
            assert_alike(getattr(one, field.name), getattr(other, field.name), at=f"{at}.{field.name}", **told)
    elif isinstance(one, Mapping):
        assert one.keys() == other.keys(), at
        for key in one:
            assert_alike(one[key], other[key], at=f"{at}[{key!r}]", **told)
    elif isinstance(one, Sequence) and not isinstance(one, str):
        assert len(one) == len(other), at
        for number, (mine, its) in enumerate(zip(one, other, strict=True)):
            assert_alike(mine, its, at=f"{at}[{number}]", **told)
    else:
        assert one == other, at
