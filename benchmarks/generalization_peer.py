"""The same weak-to-strong sweep by openai/weak-to-strong's own training loop and by ours, in one run, by turns.

    git clone https://github.com/openai/weak-to-strong PEER
    pip install datasets
    python benchmarks/generalization_peer.py --peer PEER

Data: windows of real code, one text each: does it hold the word `return`? (Or, with `--task altered`: is it altered?
No model here learns that from its last token, so accuracies say nothing there.) Files are apart. Models: members of the
family, saved to disk in the Hugging Face format and loaded from there by both. A sweep is: the weak model fitted on
truth (its accuracy is the floor) and its soft labels on half B; the strong model fitted on these (student), and on the
truth of half B (ceiling). All weights are trained, by cross-entropy, from a zero head at the last token, with the same
epochs, batch and rate. Loading, encoding, training and evaluation count; writing to disk does not, for neither. "Ours,
head first" reads all tokens and begins at a head fitted on the frozen network (`start="probe"`), which theirs has not.

Their code runs as it is, on a CPU, with what it asks of a machine with CUDA taken away: models are not moved, and what
is imported but not used here is stubbed (a function of an older transformers, Weights & Biases, an optimiser).
Their loop takes minibatches of 1 unless told otherwise, and 32 forward passes make one backward pass; `--minibatch 32`
is the kindest to it, and beside it for that reason.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import transformers
import tyro

from superalign.generalization.material import halves as by_cluster
from superalign.generalization.questions import FAMILY_CONTEXT, Questions, questions_of
from superalign.models import load_model, save_model
from superalign.tasks.slips import KINDS, slips
from superalign.training.bodies import BodyRecipe, fit_body


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is swept."""

    peer: Path
    """A checkout of openai/weak-to-strong."""
    weak: str = "xs"
    strong: str = "m"
    items: int = 1000
    """Texts of each half."""
    test: int = 500
    task: Literal["mentions", "altered"] = "mentions"
    """Does the text hold a word, or is it altered?"""
    word: str = "return"
    """Of the task "mentions"."""
    kinds: tuple[str, ...] = KINDS
    """Of alterations, for the task "altered"."""
    epochs: int = 2
    batch: int = 32
    rate: float = 5e-4
    minibatch: tuple[int, ...] = (1, 32)
    """Of their loop."""
    rounds: int = 1
    threads: int = 2
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """One JSON object on stdout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """Texts and truth."""

    texts: list[str]
    truth: np.ndarray

    def first(self, n: int) -> Half:
        """The same, less of it."""
        return Half(texts=self.texts[:n], truth=self.truth[:n])


Halves = tuple[Half, Half, Half]
"""Half A, half B, test."""
Accuracies = dict[str, float]


def halves(config: Config) -> Halves:
    """Halves of the train split, no file in both; the test from the dev split; as many of one class as of the other."""
    train, test = questions(config, "train"), questions(config, "dev")
    sides = by_cluster(train.clusters, (len(train), len(train)), np.random.default_rng(0))
    a, b = (balanced(train.take(np.sort(rows)), config.items) for rows in sides)
    return a, b, balanced(test, config.test)


def questions(config: Config, split: str) -> Questions:
    """Single texts of a split, with the truth of the task."""
    page = slips(split=split, view="single")
    found, altered = questions_of(page), np.array([page.truths[item.id]["answer"] == 1 for item in page.items])
    if config.task == "mentions":
        sound = found.take(np.flatnonzero(~altered))
        return replace(sound, truth=np.array([config.word in text.split() for text in sound.first]))
    return replace(found, truth=altered).take(np.flatnonzero(~altered | np.isin(found.kinds, config.kinds)))


def balanced(found: Questions, n: int) -> Half:
    """n texts, half of them of either class, in an order of the seed."""
    rng = np.random.default_rng(1)
    sides = [rng.permutation(np.flatnonzero(found.truth == side))[: n // 2] for side in (True, False)]
    if (least := min(map(len, sides))) < n // 2:
        raise SystemExit(f"{least} texts of one class, {n // 2} are asked for: lower --items or --test")
    rows = rng.permutation(np.concatenate(sides))
    return Half(texts=[FAMILY_CONTEXT + found.first[row] for row in rows], truth=found.truth[rows])


def ours(config: Config, folder: Path, data: Halves, *, head_first: bool = False) -> Accuracies:
    """The sweep by `fit_body`; `head_first` reads all tokens, and begins at a head fitted on the frozen body."""
    half_a, half_b, test = data
    recipe = BodyRecipe(epochs=config.epochs, batch=config.batch, rate=config.rate, decay=0.0, head_factor=1.0)
    recipe = replace(recipe, pool="wide", start="probe") if head_first else recipe

    def fitted(size: str, half: Half, labels: np.ndarray) -> tuple[Any, float]:
        body = fit_body(load_model(f"hf:{folder / size}"), (half.texts,), labels, recipe=recipe)
        return body, float(((body.logits((test.texts,)) > 0) == test.truth).mean())

    weak, floor = fitted(config.weak, half_a, half_a.truth)
    labels = 1 / (1 + np.exp(-weak.logits((half_b.texts,))))
    student, ceiling = (fitted(config.strong, half_b, y)[1] for y in (labels, half_b.truth))
    right = float(((labels > 0.5) == half_b.truth).mean())
    return {"floor": floor, "weak labels": right, "student": student, "ceiling": ceiling}


def theirs(config: Config, folder: Path, data: Halves, minibatch: int) -> Accuracies:
    """The sweep by their loop, their evaluation and their model class."""
    import datasets

    datasets.disable_progress_bars()
    part = {
        name: importlib.import_module(f"weak_to_strong.{name}")
        for name in ("train", "eval", "model", "loss", "datasets")
    }
    say = importlib.import_module("weak_to_strong.logger")

    def table(half: Half, tokenizer: Any) -> Any:
        rows = {
            "txt": half.texts,
            "hard_label": half.truth.astype(int).tolist(),
            "soft_label": [[1.0 - y, float(y)] for y in half.truth.astype(float)],
        }
        return part["datasets"].tokenize_dataset(datasets.Dataset.from_dict(rows), tokenizer, 1024)

    def fitted(size: str, train: Any, test: Any) -> tuple[Any, float]:
        model = part["model"].TransformerWithHead.from_pretrained(str(folder / size), num_labels=2)
        found = part["train"].train_model(
            model, train, config.batch, lr=config.rate, epochs=config.epochs, minibatch_size=minibatch,
            loss_fn=part["loss"].xent_loss(), eval_ds=test, eval_batch_size=config.batch, eval_every=1_000_000,
        )  # fmt: skip
        return model, float(np.mean(found["acc"]))

    with tempfile.TemporaryDirectory() as logs, contextlib.redirect_stdout(io.StringIO()):
        say.configure(name="peer", save_path=logs)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder / config.strong))
        half_a, half_b, test = (table(half, tokenizer) for half in data)
        weak, floor = fitted(config.weak, half_a, test)
        labelled = part["eval"].eval_model_acc(weak, half_b, config.batch)
        student, ceiling = (fitted(config.strong, train, test)[1] for train in (labelled, half_b))
        say.shutdown()
    return {"floor": floor, "weak labels": float(np.mean(labelled["acc"])), "student": student, "ceiling": ceiling}


def on_a_cpu(peer: Path) -> None:
    """Make their package importable and runnable here, without a change to it."""
    if not (peer / "weak_to_strong" / "train.py").exists():
        raise SystemExit(f"{peer} is no checkout of openai/weak-to-strong: git clone it, and name the folder")
    sys.path.insert(0, str(peer))
    if not hasattr(transformers.modeling_utils, "load_sharded_checkpoint"):
        transformers.modeling_utils.load_sharded_checkpoint = None
    for unused in ("torch_optimizer", "wandb"):
        if importlib.util.find_spec(unused) is None:
            sys.modules[unused] = types.ModuleType(unused)


def main(config: Config) -> None:
    """Take turns, print seconds, accuracies and ratios."""
    on_a_cpu(config.peer)
    torch.set_num_threads(config.threads)
    data = halves(config)
    ways: dict[str, Callable[[Path, Halves], Accuracies]] = {
        "ours": partial(ours, config),
        "ours, head first": partial(ours, config, head_first=True),
    }
    for minibatch in config.minibatch:
        ways[f"theirs, minibatch {minibatch}"] = partial(theirs, config, minibatch=minibatch)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, Accuracies] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (config.weak, config.strong):
            save_model(load_model(f"family:{size}"), Path(folder) / size)
        for sweep in ways.values():  # imports and first calls
            a, b, test = (half.first(config.batch) for half in data)
            sweep(Path(folder), (a, b, test))
        for _ in range(config.rounds):
            for way, sweep in ways.items():
                torch.manual_seed(0)
                wall, busy = time.perf_counter(), time.process_time()
                found[way] = sweep(Path(folder), data)
                seconds[way].append(time.perf_counter() - wall)
                cpu[way].append(time.process_time() - busy)
                print(f"{way}: {seconds[way][-1]:.1f} s, {cpu[way][-1]:.1f} s of CPU", file=sys.stderr, flush=True)
    middle = {way: float(np.median(values)) for way, values in seconds.items()}
    ratios = {way: middle[way] / middle["ours"] for way in ways if way != "ours"}
    if config.json:
        print(json.dumps({"seconds": seconds, "cpu": cpu, "accuracy": found, "ratio": ratios}))
        return
    for way in ways:
        told = "  ".join(f"{name} {value:.3f}" for name, value in found[way].items())
        print(f"{way:24} {middle[way]:7.1f} s  {np.median(cpu[way]):7.1f} s CPU  {told}")
    for way, ratio in ratios.items():
        print(f"{way}: {ratio:.2f} times as long as ours")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
