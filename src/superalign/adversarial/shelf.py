"""Organisms and twins on file: those that ship with the package, and those that earlier runs made on this machine.

A pair is used again only as a pair, and only when base model, recipe and way of planting are the ones wanted and it
was fitted to at least as many labels. Whose labels they were is in the manifest, and goes into the ledger.

To make the shipped ones again:
`SUPERALIGN_CACHE=src/superalign/adversarial superalign run --organisms train --train-seeds 6`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError

from superalign.models import LocalModel, ModelError, read_manifest, unpack_change
from superalign.training.reviewer import ReviewerRecipe

PLANTING = 1
"""Version of the planted data: raised when `kinds.py` plants other texts or labels."""
Source = Literal["shipped", "stored", "trained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A pair of organism and twin: what it must have been made from."""

    kind: str
    seed: int
    base: str
    """Digest of the model that both were fitted from."""
    recipe: ReviewerRecipe
    pairs: int
    """Labelled pairs that both were fitted to, at least."""

    def file(self, *, planted: bool) -> str:
        """Name of its file; the digest of the base keeps models apart."""
        return f"{self.kind}-{self.seed}-{'organism' if planted else 'twin'}-{self.base[:12]}.safetensors"

    def notes(self, *, planted: bool, labels: str) -> dict[str, Any]:
        """What the manifest says of how it was made; `labels` is the digest of the honest labels."""
        recipe = asdict(self.recipe)
        made = {"kind": self.kind, "seed": self.seed, "recipe": recipe, "pairs": self.pairs, "planting": PLANTING}
        return made | {"planted": planted, "labels": labels}

    def fits(self, manifest: Mapping[str, Any], *, planted: bool) -> bool:
        """May the packed model with this manifest be used for it?"""
        notes = manifest.get("notes", {})
        want = self.notes(planted=planted, labels=notes.get("labels", ""))
        same = all(notes.get(key) == value for key, value in want.items() if key != "pairs")
        return same and manifest.get("base") == self.base and notes.get("pairs", 0) >= self.pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A pair on file."""

    organism: bytes
    twin: bytes
    labels: str
    """Digest of the honest labels that both were fitted to or planted over."""
    source: Source


def shelves() -> dict[Source, Path]:
    """Folders that are looked into, in this order: the package's own, then this machine's."""
    cache = Path(os.environ.get("SUPERALIGN_CACHE") or Path.home() / ".cache" / "superalign")
    return {"shipped": Path(str(files("superalign.adversarial"))) / "organisms", "stored": cache / "organisms"}


def find(wanted: Wanted, base: LocalModel) -> Found | None:
    """The pair from the first shelf that holds both, fitted to the same labels; or None.

    Raises ModelError, with its path, for a file that is damaged or does not make the weights that it promises.
    """
    for source, folder in shelves().items():
        paths = [folder / wanted.file(planted=planted) for planted in (True, False)]
        if not all(path.exists() for path in paths):
            continue
        (organism, first), (twin, second) = (_read(path, base) for path in paths)
        labels = {manifest.get("notes", {}).get("labels", "") for manifest in (first, second)}
        if len(labels) == 1 and wanted.fits(first, planted=True) and wanted.fits(second, planted=False):
            return Found(organism=organism, twin=twin, labels=labels.pop(), source=source)
    return None


def _read(path: Path, base: LocalModel) -> tuple[bytes, dict[str, Any]]:
    data = path.read_bytes()
    try:
        manifest = read_manifest(data)
        if manifest["base"] == base.digest:
            unpack_change(data, base, allow_organism=True)
    except (ModelError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{path}: a damaged organism ({error}): delete it, it will be trained again") from error
    return data, manifest


def keep(wanted: Wanted, data: bytes, *, planted: bool) -> Path:
    """Put one packed organism or twin on this machine's shelf."""
    return put(wanted.file(planted=planted), data)


def put(name: str, data: bytes) -> Path:
    """Put one file on this machine's shelf; a reader sees all of it or nothing."""
    path = shelves()["stored"] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)
    return path
