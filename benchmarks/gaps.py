"""What the family makes, tells apart and can point at, and what one check is worth: `python benchmarks/gaps.py`.

    python benchmarks/gaps.py --cache gaps               # all sizes, tasks and seeds: some ten minutes on one thread
    python benchmarks/gaps.py --quick --json             # a look in two minutes

Roles are fitted on the training split, looked at on dev, and judged on pairs of the validation split. What a seed has
answered is kept in the cache, so that a run that was stopped goes on. Intervals are 95 %,
items × seeds; see `superalign.oversight.gaps`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro

from superalign.models import LocalModel, load_model
from superalign.models.words import word_tokenizer
from superalign.oversight.gaps import (
    area,
    critic,
    dc_gap,
    flags_of,
    generator,
    over_reliance,
    own_flaws,
    paired_accuracy,
    rate,
    uplift,
    verdicts,
)
from superalign.oversight.roles import (
    Answers,
    Fitted,
    Labelled,
    Net,
    RoleRecipe,
    Samples,
    Seen,
    answers,
    by_experience,
    cut_of,
    fit_role,
    holds,
    labelled,
    read,
    sample,
    untrained,
)
from superalign.stats import Interval
from superalign.tasks import Page, mutants, slips, traces
from superalign.tasks.traces import random_program
from superalign.training.family import family_words, fresh_model

STEPS, SAMPLES, TEMPERATURE, FILLED = 12, 8, 1.5, (1, 2, 4, 12)
ROLES = ("discriminator", "critic")
RANDOM = "random xs"
"""An xs that was never trained."""
Run = dict[str, np.ndarray]
"""What one seed answered: `labels.role.which.split.what` → array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapsConfig:
    """What is fitted and asked."""

    tasks: tuple[Literal["traces", "slips", "mutants"], ...] = ("traces", "slips", "mutants")
    """Tasks; the generator and the judge with one check play on traces."""
    sizes: tuple[str, ...] = ("xs", "s", "m")
    """Family members."""
    seeds: int = 5
    """Training seeds: which texts are labelled, where the net starts, in which order it reads."""
    labels: tuple[int, ...] = (200, 600, 1500, 3000)
    """Labelled texts; where a task has fewer, all there are take the place of more."""
    pool: int = 4000
    """Training texts that labels are drawn from."""
    pairs: int = 800
    """Validation pairs."""
    programs: int = 100
    """Calculations that the generator fills in."""
    cache: Path | None = None
    """Folder of what was answered; a temporary one if none is given."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Two seeds, two label counts, traces and slips alone, small pages."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object instead of tables."""


def quick(config: GapsConfig) -> GapsConfig:
    """The same in small."""
    small = {"seeds": 2, "labels": (200, 600), "pool": 800, "pairs": 200, "programs": 30}
    return replace(config, tasks=("traces", "slips"), **small)


# -- fitting and asking


def page_of(task: str, split: str, view: str, n: int) -> Page:
    """The first `n` items of a split, or all where there are fewer."""
    if task == "traces":
        return traces(split=split, view=view, n=n, steps=STEPS)
    if task == "slips":
        return slips(split=split, view=view, n=n)
    whole = mutants(split=split, view=view, form="words")
    return replace(whole, items=whole.items[:n])


def pages(task: str, config: GapsConfig) -> dict[str, Labelled]:
    """Training and dev singles, validation pairs."""
    wanted = {"train": ("single", config.pool), "dev": ("single", 500), "validation": ("pair", config.pairs)}
    return {split: labelled(page_of(task, split, view, n)) for split, (view, n) in wanted.items()}


def runs(task: str, size: str, config: GapsConfig, folder: Path) -> list[Run]:
    """Every seed's answers, from the cache where they are there."""
    paths = [folder / f"{task}-{size.replace(' ', '-')}-{seed}.npz" for seed in range(config.seeds)]
    missing = [seed for seed, path in enumerate(paths) if not path.exists()]
    if missing:
        data = pages(task, config)
        asked: Asked | None = None
        for seed in missing:
            began = time.process_time()
            if asked is None or size == RANDOM:
                asked = Asked.by(model_of(size, seed), data, task, config)
            run = asked.seed(seed, config, dials(task, size, len(data["train"].texts), config))
            part = paths[seed].with_suffix(".tmp.npz")
            np.savez_compressed(part, **run)
            part.replace(paths[seed])
            print(f"{task} {size} seed {seed}: {time.process_time() - began:.0f} s of CPU", file=sys.stderr)
    return [dict(np.load(path)) for path in paths]


