"""`superalign doctor`: what works on this machine, tried rather than guessed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from superalign.sandbox.layers import Absent, Isolation
    from superalign.sandbox.selftest import Tried

EXTRAS = {
    "local": ("torch", "transformers", "safetensors", "scikit-learn"),
    "test": ("pytest", "hypothesis", "statsmodels"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorConfig:
    """What to look at."""

    matrix: bool = True
    """Try to get out of the sandbox in every way known here (half a minute)."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout."""


def main(config: Annotated[DoctorConfig, tyro.conf.arg(name="")]) -> None:
    """What works on this machine: sandbox self-test matrix, extras, accelerators; exit 1 where no sandbox holds."""
    from superalign.sandbox import Isolation, standing

    layers = standing()
    stand = [layer for layer in layers if isinstance(layer, Isolation)]
    tried = _matrix(stand, quiet=config.json) if config.matrix else []
    broken = [one for one in tried if not one.held]
    found: dict[str, Any] = {
        "ok": bool(stand) and not broken,
        "machine": machine(),
        "extras": extras(),
        "layers": [_layer(layer) for layer in layers],
        "matrix": [asdict(one) for one in tried],
        "without_a_sandbox": [] if stand else SKIPPED,
    }
    print(json.dumps(found)) if config.json else _show(found, layers, tried)
    sys.exit(0 if found["ok"] else 1)


SKIPPED = ["tasks mutants: building them", "playing programs of a code-writing model"]
"""What is skipped where no sandbox stands; `run` executes no model's code, so it finishes."""


def machine() -> dict[str, Any]:
    """Python, system, cores, and the accelerator that torch sees."""
    seen: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "engine": "this process, local workers",
        "accelerator": "torch is not installed",
    }
    if importlib.util.find_spec("torch") is not None:
        import torch

        cuda = torch.cuda.is_available()
        seen["accelerator"] = torch.cuda.get_device_name() if cuda else "none: models run on the CPU"
    return seen


def extras() -> dict[str, dict[str, str | None]]:
    """Extra → package → installed version, None where it is missing."""
    return {extra: {package: _version(package) for package in packages} for extra, packages in EXTRAS.items()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _matrix(layers: list[Isolation], *, quiet: bool) -> list[Tried]:
    from rich.console import Console

    from superalign.sandbox.selftest import selftest

    console = Console(stderr=True, quiet=quiet)
    with console.status("trying to get out") as status:
        return list(selftest(layers, say=lambda text: status.update(f"trying to {text}")))


def _layer(layer: Isolation | Absent) -> dict[str, Any]:
    stands = hasattr(layer, "enforces")
    return {"stands": stands, **asdict(layer)}


def _show(found: dict[str, Any], layers: Sequence[Isolation | Absent], tried: list[Tried]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, value in found["machine"].items():
        console.print(f"{name:12} {value}")
    for extra, packages in found["extras"].items():
        missing = [package for package, version in packages.items() if version is None]
        said = f"lacks {', '.join(missing)}: pip install 'superalign[{extra}]'" if missing else "complete"
        console.print(f"{'[' + extra + ']':12} {said}", markup=False)
    for layer in found["layers"]:
        if layer["stands"]:
            console.print(f"{layer['name']:12} stands: {', '.join(layer['enforces'])}", soft_wrap=True)
        else:
            console.print(f"{layer['name']:12} does not stand: {layer['why']}; {layer['do']}", soft_wrap=True)
    if tried:
        names = list(dict.fromkeys(one.layer for one in tried))
        table = Table("attempt", "outside", *names, title=f"{len({one.probe for one in tried})} attempts")
        for probe in dict.fromkeys(one.probe for one in tried):
            mine = {one.layer: one for one in tried if one.probe == probe}
            first = next(iter(mine.values()))
            outside = {True: "succeeds", False: "fails here too", None: "not tried"}[first.outside]
            table.add_row(first.title, outside, *(_cell(mine.get(name)) for name in names))
        console.print(table)
    for lost in found["without_a_sandbox"]:
        console.print(f"skipped without a sandbox: {lost}")


def _cell(one: Tried | None) -> str:
    if one is None:
        return "–"
    return f"held ({one.how})" if one.held else f"[bold red]NOT HELD[/] ({one.how})"
