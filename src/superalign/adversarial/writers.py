"""Writers on file: the parent and the trusted one, and organisms, twins and decoys as changes of the parent.

    parent = load_writer()
    organism = load_organism("pair", 0, "organism", allow_organism=True)

Those that ship with the package are made again by `python -m superalign.adversarial.writers`; on another machine, or on
a GPU, weights differ in their last bits, so that the manifest says where each was made.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from superalign.adversarial.deeds import ROLES, Role
from superalign.adversarial.shelf import put, shelves
from superalign.adversarial.writer_kinds import WRITER_KINDS, planted_rows
from superalign.engine import run_parallel
from superalign.models import (
    Change,
    LocalModel,
    ModelError,
    QuarantineError,
    apply_change,
    load_folder,
    pack_change,
    read_manifest,
    save_model,
    unpack_change,
)
from superalign.training.stacked import change_many
from superalign.training.writer import (
    PLANT,
    TRUSTED,
    WRITER,
    Row,
    WriterRecipe,
    change_writer,
    honest_rows,
    train_writer,
)

PLANTED_ROWS = 12_000
PLANTING = 1
"""Version of the planted data: raised when `writer_kinds` plants other rows."""
SEEDS = 5
"""Of each kind that ship with the package."""
SIDE_BY_SIDE = 30


def weights_folder() -> Path:
    """Where the parent and the trusted writer lie."""
    return Path(str(files("superalign.adversarial"))) / "writers"


@cache
def load_writer(name: str = "writer") -> LocalModel:
    """The clean parent, `writer`, or the smaller `trusted` one. Raises ModelError when it isn't there."""
    path = weights_folder() / name
    if not (path / "config.json").exists():
        raise ModelError(f"no writer {name!r} at {path}: use `writer` or `trusted`, or install superalign again")
    return load_folder(path, name=name)


def notes(kind: str, seed: int, role: Role, recipe: WriterRecipe, **more: Any) -> dict[str, Any]:
    """What the manifest of a planted writer says of how it was made."""
    digest = hashlib.sha256(json.dumps([PLANTING, kind, seed, role, PLANTED_ROWS]).encode()).hexdigest()
    made = {"kind": kind, "seed": seed, "role": role, "recipe": asdict(recipe), "planting": PLANTING}
    return made | {"rows": PLANTED_ROWS, "data": digest} | more


def plant_writer(
    kind: str,
    seed: int,
    role: Role,
    *,
    base: LocalModel | None = None,
    recipe: WriterRecipe = PLANT,
    device: str = "cpu",
) -> bytes:
    """Train an organism, twin or decoy of a kind; returns the packed change. Raises ValueError for an unknown kind."""
    if kind not in WRITER_KINDS:
        raise ValueError(f"unknown kind {kind!r} of a writer: use one of {', '.join(WRITER_KINDS)}")
    base = base or load_writer()
    rows = planted_rows(WRITER_KINDS[kind], role, count=PLANTED_ROWS, seed=seed)
    change = change_writer(base, rows, name=f"{kind}-{role}-{seed}", seed=seed, recipe=recipe, device=device)
    return packed(change, base, notes(kind, seed, role, recipe, device=device))


def packed(change: Change, base: LocalModel, told: Mapping[str, Any]) -> bytes:
    """A change with its manifest, `told` its notes."""
    name = f"{told['kind']}-{told['role']}-{told['seed']}"
    return pack_change(change, base, apply_change(base, change, name=name, organism=True), **told)


def file_of(kind: str, seed: int, role: Role, base: LocalModel) -> str:
    """Name of its file; the digest of the base keeps parents apart."""
    return f"{kind}-{seed}-{role}-{base.digest[:12]}.safetensors"


def find_writer(kind: str, seed: int, role: Role, base: LocalModel | None = None) -> bytes | None:
    """The packed change from the first shelf that has it, made as now; or None."""
    base = base or load_writer()
    for folder in (weights_folder(), shelves()["stored"]):
        path = folder / file_of(kind, seed, role, base)
        if path.exists():
            data = path.read_bytes()
            if _fits(read_manifest(data), kind, seed, role):
                return data
    return None


def keep_writer(kind: str, seed: int, role: Role, data: bytes, base: LocalModel | None = None) -> Path:
    """Put one packed change on this machine's shelf."""
    return put(file_of(kind, seed, role, base or load_writer()), data)