def model_of(size: str, seed: int) -> LocalModel:
    """A family member, or an xs with random weights."""
    if size != RANDOM:
        return load_model(f"family:{size}")
    network = fresh_model("xs", seed=seed).eval()
    return LocalModel(name=RANDOM, network=network, tokenizer=word_tokenizer(family_words())).sealed()


def dials(task: str, size: str, most: int, config: GapsConfig) -> list[int]:
    """Label counts of a task; the random model is fitted once, with the most."""
    counts = sorted({min(labels, most) for labels in config.labels})
    return counts[-1:] if size == RANDOM else counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One base's reading of a task's texts, and of its own samples on traces."""

    seen: dict[str, Seen]
    samples: Samples | None
    filled: int
    blank: bool
    """Fit from nothing as well: on slips, where the base knows something and not all."""

    @classmethod
    def by(cls, model: LocalModel, data: dict[str, Labelled], task: str, config: GapsConfig) -> Asked:
        """Read all splits; on traces fill in calculations, as many steps of each as dev says (G nearest to a half)."""
        seen, samples, filled = {split: read(model, each) for split, each in data.items()}, None, 0
        if task == "traces" and model.name != RANDOM:
            tried = {n: made(model, 40, 2, n, split=1).correct.mean() for n in FILLED}
            filled = min(FILLED, key=lambda n: (abs(tried[n] - 0.5), n))
            samples = made(model, config.programs, SAMPLES, filled, split=2)
            seen["own"] = read(model, samples.as_data())
        return cls(seen=seen, samples=samples, filled=filled, blank=task == "slips")

    def seed(self, seed: int, config: GapsConfig, counts: Sequence[int]) -> Run:
        """Fit both roles at every label count, where told once from nothing with the most; ask them everything."""
        run: Run = (
            {} if self.samples is None else {"own.wrong": self.samples.wrong, "own.filled": np.array(self.filled)}
        )
        said = {split: untrained(seen) for split, seen in self.seen.items()}
        _put(run, "0.both.chosen", said, cut=cut_of(said["dev"], self.seen["dev"]), flops=0.0, step=0)
        for labels in counts:
            for role in ROLES:
                fitted = self._fit(role, labels, seed, RoleRecipe())
                for which, net in (("last", fitted.last), ("chosen", fitted.chosen)):
                    self._ask(run, f"{labels}.{role}.{which}", net)
        for role in ROLES if self.blank else ():
            fitted = self._fit(role, counts[-1], seed, RoleRecipe(start=0.0))
            self._ask(run, f"{counts[-1]}.{role}.blank", fitted.chosen)
        return run

    def _fit(self, role: Any, labels: int, seed: int, recipe: RoleRecipe) -> Fitted:
        train, dev = self.seen["train"], self.seen["dev"]
        return fit_role(train, dev, role=role, labels=labels, seed=seed, recipe=recipe)

    def _ask(self, run: Run, name: str, net: Net) -> None:
        said = {split: answers(net, seen) for split, seen in self.seen.items() if split != "train"}
        _put(run, name, said, cut=net.cut, flops=net.flops, step=net.step)


def _put(run: Run, name: str, said: dict[str, Answers], **numbers: float) -> None:
    for split, each in said.items():
        if split != "train":
            run[f"{name}.{split}.doubt"] = each.doubt.astype(np.float64)
            run[f"{name}.{split}.pointed"] = each.pointed.astype(np.int16)
    run |= {f"{name}.{what}": np.array(number) for what, number in numbers.items()}


def made(model: LocalModel, programs: int, k: int, filled: int, *, split: int) -> Samples:
    """Samples of random programs: 1 for dev, 2 for validation."""
    rng = np.random.default_rng([61, split])
    drawn = [random_program(rng, STEPS) for _ in range(programs)]
    return sample(model, drawn, k=k, filled=filled, temperature=TEMPERATURE, seed=split)


# -- what the answers say


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All runs of one task and size beside the truth of what they were asked."""

    task: str
    size: str
    runs: list[Run]
    data: dict[str, Labelled]
    counts: list[int]

    def all(self, key: str) -> np.ndarray:
        """Every seed's array, one after the other."""
        return np.concatenate([np.atleast_1d(run[key]) for run in self.runs])

    def rows(self, split: str = "validation") -> dict[str, np.ndarray]:
        """Truths, clusters and seeds of `all`."""
        data, times = self.data[split], len(self.runs)
        seeds = np.repeat(np.arange(times), len(data.texts))
        return {
            "flawed": np.tile(data.flawed, times),
            "clusters": np.tile(data.clusters, times),
            "seeds": seeds,
        }

    def flags(self, name: str, split: str = "validation") -> np.ndarray:
        """What a role calls flawed, each seed by its own cut."""
        parts = [flags_of(run[f"{name}.{split}.doubt"], float(run[f"{name}.cut"])) for run in self.runs]
        return np.concatenate(parts)

    def valid(self, name: str) -> np.ndarray:
        """Claims that a check finds true."""
        return np.concatenate([holds(run[f"{name}.validation.pointed"], self.data["validation"]) for run in self.runs])

    def blind(self, name: str) -> np.ndarray:
        """Of every flawed text: does the critic point there when it is shown the sound partner instead?"""
        data = self.data["validation"]
        half = len(data.texts) // 2
        flawed = replace(data, place=data.place[half:])
        return np.concatenate([holds(run[f"{name}.validation.pointed"][:half], flawed) for run in self.runs])

    def luck(self, name: str) -> np.ndarray:
        """`blind` beside the flawed texts, 0 beside the sound ones: a row for every row of `all`."""
        blind = self.blind(name).reshape(len(self.runs), -1)
        return np.stack([np.zeros_like(blind), blind], axis=1).ravel()


