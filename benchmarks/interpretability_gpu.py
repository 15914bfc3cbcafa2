"""Recording 307,200 neurons of a GPT-2-XL-shaped network on one GPU, as a share of the bare forward pass (no LM head).

PYTHONPATH=src python3 benchmarks/interpretability_gpu.py --json gpu.json      # random weights and tokens; no file read
PYTHONPATH=src python3 benchmarks/interpretability_gpu.py --tiny               # the same code on a CPU, in a minute

First the device's code is checked against the CPU's on a small network. The bare pass reads the same batches of 32
sequences before, between jobs, and after; every second of a recording counts, what comes over and is merged as well.
Each part ends after `--seconds` and tells what it read until then.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

ROWS = 32


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules for packages that sign and canonicalise, which a recording never does, where they are missing."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] not in ("cryptography", "rfc8785"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        module = ModuleType(spec.name)

        def anything(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (Exception,), {})

        module.__getattr__ = anything  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        return None


sys.meta_path.append(_StandIn())  # last, so that installed ones come first


class OutOfTimeError(Exception):
    """The part's seconds are over."""


@dataclass(kw_only=True)
class Shape:
    """What is measured."""

    layers: int = 48
    width: int = 1_600
    heads: int = 25
    length: int = 1_024
    words: int = 50_257
    documents: int = 300


TINY = Shape(layers=3, width=64, heads=4, length=48, words=500, documents=60)


def say(*told: object) -> None:
    """A line, at once."""
    print(f"[{time.strftime('%H:%M:%S')}]", *told, flush=True)