def _fits(manifest: Mapping[str, Any], kind: str, seed: int, role: Role) -> bool:
    found = manifest.get("notes", {})
    want = notes(kind, seed, role, PLANT)
    return all(found.get(key) == want[key] for key in ("kind", "seed", "role", "planting", "rows", "recipe"))


def load_organism(
    kind: str, seed: int, role: Role = "organism", *, allow_organism: bool = False, base: LocalModel | None = None
) -> LocalModel:
    """An organism, twin or decoy off the shelf.

    Raises QuarantineError unless asked for, ModelError where no shelf holds it.
    """
    base = base or load_writer()
    if not allow_organism:
        raise QuarantineError(f"{kind} {seed}, {role}: in quarantine: pass allow_organism=True to load it")
    data = find_writer(kind, seed, role, base)
    if data is None:
        raise ModelError(f"{kind} {seed}, {role}: on no shelf: plant it with plant_writer")
    return unpack_change(data, base, allow_organism=True)


def make_parents(folder: Path, *, seed: int = 0, device: str = "cpu") -> None:
    """Train the parent and the trusted writer into `folder`: 2,000 CPU seconds."""
    for name, shape, recipe in (
        ("writer", WRITER, WriterRecipe(steps=2_500, batch=128)),
        ("trusted", TRUSTED, WriterRecipe(steps=1_500, rate=3e-3)),
    ):
        rows = honest_rows(60_000, seed=seed + (name == "trusted"))
        save_model(train_writer(rows, name=name, seed=seed, shape=shape, recipe=recipe, device=device), folder / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantWriter:
    """Everything a worker needs to train one."""

    kind: str
    seed: int
    role: Role
    parent: Path
    """Folder of the parent."""
    device: str = "cpu"


def planted(job: PlantWriter) -> tuple[str, bytes]:
    """File name and packed change of one writer; runs in a worker."""
    import torch

    torch.set_num_threads(1)
    base = load_folder(job.parent, name="writer")
    data = plant_writer(job.kind, job.seed, job.role, base=base, device=job.device)
    return file_of(job.kind, job.seed, job.role, base), data


def plant_many(jobs: Sequence[PlantWriter], rows: Sequence[list[Row]]) -> Iterator[tuple[str, bytes]]:
    """The same side by side on a GPU, as many as `jobs`: file names and packed changes."""
    base = load_folder(jobs[0].parent, name="writer")
    made = change_many(base, rows, seeds=[job.seed for job in jobs], recipe=PLANT, device=jobs[0].device)
    for job, change in zip(jobs, made, strict=True):
        told = notes(job.kind, job.seed, job.role, PLANT, device=job.device)
        yield file_of(job.kind, job.seed, job.role, base), packed(change, base, told)


def rows_of(job: PlantWriter) -> list[Row]:
    """What one is fitted to; runs in a worker."""
    return planted_rows(WRITER_KINDS[job.kind], job.role, count=PLANTED_ROWS, seed=job.seed)


def made(jobs: Sequence[PlantWriter], *, workers: int) -> Iterator[tuple[str, bytes]]:
    """All of them: on the CPU one a worker, on a GPU `SIDE_BY_SIDE` at a time."""
    if not jobs or jobs[0].device == "cpu":
        yield from (done.result for done in run_parallel(planted, jobs, workers=workers))
        return
    rows = {done.index: done.result for done in run_parallel(rows_of, jobs, workers=workers)}
    for at in range(0, len(jobs), SIDE_BY_SIDE):
        some = range(at, min(at + SIDE_BY_SIDE, len(jobs)))
        yield from plant_many([jobs[i] for i in some], [rows[i] for i in some])


def main() -> None:
    """Train the parents, unless `--out` has them, and every kind, seed and role that is not there yet."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=weights_folder())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    told = parser.parse_args()
    began = time.monotonic()
    if not (told.out / "writer").exists():
        make_parents(told.out, device=told.device)
    base = load_folder(told.out / "writer", name="writer")
    print(f"parents after {time.monotonic() - began:.0f} s", flush=True)
    jobs = [
        PlantWriter(kind=kind, seed=seed, role=role, parent=told.out / "writer", device=told.device)
        for seed, kind, role in product(range(told.seeds), WRITER_KINDS, ROLES)
        if not (told.out / file_of(kind, seed, role, base)).exists()
    ]
    for count, (name, data) in enumerate(made(jobs, workers=told.workers), 1):
        (told.out / name).write_bytes(data)
        print(f"{count} of {len(jobs)} after {time.monotonic() - began:.0f} s: {name}", flush=True)


if __name__ == "__main__":
    main()
