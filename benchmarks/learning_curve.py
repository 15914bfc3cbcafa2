"""How well family members, and checkpoints of `l`, tell a sound function from the same with one edit, by kind.

    python benchmarks/learning_curve.py family:xs family:s family:m family:l
    python benchmarks/learning_curve.py family-l/resume.pt --page mutants --split validation --json

Two pages, pair view: `faults`, synthetic faults of held-out files, unexecuted, as many of an edit as of its mirror; and
`mutants`, proven by execution. A tie is half right. Intervals are 95 %, clustered by file.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
import tyro

from superalign.models import LocalModel, load_folder, load_model
from superalign.models.words import word_tokenizer
from superalign.stats import Interval, mean_interval, proportion_interval
from superalign.tasks.faults import KINDS, Fault, synthetic_faults
from superalign.tasks.stdlib import source_files
from superalign.training.family import fresh_model
from superalign.training.family_score import pair_decision, pair_scores
from superalign.training.family_text import large_words

PER_FUNCTION, OF_ONE_KIND = 60, 8


class Pair(NamedTuple):
    """A sound and an edited function."""

    kind: str
    path: str
    sound: str
    edited: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveConfig:
    """Which models on which page."""

    models: tyro.conf.Positional[tuple[str, ...]] = ("family:xs", "family:s", "family:m")
    """family:SIZE, a folder in the Hugging Face format, or a checkpoint `resume.pt` of `l`."""
    page: Literal["faults", "mutants"] = "faults"
    """Synthetic faults, or mutants proven by execution."""
    split: Literal["dev", "validation", "test"] = "dev"
    """Files that no family member saw."""
    per_kind: int = 300
    """Synthetic faults of a kind at most."""
    renamings: int = 1
    """Draws of slots that a score is averaged over."""
    seed: int = 0
    """Seed of the faults and slots."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def faults_page(split: str, *, per_kind: int, seed: int = 0) -> list[Pair]:
    """Synthetic faults of a split: of each kind as many edits a → b as b → a, at most `per_kind` (and a mirror)."""
    rng = np.random.default_rng([seed, *split.encode()])
    found: dict[str, dict[tuple[str, str], list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for path, source in source_files(split).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in old modules
            for fault in synthetic_faults(source, rng, per_function=PER_FUNCTION, per_kind=OF_ONE_KIND):
                found[fault.kind][fault.key].append(_pair(path, fault))
    return [pair for kind in KINDS for pair in _balanced(found[kind], per_kind, rng)]


def _pair(path: str, fault: Fault) -> Pair:
    return Pair(kind=fault.kind, path=path, sound=fault.sound, edited=fault.faulty)


def _balanced(found: dict[tuple[str, str], list[Pair]], size: int, rng: np.random.Generator) -> list[Pair]:
    couples: list[list[Pair]] = []
    for key in sorted(found):
        mirror, mine = (key[1], key[0]), [found[key][i] for i in rng.permutation(len(found[key]))]
        if key == mirror:
            couples += [[pair] for pair in mine]
        elif key < mirror and mirror in found:
            other = [found[mirror][i] for i in rng.permutation(len(found[mirror]))]
            couples += [list(both) for both in zip(mine, other, strict=False)]
    kept: list[Pair] = []
    for i in rng.permutation(len(couples)):
        if len(kept) < size:
            kept += couples[i]
    return kept


def mutants_page(split: str, *, seed: int = 0) -> list[Pair]:
    """The mutants of a split, whole functions as source."""
    from superalign.tasks.mutants import mutants

    page = mutants(split=split, view="pair", form="source", seed=seed)
    pairs = []
    for item in page.items:
        truth, texts = page.truths[item.id], (item.input["a"], item.input["b"])
        answer = int(truth["answer"])
        pairs.append(Pair(kind=truth["kind"], path=truth["path"], sound=texts[answer], edited=texts[1 - answer]))
    return pairs


def opened(address: str) -> LocalModel:
    """A family member, a folder, or the network inside a checkpoint of `l`."""
    if not address.endswith(".pt"):
        return load_folder(Path(address)) if Path(address).is_dir() else load_model(address)
    network = fresh_model("l", seed=0)
    network.load_state_dict(torch.load(address, weights_only=True)["network"])
    return LocalModel(name=Path(address).stem, network=network.eval(), tokenizer=word_tokenizer(large_words())).sealed()


def correct(model: LocalModel, pairs: list[Pair], *, seed: int, renamings: int) -> dict[str, np.ndarray]:
    """Right (1), tied (½) or wrong (0) on every pair, by each way of deciding."""
    sources = [(pair.sound, pair.edited) for pair in pairs]
    drawn = [pair_scores(model, sources, seed=seed + i) for i in range(renamings)]
    ways = {"likelihood": np.mean([scores.likelihood for scores in drawn], axis=0)}
    if drawn[0].doubt.any():
        ways["decision"] = np.mean([pair_decision(scores) for scores in drawn], axis=0)
    return {way: np.where(score == 0, 0.5, score > 0) for way, score in ways.items()}


def table(model: LocalModel, pairs: list[Pair], right: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """Rows by way and kind: accuracy, interval, n, files. `all` weighs pairs alike, `kinds` weighs kinds alike."""
    paths, kinds = np.array([pair.path for pair in pairs]), np.array([pair.kind for pair in pairs])
    names, counts = np.unique(kinds, return_counts=True)
    weight = (len(kinds) / len(names) / counts)[np.searchsorted(names, kinds)]
    rows = []
    for way, values in right.items():
        for kind in ("all", *(k for k in KINDS if k in names)):
            chosen = np.ones(len(kinds), dtype=bool) if kind == "all" else kinds == kind
            found = proportion_interval(values[chosen], clusters=paths[chosen])
            rows.append(_row(model, way, kind, float(values[chosen].mean()), found))
        rows.append(
            _row(model, way, "kinds", float((values * weight).mean()), mean_interval(values * weight, clusters=paths))
        )
    return rows


def _row(model: LocalModel, way: str, kind: str, value: float, found: Interval) -> dict[str, object]:
    """Fewer than two files have no interval: its ends are None."""
    ends = {"low": found.low, "high": found.high, "n": found.n, "clusters": found.clusters}
    parameters = sum(p.numel() for p in model.network.parameters())
    what = {"model": model.name, "digest": model.digest, "parameters": parameters, "way": way, "kind": kind}
    return {**what, "value": value, **ends}


def main(config: CurveConfig) -> None:
    """Score every model and print a table, or one JSON object."""
    torch.set_num_threads(1)
    pairs = (
        faults_page(config.split, per_kind=config.per_kind, seed=config.seed)
        if config.page == "faults"
        else mutants_page(config.split, seed=config.seed)
    )
    rows: list[dict[str, object]] = []
    for address in config.models:
        began, model = time.perf_counter(), opened(address)
        rows += table(model, pairs, correct(model, pairs, seed=config.seed, renamings=config.renamings))
        print(f"{address}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    if config.json:
        print(json.dumps({"page": config.page, "split": config.split, "pairs": len(pairs), "rows": rows}))
        return
    print(f"{config.page}, {config.split}: {len(pairs)} pairs; accuracy [95 %], n, files")
    for row in rows:
        low, high = (f"{row[end]:.3f}" if row[end] is not None else "?" for end in ("low", "high"))
        name = f"{row['model']:14} {row['way']:10} {row['kind']:11}"
        print(f"{name} {row['value']:.3f} [{low}, {high}]  n {row['n']}, {row['clusters']} files")


if __name__ == "__main__":
    main(tyro.cli(CurveConfig))
