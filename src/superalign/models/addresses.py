"""Model addresses: `SCHEME:WHERE?OPTION=VALUE&…`, read strictly.

    parsed("hf:meta-llama/Llama-3.2-1B-Instruct?device=cuda:0&dtype=bfloat16&adapter=runs/lora&revision=main")

| scheme | where | options |
|---|---|---|
| family | a size of the embedded family | device |
| hf | a folder, or a repository of the Hugging Face hub | device, dtype, adapter, quantise, revision |
| vllm | the same, run by vLLM | dtype, quantise, revision |

`device` is cpu, cuda, cuda:N, mps or auto (the first there is of cuda, mps, cpu). `dtype` is float32, bfloat16, float16
or auto (as stored). `adapter` is a folder that peft saved. `quantise` is 4bit or 8bit. A character of a value that
would end it is percent-encoded: `%26` for `&`. An option that is unknown, empty or given twice is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from superalign.models.errors import ModelError

OPTIONS: dict[str, tuple[str, ...]] = {
    "family": ("device",),
    "hf": ("device", "dtype", "adapter", "quantise", "revision"),
    "vllm": ("dtype", "quantise", "revision"),
}
DTYPES = ("float32", "bfloat16", "float16", "auto")
QUANTISED = ("4bit", "8bit")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAddress:
    """Which model, and how it is to be loaded. Empty: not said."""

    scheme: str
    where: str
    device: str = ""
    """Not said: cpu, or cuda for a quantised model."""
    dtype: str = ""
    """Not said: float32, or bfloat16 for a quantised model."""
    adapter: str = ""
    quantise: str = ""
    revision: str = ""

    def __str__(self) -> str:
        """Scheme and place, without options, as messages name it."""
        return f"{self.scheme}:{self.where}"


def parsed(address: str, *, schemes: tuple[str, ...] = tuple(OPTIONS)) -> ModelAddress:
    """The parts of `address`. Raises ModelError for what is no address of `schemes`, and for wrong options.

    >>> parsed("hf:models/tiny?device=cuda:1").device
    'cuda:1'
    """
    scheme, _, rest = address.partition(":")
    where, mark, query = rest.partition("?")
    if scheme not in schemes or (not where and scheme != "family"):
        forms = " or ".join({"family": "family:SIZE"}.get(each, f"{each}:NAME-OR-PATH") for each in schemes)
        raise ModelError(f"{address!r} is no model address: write {forms}")
    options: dict[str, str] = {}
    for part in query.split("&") if mark else []:
        name, _, value = part.partition("=")
        if name not in OPTIONS[scheme]:
            raise ModelError(f"{address}: unknown option {name!r}: {scheme}: takes {', '.join(OPTIONS[scheme])}")
        if not value or name in options:
            raise ModelError(f"{address}: option {name} is {'given twice' if value else 'empty'}: write {name}=VALUE")
        options[name] = unquote(value)
    _checked(address, options)
    return ModelAddress(scheme=scheme, where=where, **options)


def _checked(address: str, options: dict[str, str]) -> None:
    for name, known in (("dtype", DTYPES), ("quantise", QUANTISED)):
        if options.get(name, known[0]) not in known:
            raise ModelError(f"{address}: {name}={options[name]}: use one of {', '.join(known)}")
    kind, colon, number = options.get("device", "cpu").partition(":")
    if kind not in ("cpu", "cuda", "mps", "auto") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise ModelError(f"{address}: device={options['device']}: use cpu, cuda, cuda:0, cuda:1, …, mps or auto")


def folder_at(address: ModelAddress) -> Path | None:
    """The folder that `address` names, whether it is there or not; None: a repository of the hub."""
    path = Path(address.where)
    return path if path.exists() or address.where.startswith((".", "/")) else None


def device_at(address: ModelAddress) -> Any:
    """The torch device of `address`. Raises ModelError for one that this machine has not."""
    import torch

    asked = address.device or ("cuda" if address.quantise else "cpu")
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(asked)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"{address}: device={asked}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here: "
            "use device=cpu, or install a torch with CUDA"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"{address}: device=mps: there is none here: use device=cpu")
    return device


def dtype_at(address: ModelAddress) -> Any:
    """The torch dtype of `address`, or "auto"."""
    import torch

    asked = address.dtype or ("bfloat16" if address.quantise else "float32")
    return asked if asked == "auto" else getattr(torch, asked)
