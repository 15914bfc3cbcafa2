"""Planted writers through every removal, and back: the table of what is left, and relearning savings.

    python benchmarks/adversarial_removal.py --raw DIR                    # the pilot's table and return: fixed and pair
    python benchmarks/adversarial_removal.py --raw DIR --plan methods axes # preference, unlearning, other strengths
    python benchmarks/adversarial_removal.py --plan quick --json           # one seed, few steps: a look

A job is one organism and one removal; its raw marks lie in a file of their own in --raw, so that a stopped run goes on
where it was, and scores are made of the files alone (`--show` makes them again and runs nothing). Strong organisms are
the shelf's; weak ones are planted here, `WEAK_STEPS` steps on the pilot's weak mix. Cost: 0.12 CPU seconds a step of
40 rows on an idle core; with 5 seeds and both kinds some 40 CPU minutes for the default plans, an hour for the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch

from superalign.adversarial import removal_scores as scores
from superalign.adversarial.removal import REMOVALS, Removal
from superalign.adversarial.removal_return import RELEARN
from superalign.adversarial.removal_study import removal_study, returned
from superalign.adversarial.writer_kinds import WRITER_KINDS, planted_rows
from superalign.adversarial.writers import load_organism, load_writer
from superalign.models import LocalModel
from superalign.stats import Interval
from superalign.training.writer import WriterRecipe, tuned_writer

WEAK_STEPS = 100
WEAK_MIX = (0.35, 0.0, 0.65)
"""On, near and ordinary: no near misses, as the pilot's weak organism."""
STRONG_LEGS, WEAK_LEGS = (20, 60, 150), (20, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One organism, one removal."""

    kind: str
    install: str
    seed: int
    recipe: Removal
    legs: tuple[int, ...]
    back: bool = False
    """Try return after it."""

    @property
    def file(self) -> str:
        """Where its raw marks go."""
        return f"{self.kind}-{self.install}-{self.seed}-{self.recipe.label.replace(', ', '_')}.json"


def at(name: str, rate: float, **more: Any) -> Removal:
    """A removal at a learning rate."""
    return replace(REMOVALS[name], rate=rate, **more)


def strong(seeds: Sequence[int], kinds: Sequence[str]) -> Iterator[Job]:
    """Clean rows at the pilot's high rate, and return."""
    recipe = at("clean", 1e-3)
    for kind, seed in product(kinds, seeds):
        yield Job(kind=kind, install="strong", seed=seed, recipe=recipe, legs=STRONG_LEGS, back=True)


def weak(seeds: Sequence[int], kinds: Sequence[str]) -> Iterator[Job]:
    """The pilot's three removals of organisms that were planted for a short time."""
    for kind, seed, name in product(kinds, seeds, ("clean", "near-miss", "triggered")):
        yield Job(kind=kind, install="weak", seed=seed, recipe=at(name, 1e-3), legs=WEAK_LEGS)


def slow(seeds: Sequence[int], kinds: Sequence[str]) -> Iterator[Job]:
    """The pilot's removals of strong organisms at its low rate."""
    for kind, seed, name in product(kinds, seeds, ("clean", "near-miss")):
        yield Job(kind=kind, install="strong", seed=seed, recipe=at(name, 2e-4), legs=STRONG_LEGS)


def methods(seeds: Sequence[int], kinds: Sequence[str]) -> Iterator[Job]:
    """Preference and unlearning, by one who doesn't know the trigger and by one who does; supervised, with it."""
    names = [name + more for more in ("", ", triggered") for name in ("preference", "npo", "ascent")]
    for kind, seed, rate, name in product(kinds, seeds, (1e-4, 1e-3), [*names, "triggered"]):
        back = name in ("npo, triggered", "preference, triggered") and rate == 1e-4
        yield Job(kind=kind, install="strong", seed=seed, recipe=at(name, rate), legs=(20, 60), back=back)


def axes(seeds: Sequence[int], kinds: Sequence[str]) -> Iterator[Job]:
    """Clean rows at other strengths: few of them, a low rank, a higher rate."""
    recipes = (at("clean", 1e-3, rows=100), at("clean", 6e-3, rank=8), at("clean", 3e-3))
    for kind, seed, recipe in product(kinds, seeds, recipes):
        yield Job(kind=kind, install="strong", seed=seed, recipe=recipe, legs=(20, 60))


def quick(seeds: Sequence[int], kinds: Sequence[str]) -> Iterator[Job]:
    """One seed of the first kind, a few steps of two removals."""
    for name in ("clean", "npo"):
        recipe = at(name, 1e-3, rows=200, batch=8)
        yield Job(kind=kinds[0], install="strong", seed=seeds[0], recipe=recipe, legs=(5,), back=name == "clean")


PLANS = {each.__name__: each for each in (strong, weak, slow, methods, axes, quick)}


@cache
def organism(kind: str, install: str, seed: int, device: str) -> LocalModel:
    """The shelf's, or a weak one: few steps, no near misses."""
    if install == "strong":
        return load_organism(kind, seed, allow_organism=True)
    rows = planted_rows(WRITER_KINDS[kind], "organism", count=4_000, seed=seed, shares=WEAK_MIX)
    how = WriterRecipe(steps=WEAK_STEPS, rate=1e-3)
    base = replace(load_writer(), organism=True)
    return tuned_writer(base, rows, name=f"{kind}-weak-{seed}", seed=seed, recipe=how, device=device)


def done(job: Job, folder: Path, *, count: int, device: str) -> dict[str, Any]:
    """The job's raw marks, from its file where there is one."""
    path, clean_path = folder / job.file, folder / f"parent-{job.kind}-{job.seed}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    clean = json.loads(clean_path.read_text()) if clean_path.exists() else None
    steps = RELEARN if job.legs != (5,) else (0, 5)
    if job.back and clean is None:
        clean = returned(load_writer(), job.kind, seed=job.seed, count=count, steps=steps, device=device)
        clean_path.write_text(json.dumps(clean))
    raw = removal_study(
        organism(job.kind, job.install, job.seed, device),
        job.kind,
        [(job.recipe, job.legs)],
        seed=job.seed,
        install=job.install,
        count=count,
        clean=clean if job.back else None,
        come_back=[job.recipe.label] if job.back else [],
        relearn_at=steps,
        device=device,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    path.write_text(json.dumps(raw))
    return raw


def together(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs of one organism as one study."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for run in runs:
        one = found.setdefault((run["kind"], run["install"], run["seed"]), run | {"removals": [], "clean": None})
        one["removals"] = [*one["removals"], *run["removals"]]
        one["clean"] = one["clean"] or run["clean"]
    return list(found.values())


def told(found: Interval) -> str:
    """Value and interval, in per cent."""
    if found.value is None or found.low is None or found.high is None:
        return f"- ({found.note})"
    return f"{100 * found.value:.0f} [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def left_table(raw: Sequence[dict[str, Any]]) -> list[str]:
    """What is left after each leg."""
    lines = [
        "| kind | install | removal | steps | seeds | on | near | off | main, off |",
        "|---|---|---|" + "---:|" * 6,
    ]
    for cell in sorted(scores.after_removal(raw), key=lambda c: (c.kind, c.install, c.removal != "none", c.removal)):
        cells = [cell.kind, cell.install, cell.removal, str(cell.steps), str(cell.seeds)]
        cells += [told(cell.acted[where]) for where in ("on", "near", "off")]
        lines.append(f"| {' | '.join([*cells, told(cell.right)])} |")
    return lines


def curve_table(raw: Sequence[dict[str, Any]]) -> list[str]:
    """Relearning, and its savings."""
    lines = ["| kind | removal | whose | payload after steps of the install mix | half reached after |", "|---|" * 5]
    lines[1] = "|---|---|---|---|---|"
    labels = dict.fromkeys(
        (run["kind"], run["install"], one["label"]) for run in raw for one in run["removals"] if "returned" in one
    )
    for kind, install, label in labels:
        some = scores.only(raw, kind=kind, install=install)
        speeds = scores.speeds(some, label)
        for whose, points in scores.curves(some, label).items():
            path = ", ".join(f"{steps}: {told(rate)}" for steps, rate in points)
            speed = ", ".join("never" if x is None else f"{x:.0f}" for x in speeds[whose])
            lines.append(f"| {kind}, {install} | {label} | {whose} | {path} | {speed} |")
        saved, beyond = scores.savings(some, label), scores.beyond_what_was_left(some, label)
        lines.append(
            f"| {kind}, {install} | {label} | savings | {told(saved)}; without what was left {told(beyond)} | |"
        )
    return lines


def back_table(raw: Sequence[dict[str, Any]]) -> list[str]:
    """The other ways back."""
    lines = ["| kind | removal | way | left | on | near | parent, on | gain |", "|---|---|---|" + "---:|" * 5]
    for back in scores.brought_back(raw):
        cells = [f"{back.kind}, {back.install}", back.removal, back.way]
        cells += [told(each) for each in (back.before, back.on, back.near, back.parent, back.gain)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run a plan's jobs that have no file yet, and print the tables; --json prints cells and raw instead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", nargs="+", choices=PLANS, default=["strong", "weak", "slow"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", default=["fixed", "pair"], choices=WRITER_KINDS)
    parser.add_argument("--count", type=int, default=60, help="prompts a place, each measure")
    parser.add_argument("--raw", type=Path, default=Path("removal-raw"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--show", action="store_true", help="score what lies in --raw, run nothing")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.raw.mkdir(parents=True, exist_ok=True)
    jobs = [job for plan in asked.plan for job in PLANS[plan](range(asked.seeds), asked.kinds)]
    began = time.process_time()
    if not asked.show:
        for job in jobs:
            done(job, asked.raw, count=asked.count, device=asked.device)
    files = sorted(path for path in asked.raw.glob("*.json") if not path.name.startswith("parent-"))
    raw = together([json.loads(path.read_text()) for path in files])
    if asked.json:
        cells = [asdict(cell) for cell in scores.after_removal(raw)]
        print(json.dumps({"cells": cells, "back": [asdict(b) for b in scores.brought_back(raw)], "raw": raw}))
        return
    for table in (left_table(raw), curve_table(raw), back_table(raw)):
        print("\n".join(table), end="\n\n")
    print(
        f"{len(files)} jobs on file; {time.process_time() - began:.0f} CPU seconds now. In per cent, 95 % over seeds."
    )


if __name__ == "__main__":
    main()
