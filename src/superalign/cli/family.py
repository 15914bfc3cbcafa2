"""`superalign family`: list the embedded models, or train one again from scratch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyConfig:
    """Which family member, and where to."""

    action: tyro.conf.Positional[Literal["list", "train"]] = "list"
    """List what ships, or train."""
    size: str = "xs"
    """xs, s, m or l."""
    out: Path | None = None
    """Folder to train into; default ./family-SIZE. Training that was stopped goes on there."""
    steps: int | None = None
    """Fewer steps than the recipe's, for a trial."""
    seed: int = 0
    """Seed of weights and batches."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(config: Annotated[FamilyConfig, tyro.conf.arg(name="")]) -> None:
    """List the embedded models, or train one again from scratch: resumable, seeded, from the pinned corpus."""
    from superalign.evidence import SuperalignError

    if config.action == "list":
        _list(config)
        return
    from rich.console import Console
    from rich.progress import Progress

    from superalign.training.family import SIZES, train_family

    if config.size not in SIZES:
        raise SuperalignError(f"unknown family size {config.size!r}: use one of {', '.join(SIZES)}")
    out = config.out or Path(f"family-{config.size}")
    if config.size == "l":
        Console(stderr=True).print("family l: finding faults in the corpus, a minute or two")
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"family {config.size}", total=config.steps or SIZES[config.size].steps)

        def show(step: int, total: int, loss: float) -> None:
            progress.update(bar, completed=step, description=f"family {config.size}, loss {loss:.3f}")

        recipe = train_family(config.size, out, seed=config.seed, steps=config.steps, progress=show)
    print(
        json.dumps(recipe) if config.json else f"{out}: loss {recipe['loss']}, corpus {recipe['corpus_sha256'][:12]}…"
    )


def _list(config: FamilyConfig) -> None:
    from importlib.resources import files

    root = Path(str(files("superalign.models").joinpath("weights")))
    for path in sorted(root.glob("*/recipe.json")):
        recipe = json.loads(path.read_text(encoding="utf-8"))
        row = {key: recipe[key] for key in ("size", "parameters", "steps", "loss", "corpus_sha256")}
        print(
            json.dumps(row)
            if config.json
            else f"family:{row['size']:3} {row['parameters']:>9,} parameters, loss {row['loss']}"
        )