def told(found: Interval) -> list[Any]:
    """value, low, high, n, clusters, and why not."""
    return [found.value, found.low, found.high, found.n, found.clusters, found.note]


def names(board: Board, which: str) -> Iterator[tuple[int, str, str]]:
    """Label counts, and the two roles' names at each."""
    if which == "chosen":
        yield 0, "0.both.chosen", "0.both.chosen"
    for labels in board.counts:
        yield labels, f"{labels}.discriminator.{which}", f"{labels}.critic.{which}"


def roles_table(board: Board) -> list[dict[str, Any]]:
    """D, C and the gap between them, by labels: matched by labels (each at its best look), by compute, from nothing."""
    rows, out = board.rows(), []
    half = len(board.data["validation"].texts) // 2
    own = {key: rows[key] for key in ("clusters", "seeds")}
    bad = rows["flawed"] == 1
    few = {key: values[bad] for key, values in own.items()}
    for which in ("chosen", "last", "blank"):
        for labels, d, c in names(board, which):
            if f"{d}.cut" not in board.runs[0]:
                continue
            doubt = board.all(f"{d}.validation.doubt").reshape(len(board.runs), 2, half)
            flags, valid = board.flags(d), board.valid(c)
            seen = critic(valid, (board.flags(c) > 0.5).astype(float), **rows)
            found = {
                "BA_D": verdicts(flags, **rows).balanced,
                "AUROC_D": area(board.all(f"{d}.validation.doubt"), **rows),
                "paired_D": paired_accuracy(doubt[:, 0].ravel(), doubt[:, 1].ravel(), **few),
                "validity": seen.validity,
                "blind": rate(board.blind(c), **few),
                "hallucination": seen.hallucination,
                "unfounded": seen.unfounded,
                "BA_C": seen.equivalent,
                "detects_C": verdicts(board.flags(c), **rows).balanced,
                "gap": dc_gap(flags, valid, **rows),
                "net": dc_gap(flags, valid, blind=board.luck(c), **rows),
            }
            spent = {role: float(board.all(f"{name}.flops").mean()) for role, name in (("D", d), ("C", c))}
            head = {"task": board.task, "size": board.size, "labels": labels, "which": which, "flops": spent}
            out.append(head | {key: told(value) for key, value in found.items()})
    return out