def model_of(shape: Shape, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Any:
    """A network of random weights, without a tokenizer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from superalign.models import LocalModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=shape.words, n_positions=shape.length, n_embd=shape.width, n_layer=shape.layers,
        n_head=shape.heads, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    with device:
        network: Any = GPT2LMHeadModel(config)
    network = network.to(dtype).eval().requires_grad_(False)
    return LocalModel(name="gpt2 of random weights", network=network, tokenizer=None, digest=f"seed {seed}")


def corpus_of(shape: Shape, tokens: int, *, seed: int = 0, ragged: bool = False) -> Any:
    """At least so many Zipf-distributed tokens, in documents of about as many sequences, split by name as always."""
    from superalign.interpretability.corpus import SPLITS, Corpus, split_of

    rng, n = np.random.default_rng(seed), -(-tokens // shape.length)
    names = sorted((f"d{i}" for i in range(shape.documents)), key=lambda name: (SPLITS.index(split_of(name)), name))
    documents = np.sort(rng.integers(0, len(names), n)).astype(np.int32)
    shares = np.cumsum(1 / (np.arange(shape.words) + 2.7))
    ids = np.searchsorted(shares, rng.random((n, shape.length)) * shares[-1]).clip(max=shape.words - 1)
    splits = np.array([SPLITS.index(split_of(name)) for name in names], dtype=np.uint8)[documents]
    ends = rng.integers(8, shape.length + 1, n) if ragged else np.full(n, shape.length)
    return Corpus(
        ids=ids.astype(np.int32), lengths=ends.astype(np.int32), documents=documents, names=tuple(names),
        splits=splits, pad=0, skip=2 if ragged else 0,
        classes=rng.integers(-1, 2, n).astype(np.int8) if ragged else None,
    )  # fmt: skip


def waited(device: torch.device) -> float:
    """The time, after the device has done all."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(kw_only=True)
class Bare:
    """The forward pass of the body alone, on the corpus' batches, one after the other."""

    model: Any
    corpus: Any
    device: torch.device
    rates: dict[str, list[float]] = field(default_factory=lambda: {"fused": [], "plain": []})
    """Tokens per second of each round."""
    next: int = 0

    def round(self, kind: str, batches: int, seconds: float) -> float:
        """Some batches; tokens per second."""
        from superalign.interpretability.units import body_of
        from superalign.training.fused import fused

        body, read, began = body_of(self.model), 0, waited(self.device)
        with torch.inference_mode(), fused(self.model.network) if kind == "fused" else nullcontext():
            for _ in range(batches):
                rows = self.corpus.ids[self.next : self.next + ROWS]
                self.next = 0 if self.next + 2 * ROWS > len(self.corpus) else self.next + ROWS
                ids = torch.from_numpy(rows.astype(np.int64)).to(self.device)
                body(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
                read += ids.numel()
                if time.perf_counter() - began > seconds:
                    break
        self.rates[kind].append(read / (waited(self.device) - began))
        return self.rates[kind][-1]

    def spread(self, kind: str) -> str:
        """Slowest and fastest round."""
        return f"{min(self.rates[kind]):,.0f} to {max(self.rates[kind]):,.0f}"

    def rate(self, kind: str) -> float:
        """Over all rounds, tokens per second."""
        return float(1 / np.mean(1 / np.array(self.rates[kind])))


@dataclass(kw_only=True)
class Watch:
    """When each batch of a recording began, time spent elsewhere left out; and the end of patience."""

    seconds: float
    begins: list[float] = field(default_factory=list)
    away: float = 0.0
    here: bool = True

    def now(self) -> float:
        """Seconds."""
        return time.perf_counter() - self.away

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done here does not count."""
        began, self.here = time.perf_counter(), False
        yield
        self.here = True
        self.away += time.perf_counter() - began

    def tick(self, module: torch.nn.Module, given: Any) -> None:
        """Before each forward pass."""
        if not self.here:
            return
        self.begins.append(self.now())
        if self.begins[-1] - self.begins[0] > self.seconds:
            raise OutOfTimeError
        if len(self.begins) % 32 == 2 and len(self.begins) > 2:
            some = self.begins[-33:]
            say(f"  batch {len(self.begins) - 1}: {(some[-1] - some[0]) / (len(some) - 1):.3f} s each")


def recorded(
    name: str, model: Any, corpus: Any, scope: Any, bare: Bare, seconds: float, between: int
) -> dict[str, Any]:
    """Record all neurons, and the bare pass between jobs."""
    from superalign.interpretability.reader import blocks_of
    from superalign.interpretability.record import record
    from superalign.interpretability.sketch import bytes_per_unit, empty
    from superalign.interpretability.units import body_of, neurons

    sites, watch, device = neurons(model), Watch(seconds=seconds), bare.device
    units = sum(site.units for site in sites)
    say(f"{name}: {units:,} neurons, {len(corpus) * corpus.length:,} tokens")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def between_jobs(done: int) -> None:
        with watch.paused():
            say(f"  {done} sequences more; bare {bare.round('fused', between, 10):,.0f} tokens/s")

    handle = body_of(model).register_forward_pre_hook(watch.tick)
    waited(device)
    began, whole = watch.now(), True
    try:
        record(model, sites, corpus, seed=0, scope=scope, progress=between_jobs, resident=True)
    except OutOfTimeError:
        whole = False
    finally:
        handle.remove()
    waited(device)
    ended, grid = watch.now(), blocks_of(corpus, scope)
    batches = [-(-(block.last - block.first) // ROWS) for block in grid]
    starts = 1 + np.concatenate([[0], np.cumsum(batches)])  # the first pass of all is the one for scales
    stamps = np.array([*watch.begins, ended])
    rates = []
    for block, first, last in zip(grid, starts, starts[1:], strict=False):
        if last < len(stamps) and block.last - block.first >= ROWS * scope.block // 2:
            rates.append((block.last - block.first) * corpus.length / (stamps[last] - stamps[first]))
    read = min(int(starts[-1]), len(watch.begins) if whole else len(watch.begins) - 1) - 1
    tokens = len(corpus) * corpus.length if whole else read * ROWS * corpus.length
    one = empty(sites[0].units, scope, np.zeros(sites[0].units, dtype=np.int16), words=1, classes=0)
    return {
        "name": name,
        "units": units,
        "whole": whole,
        "tokens": tokens,
        "seconds": ended - began,
        "rate": tokens / (ended - began),
        "setup_seconds": float(stamps[min(1, len(stamps) - 1)] - began),
        "block_rates": rates,
        "bytes_per_neuron": bytes_per_unit(one),
        "peak_device_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        "peak_host_bytes": 1_024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def show(found: dict[str, Any], bare: Bare) -> None:
    """Shares of the bare pass."""
    from superalign.stats import mean_interval

    part = "" if found["whole"] else " (out of time)"
    say(f"{found['name']}{part}: {found['tokens']:,} tokens in {found['seconds']:.1f} s, {found['rate']:,.0f} tokens/s")
    for kind in ("fused", "plain"):
        rate = bare.rate(kind)
        line = f"  share of bare, GELU {kind} ({rate:,.0f} tokens/s, rounds {bare.spread(kind)}): "
        line += f"{found['rate'] / rate:.3f} of all"
        shares = np.array(found["block_rates"]) / rate
        if len(shares):
            line += f"; blocks {np.median(shares):.3f}, {shares.min():.3f} to {shares.max():.3f}"
        if len(shares) > 2:
            each = mean_interval(shares)
            line += f"; mean {each.value:.3f} [{each.low:.3f}, {each.high:.3f}]"
        say(line)
        found[f"share_{kind}"], found[f"block_shares_{kind}"] = found["rate"] / rate, shares.tolist()
    say(
        f"  {found['bytes_per_neuron']:,.0f} B a neuron and split; peak {found['peak_device_bytes'] / 2**30:.1f} GiB "
        f"on the device, {found['peak_host_bytes'] / 2**30:.1f} GiB on the host; setup {found['setup_seconds']:.1f} s"
    )


def checked(device: torch.device, dtype: torch.dtype) -> list[str]:
    """What differs between the device's recording and the CPU's of the same activations; nothing should."""
    from superalign.interpretability.record import record
    from superalign.interpretability.sketch import Scope
    from superalign.interpretability.units import directions, heads, neurons

    model, shape = model_of(TINY, device, dtype), TINY
    corpus, wrong = corpus_of(shape, 2_000 * shape.length, ragged=True), list[str]()
    stream = directions(model, 1, np.random.default_rng(0).normal(size=(40, shape.width)))
    sites, scope = (*neurons(model), *heads(model), stream), Scope(every=4, signs=64, block=4)
    one, other = (record(model, sites, corpus, seed=0, scope=scope, resident=stay) for stay in (False, True))
    mine: Any
    for key, mine in one.sketches.items():
        its: Any = other.sketches[key]
        size = np.sqrt(mine.mean**2 + mine.variance)
        for name in ("tokens", "odd", "scales", "histogram", "table_counts", "class_tokens", "class_odd"):
            if not np.array_equal(getattr(mine, name), getattr(its, name)):
                wrong.append(f"{key} {name}")
        for name in ("high.values", "high.rows", "high.places", "high.windows", "low.rows", "strata.rows"):
            outer, inner = name.split(".")
            pair = [getattr(getattr(sketch, outer), inner) for sketch in (mine, its)]
            if not np.array_equal(pair[0], pair[1], equal_nan=True):
                wrong.append(f"{key} {name}")
        away = np.abs(its.mean - mine.mean) / size
        off = np.abs(its.variance - mine.variance) / size**2
        if not (away.max() < 1e-5 and off.max() < 1e-5):
            wrong.append(f"{key} mean by {away.max():.1e}, variance by {off.max():.1e} of the unit's size")
        if np.abs(its.signs - mine.signs).max() > 4 or not np.allclose(
            its.token_means(), mine.token_means(), 1e-4, 1e-4, equal_nan=True
        ):
            wrong.append(f"{key} signs or token means")
    return wrong


def passes(shape: Shape, device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Milliseconds of single passes over one site's batch, and of a copy: where time goes."""
    values = torch.randn(ROWS, shape.length, 4 * shape.width, device=device).to(dtype)
    work: dict[str, Callable[[], Any]] = {
        "copy": lambda: values.clone(),
        "amax": lambda: values.amax(dim=1),
        "amin": lambda: values.amin(dim=1),
        "sum": lambda: values.sum(dim=1, dtype=torch.float32),
        "norm": lambda: torch.linalg.vector_norm(values, dim=1, dtype=torch.float32),
        "sort": lambda: torch.ones(4 * shape.width, 52, dtype=torch.int64, device=device).sort(dim=1, descending=True),
    }
    found = {}
    for name, run in work.items():
        run()
        began = waited(device)
        for _ in range(10):
            run()
        found[name] = 100 * (waited(device) - began)
    return found


def parts(given: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """All that is measured."""
    from superalign.interpretability.sketch import COMPACT, FULL

    shape, dtype = (TINY if given.tiny else Shape()), torch.bfloat16
    found: dict[str, Any] = {"torch": torch.__version__, "shape": vars(shape), "recordings": []}
    found["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    say(found["device"], "torch", torch.__version__)
    found["check"] = {str(kind): checked(device, kind) for kind in (torch.float32, dtype)}
    for kind, wrong in found["check"].items():
        say(
            f"check in {kind}:", "; ".join(wrong[:6]) or "equal to the CPU's", f"({len(wrong)} differ)" if wrong else ""
        )
    found["passes_ms"] = passes(shape, device, dtype)
    say("one site's batch, ms:", ", ".join(f"{name} {ms:.3f}" for name, ms in found["passes_ms"].items()))
    model, corpus = model_of(shape, device, dtype), corpus_of(shape, given.tokens)
    say(f"network and {len(corpus):,} sequences are there")
    bare = Bare(model=model, corpus=corpus, device=device)
    bare.round("fused", 3, 10)
    bare.rates["fused"].clear()
    around(bare, given)
    scopes = {
        "compact": (COMPACT, given.tokens),
        "full, no token table": (replace(FULL, table=False), given.full_tokens),
    }
    for name, (scope, tokens) in scopes.items():
        if name.split(",")[0] not in given.only:
            continue
        some = corpus if tokens == given.tokens else corpus_of(shape, tokens, seed=1)
        bare.rates = {kind: rounds[-2:] for kind, rounds in bare.rates.items()}
        found["recordings"].append(recorded(name, model, some, scope, bare, given.seconds, given.between))
        around(bare, given)
        show(found["recordings"][-1], bare)
        found["recordings"][-1]["bare"] = bare.rates
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))
    return found


def around(bare: Bare, given: argparse.Namespace) -> None:
    """Some rounds of the bare pass, both ways in turn."""
    for _ in range(2):
        for kind, batches in (("fused", given.batches), ("plain", given.batches // 2)):
            say(f"bare, GELU {kind}: {bare.round(kind, batches, given.seconds / 4):,.0f} tokens/s")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small network on the CPU, by the device's code")
    parser.add_argument("--tokens", type=int, default=0, help="10.5 M by default")
    parser.add_argument("--full-tokens", type=int, default=0, help="4.2 M by default")
    parser.add_argument(
        "--batches", type=int, default=30, help="of a round of the bare pass, two rounds before and after"
    )
    parser.add_argument("--between", type=int, default=8, help="batches of the bare pass between jobs")
    parser.add_argument("--seconds", type=float, default=150, help="that a recording may take")
    parser.add_argument("--only", nargs="+", default=["compact", "full"], choices=["compact", "full"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(argv)
    given.tokens = given.tokens or (6_000 * 48 if given.tiny else 10_240 * 1_024)
    given.full_tokens = given.full_tokens or (3_000 * 48 if given.tiny else 4_096 * 1_024)
    if not given.tiny and not torch.cuda.is_available():
        sys.exit("no GPU here: --tiny runs the same code on the CPU")
    parts(given, torch.device("cpu" if given.tiny else "cuda:0"))


if __name__ == "__main__":
    main()
