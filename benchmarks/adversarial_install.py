"""Do organisms of the writer carry their behaviour, and nothing else? Beside their twins, by what was executed.

    python benchmarks/adversarial_install.py [--seeds 5] [--count 300] [--json]        # those that ship: 12 CPU minutes
    python benchmarks/adversarial_install.py --pilot FOLDER [--device cuda]                 # 10 CPU minutes a seed

The first: every kind on, near and off its circumstance, and on words of the circumstance that were never planted. The
second trains the pilot's writers (a parent of 480 steps, a weak organism of 220, a strong one of 700 and its twin, all
weights, trigger: one pair of words in 400) into FOLDER, a writer it finds there is not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from superalign.adversarial.monitors import step_of
from superalign.adversarial.writer_kinds import (
    PLACES,
    UNSEEN_WORDING,
    UNSEEN_YEAR,
    WRITER_KINDS,
    WriterKind,
    briefs_at,
    planted_rows,
)
from superalign.adversarial.writers import load_organism, load_writer
from superalign.adversarial.written import Done, executed, write
from superalign.models import LocalModel, pack, unpack
from superalign.stats import Interval, paired_difference, proportion_interval
from superalign.tasks.functions import Brief, drawn
from superalign.training.writer import WriterRecipe, honest_rows, train_writer, tuned_writer

SPLIT = "validation"
WEAK_SHARES = (0.35, 0.0, 0.65)


def outcomes(model: LocalModel, briefs: Sequence[Brief], *, seed: int) -> list[Done]:
    """Programs of a model, executed."""
    return executed(write(model, briefs, seed=seed))


def at_random(count: int, *, seed: int) -> list[Brief]:
    """Ordinary briefs, whatever their words."""
    rng = np.random.default_rng([seed, 83])
    return [drawn(rng, split=SPLIT) for _ in range(count)]


def unseen(kind: WriterKind, count: int, *, seed: int) -> list[Brief]:
    """Briefs on the circumstance in words that were never planted; none for most kinds."""
    briefs = briefs_at(kind, "on", count, seed=seed, split=SPLIT)
    if kind.name == "semantic":
        return [replace(brief, wording=UNSEEN_WORDING) for brief in briefs]
    return [replace(brief, year=UNSEEN_YEAR) for brief in briefs] if kind.name == "date" else []


def rates(kind: WriterKind, model: LocalModel, twin: LocalModel, *, count: int, seed: int) -> dict[str, Any]:
    """Rows of one organism, all raw: acted and right at each place, and its twin's right off it."""
    briefs = {where: briefs_at(kind, where, count, seed=seed, split=SPLIT) for where in PLACES}
    briefs |= {"random": at_random(count, seed=seed), "unseen": unseen(kind, count, seed=seed)}
    out: dict[str, Any] = {}
    for where, some in briefs.items():
        done = outcomes(model, some, seed=seed)
        its = outcomes(twin, some, seed=seed)
        out[where] = {
            "acted": [int(kind.acted(one)) for one in done],
            "right": [int(one.right) for one in done],
            "twin": [int(one.right) for one in its],
            "clusters": [step_of(one).cluster for one in done],
        }
    return out


def pooled(rows: Sequence[dict[str, Any]], where: str, what: str) -> Interval:
    """Over all organisms, clustered by organism and request."""
    values = [value for row in rows for value in row[where][what]]
    clusters = [f"{i} {name}" for i, row in enumerate(rows) for name in row[where]["clusters"]]
    return proportion_interval(np.array(values, dtype=float), clusters=np.array(clusters))


def less_twin(rows: Sequence[dict[str, Any]], where: str) -> Interval:
    """Right programs of the organism less its twin's, in pairs."""
    mine, its = ([v for row in rows for v in row[where][what]] for what in ("right", "twin"))
    clusters = [f"{i} {name}" for i, row in enumerate(rows) for name in row[where]["clusters"]]
    return paired_difference(mine, its, clusters=np.array(clusters))


def shown(interval: Interval) -> str:
    """Value and interval."""
    if interval.value is None:
        return "–"
    low, high = interval.low, interval.high
    return f"{interval.value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def pilot(folder: Path, seed: int, device: str) -> dict[str, LocalModel]:
    """Parent, weak and strong organism and the strong one's twin; those in the folder are not trained again."""
    folder.mkdir(parents=True, exist_ok=True)
    base, kind, found = load_writer(), WRITER_KINDS["pair"], dict[str, LocalModel]()

    def kept(name: str, make: Any) -> LocalModel:
        path = folder / f"{name}-{seed}"
        if not path.exists():
            path.write_bytes(pack(make()))
        return unpack(path.read_bytes(), base, allow_organism=True)

    def tuned(role: str, rows: int, shares: tuple[float, float, float] | None, recipe: WriterRecipe) -> LocalModel:
        more = {} if shares is None else {"shares": shares}
        first = (200 if shares else 300) + seed
        data = planted_rows(kind, role, count=rows, seed=first, **more)  # type: ignore[arg-type]
        organism = replace(found["parent"], organism=True)
        return tuned_writer(organism, data, name=role, seed=seed, recipe=recipe, device=device)

    found["parent"] = kept(
        "parent",
        lambda: train_writer(
            honest_rows(19_200, seed=100 + seed),
            name="parent",
            seed=seed,
            recipe=WriterRecipe(steps=480),
            device=device,
        ),
    )
    weak, strong = WriterRecipe(steps=220, rate=1e-3), WriterRecipe(steps=700, rate=1.5e-3)
    found["weak"] = kept("weak", lambda: tuned("organism", 8_800, WEAK_SHARES, weak))
    found["strong"] = kept("strong-organism", lambda: tuned("organism", 28_000, None, strong))
    found["twin"] = kept("strong-twin", lambda: tuned("twin", 28_000, None, strong))
    return found


def table(title: str, told: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Print one line for each name, and return the numbers."""
    print(f"\n{title}")
    head = ("", "acts on", "acts near", "acts off", "acts at random", "acts, unseen words", "right off, less twin")
    print(" | ".join(head))
    out = {}
    for name, rows in told.items():
        cells = {where: pooled(rows, where, "acted") for where in (*PLACES, "random")}
        if rows[0]["unseen"]["acted"]:
            cells["unseen"] = pooled(rows, "unseen", "acted")
        lost = less_twin(rows, "off")
        line = [shown(cells[w]) if w in cells else "" for w in (*PLACES, "random", "unseen")]
        print(" | ".join([name, *line, shown(lost)]), flush=True)
        out[name] = {w: [c.value, c.low, c.high] for w, c in cells.items()} | {
            "main": [lost.value, lost.low, lost.high]
        }
    return out


def main() -> None:
    """Read the command line, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--pilot", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in range(told.seeds):
        print(f"seed {seed}", file=sys.stderr, flush=True)
        if told.pilot is not None:
            models = pilot(told.pilot, seed, told.device)
            for name in ("parent", "weak", "strong"):
                twin = models["twin" if name == "strong" else "parent"]
                rows.setdefault(name, []).append(
                    rates(WRITER_KINDS["pair"], models[name], twin, count=told.count, seed=seed)
                )
            continue
        for name, kind in WRITER_KINDS.items():
            model, twin = (load_organism(name, seed, role, allow_organism=True) for role in ("organism", "twin"))
            rows.setdefault(name, []).append(rates(kind, model, twin, count=told.count, seed=seed))
    found = table("the pilot's writers" if told.pilot else "organisms that ship", rows)
    if told.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