def unequal(board: Board) -> dict[str, Any]:
    """The gap where D has the most labels and C 600 (or its fewest): a place says more bits than yes or no."""
    fewer = 600 if 600 in board.counts else board.counts[0]
    rows, most, c = board.rows(), board.counts[-1], f"{fewer}.critic.chosen"
    flags, valid = board.flags(f"{most}.discriminator.chosen"), board.valid(c)
    found = {"gap": dc_gap(flags, valid, **rows), "net": dc_gap(flags, valid, blind=board.luck(c), **rows)}
    head = {"task": board.task, "size": board.size, "labels_D": most, "labels_C": fewer}
    return head | {key: told(value) for key, value in found.items()}


def generator_table(board: Board) -> list[dict[str, Any]]:
    """G, GD and GC on the base's own samples."""
    wrong, times, out = board.runs[0]["own.wrong"], len(board.runs), []
    programs = np.repeat(np.arange(len(wrong) // SAMPLES), SAMPLES)
    flawed = wrong.any(1)
    correct = np.tile((~flawed).astype(float).reshape(-1, SAMPLES), (times, 1))
    questions = {
        "clusters": np.tile(np.unique(programs), times),
        "seeds": np.repeat(np.arange(times), len(programs) // SAMPLES),
    }
    texts = {"clusters": np.tile(programs[flawed], times), "seeds": np.repeat(np.arange(times), int(flawed.sum()))}
    for labels, d, c in names(board, "chosen"):
        found = generator(correct, board.all(f"{d}.own.doubt").reshape(-1, SAMPLES), **questions)
        pointed = board.all(f"{c}.own.pointed").reshape(times, -1)[:, flawed].ravel()
        there, chance = np.tile(wrong[flawed], (times, 1)), np.tile(wrong[flawed].mean(1), times)
        gc, beyond = own_flaws(there[np.arange(len(there)), pointed].astype(float), chance, **texts)
        head = {
            "size": board.size,
            "labels": labels,
            "filled": int(board.runs[0]["own.filled"]),
            "chance": float(chance.mean()),
        }
        parts = {"G": found.one, "best": found.best, "GD": found.gap, "any": found.ceiling, "GC": gc, "beyond": beyond}
        out.append(head | {key: told(value) for key, value in parts.items()})
    return out


def checks_table(board: Board) -> list[dict[str, Any]]:
    """A judge who checks one step exactly, at random or where the critic points."""
    rows, data, out = board.rows(), board.data["validation"], []
    own = [np.random.default_rng([seed, 67]).integers(STEPS, size=len(data.texts)) for seed in range(len(board.runs))]
    alone = np.concatenate([holds(pointed, data) for pointed in own])
    for labels, _, c in names(board, "chosen"):
        found = uplift(board.valid(c), alone, **rows)
        parts = {
            "alone": found.alone.caught,
            "aided": found.aided.caught,
            "RD": found.difference,
            "RR": found.ratio,
            "false": found.aided.false,
        }
        out.append({"critic": board.size, "labels": labels} | {key: told(value) for key, value in parts.items()})
    return out


def testimony_table(board: Board, weak: Board) -> list[dict[str, Any]]:
    """A judge who cannot check: its own eye is the xs without labels; it hears whether the critic stands by its claim.

    `heard` goes by what came of own eye and claim on dev; `placed` hears a place of every text and nothing else.
    """
    rows, out = board.rows(), []
    own = weak.flags("0.both.chosen")
    for labels, _, c in names(board, "chosen"):
        heard, placed = [], []
        for run, eye in zip(board.runs, weak.runs, strict=True):
            both = {s: 2 * _called(eye, "0.both.chosen", s) + _called(run, c, s) for s in ("dev", "validation")}
            places = {s: run[f"{c}.{s}.pointed"] for s in both}
            for judge, said in ((heard, both), (placed, places)):
                judge.append(by_experience(said["dev"], board.data["dev"].flawed, said["validation"]))
        claimed, valid = board.flags(c) > 0.5, board.valid(c)
        made = {key: rows[key][claimed] for key in ("clusters", "seeds")}
        flags, by_place = np.concatenate(heard), np.concatenate(placed)
        parts = {
            "own": verdicts(own, **rows).balanced,
            "critic": verdicts(board.flags(c), **rows).balanced,
            "heard": verdicts(flags, **rows).balanced,
            "beyond": dc_gap(flags, board.flags(c), **rows),
            "placed": verdicts(by_place, **rows).balanced,
            "false": verdicts(flags, **rows).false,
            "over_reliance": over_reliance(flags[claimed] > 0.5, valid[claimed], **made),
        }
        out.append({"size": board.size, "labels": labels} | {key: told(value) for key, value in parts.items()})
    return out


def _called(run: Run, name: str, split: str) -> np.ndarray:
    """1 where a role calls a text of the split flawed."""
    return (run[f"{name}.{split}.doubt"] > run[f"{name}.cut"]).astype(np.int64)


# -- printing


def shown(found: list[Any], *, sign: bool = False) -> str:
    """A value with its ends."""
    value, low, high = found[:3]
    if value is None:
        return "–"
    form = "{:+.3f}" if sign else "{:.3f}"
    ends = ", ".join("?" if end is None else form.format(end) for end in (low, high))
    return f"{form.format(value)} [{ends}]".replace("-", "−")


def show(title: str, rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    """A table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    signed = ("gap", "net", "GD", "RD", "beyond")
    for row in rows:
        cells = [shown(row[c], sign=c in signed) if isinstance(row[c], list) else _plain(row[c]) for c in columns]
        print(f"| {' | '.join(cells)} |")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " / ".join(f"{number / 1e9:.1f}" for number in value.values())
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def main(config: GapsConfig) -> None:
    """Fit, ask, print."""
    torch.set_num_threads(1)
    config = quick(config) if config.quick else config
    began, tables = time.process_time(), {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = config.cache or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        boards = {}
        for task in config.tasks:
            for size in (*config.sizes, *((RANDOM,) if task == "traces" else ())):
                data = pages(task, config)
                counts = dials(task, size, len(data["train"].texts), config)
                boards[task, size] = Board(
                    task=task, size=size, runs=runs(task, size, config, folder), data=data, counts=counts
                )
    tables["roles"] = [row for board in boards.values() for row in roles_table(board)]
    tables["unequal"] = [unequal(board) for (_, size), board in boards.items() if size != RANDOM]
    calculating = [board for (task, _), board in boards.items() if task == "traces"]
    tables["generator"] = [row for board in calculating if board.size != RANDOM for row in generator_table(board)]
    tables["checks"] = [row for board in calculating for row in checks_table(board)]
    weak = boards.get(("traces", config.sizes[0]))
    tables["testimony"] = [row for board in calculating if weak for row in testimony_table(board, weak)]
    spent = time.process_time() - began
    if config.json:
        print(json.dumps({"cpu_seconds": spent, **tables}))
        return
    _print(tables, spent)


def _print(tables: dict[str, list[dict[str, Any]]], spent: float) -> None:
    gap = ("BA_D", "AUROC_D", "paired_D", "validity", "blind", "BA_C", "gap", "net")
    for which, title in (
        ("chosen", "Matched by labels: each role at its best look on dev"),
        ("last", "Matched by labels and compute: all steps"),
        ("blank", "From nothing: nets that do not start from the base's surprisal"),
    ):
        rows = [row for row in tables["roles"] if row["which"] == which]
        show(title, rows, ("task", "size", "labels", *gap, "flops"))
    claims = [row for row in tables["roles"] if row["which"] == "chosen"]
    show("Claims", claims, ("task", "size", "labels", "hallucination", "unfounded", "detects_C"))
    show(
        "The most labels for D, fewer for C", tables["unequal"], ("task", "size", "labels_D", "labels_C", "gap", "net")
    )
    made_ = ("size", "labels", "filled", "G", "best", "GD", "any", "GC", "chance", "beyond")
    show("Own samples", tables["generator"], made_)
    show("One check", tables["checks"], ("critic", "labels", "alone", "aided", "RD", "RR", "false"))
    heard = ("size", "labels", "own", "critic", "heard", "beyond", "placed", "false", "over_reliance")
    show("Testimony", tables["testimony"], heard)
    print(f"\n{spent:.0f} s of CPU")


if __name__ == "__main__":
    main(tyro.cli(GapsConfig))
