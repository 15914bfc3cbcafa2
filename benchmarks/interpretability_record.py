"""What recording every unit costs over a bare forward pass of the body, beside what peers cost, in one run.

python benchmarks/interpretability_record.py                                   # ours, and peers that import here
python benchmarks/interpretability_record.py --peer-python ENV/bin/python      # peers in an environment of their own

One thread, processor time, rounds interleaved; each number is a ratio to the bare forward pass of the same round and
the same process, on the same tokens, with a t interval over rounds. Ours is read in steady state: what came before was
recorded, these tokens were not. Peers keep the top 20 of the neurons only, and nothing else, as in our `compact`.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

TOP = 20
PEERS = ("TransformerLens", "nnsight")


def timed(work: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each, round after round, the first one thrown away; the order turns."""
    found: dict[str, list[float]] = {name: [] for name in work}
    names = list(work)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            began = time.process_time()
            work[name]()
            if number:
                found[name].append(time.process_time() - began)
    return found


def bare(body: torch.nn.Module, batches: list[torch.Tensor]) -> None:
    """The forward pass."""
    with torch.inference_mode():
        for ids in batches:
            body(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)


def bare_fused(network: torch.nn.Module, body: torch.nn.Module, batches: list[torch.Tensor]) -> None:
    """The forward pass with GELU in one pass over memory, as ours runs it."""
    from superalign.training.fused import fused

    with fused(network):
        bare(body, batches)


def projections(body: torch.nn.Module) -> list[torch.nn.Module]:
    """GPT-2's last projections of its MLPs."""
    blocks: Any = body.h
    return [block.mlp.c_proj for block in blocks]


def hooked_top(body: torch.nn.Module, batches: list[torch.Tensor]) -> None:
    """The plain way: hooks, then the top 20 of all tokens of a batch and of what was kept."""
    kept: dict[int, torch.Tensor] = {}

    def hook(number: int) -> Callable[..., None]:
        def before(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            kept[number] = top_of(given[0], kept.get(number))

        return before

    handles = [part.register_forward_pre_hook(hook(i)) for i, part in enumerate(projections(body))]
    bare(body, batches)
    for handle in handles:
        handle.remove()


def top_of(values: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    """The 20 largest values of each unit, (20, units)."""
    flat = values.reshape(-1, values.shape[-1])
    return (flat if kept is None else torch.cat([kept, flat])).topk(TOP, dim=0).values


def lens(config: Any, batches: list[torch.Tensor]) -> dict[str, Callable[[], None]]:
    """TransformerLens, on a network of the same shape, against its own bare pass."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    network = HookedTransformer(
        HookedTransformerConfig(
            n_layers=config.n_layer, d_model=config.n_embd, n_ctx=config.n_positions, n_heads=config.n_head,
            d_head=config.n_embd // config.n_head, d_mlp=4 * config.n_embd, d_vocab=config.vocab_size,
            act_fn="gelu_new", normalization_type="LN", device="cpu",
        )
    )  # fmt: skip

    def run(filtered: bool | None) -> None:
        kept: dict[str, torch.Tensor] = {}
        with torch.inference_mode():
            for ids in batches:
                if filtered is None:
                    network(ids, stop_at_layer=config.n_layer)
                    continue
                names = (lambda name: name.endswith("mlp.hook_post")) if filtered else None
                _, cache = network.run_with_cache(ids, names_filter=names, stop_at_layer=config.n_layer)
                for name in [name for name in cache if name.endswith("mlp.hook_post")]:
                    kept[name] = top_of(cache[name], kept.get(name))

    return {
        "TransformerLens, bare": lambda: run(None),
        "TransformerLens, names_filter + top": lambda: run(True),
        "TransformerLens, cache + top": lambda: run(False),
    }


def traced(body: torch.nn.Module, batches: list[torch.Tensor]) -> dict[str, Callable[[], None]]:
    """nnsight, one trace a batch."""
    from nnsight import NNsight

    model = NNsight(body)

    def run() -> None:
        kept: dict[int, torch.Tensor] = {}
        with torch.inference_mode():
            for ids in batches:
                saved: list[torch.Tensor] = []
                with model.trace(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False):
                    for block in model.h:
                        saved.append(block.mlp.c_proj.input.save())
                for number, values in enumerate(saved):
                    kept[number] = top_of(values, kept.get(number))

    return {"nnsight, trace + top": run}


def peers(folder: Path, rounds: int) -> dict[str, list[float]]:
    """All peers that import here, on the body and the batches in a folder. Needs torch and transformers alone."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    body: Any = AutoModelForCausalLM.from_pretrained(folder).base_model.eval()
    ids = np.load(folder / "ids.npy")
    batches = [torch.from_numpy(ids[at : at + 32].astype(np.int64)) for at in range(0, len(ids), 32)]
    work: dict[str, Callable[[], None]] = {"bare": lambda: bare(body, batches)}
    work["hooks + top"] = lambda: hooked_top(body, batches)
    if importlib.util.find_spec("transformer_lens"):
        work |= lens(body.config, batches)
    if importlib.util.find_spec("nnsight"):
        work |= traced(body, batches)
    return timed(work, rounds)


def ours(address: str, warm: int, blocks: int, rounds: int, folder: Path) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds of the bare pass and of ours on the same sequences; the first pass, from nothing, apart."""
    from superalign.interpretability.corpora import code_corpus
    from superalign.interpretability.reader import Best, Job, Reader, blocks_of
    from superalign.interpretability.sketch import COMPACT, FULL, bytes_per_unit
    from superalign.interpretability.units import body_of, heads, neurons
    from superalign.models import load_model

    torch.set_num_threads(1)
    model = load_model(address)
    corpus = code_corpus(model)
    grid = blocks_of(corpus, FULL)
    train = [
        i for i, block in enumerate(grid) if block.split == "train" and block.last - block.first == 32 * FULL.block
    ]
    late = tuple(train[-blocks:])
    before = [Job("train", tuple(train[at : at + 2])) for at in range(0, min(warm, len(train) - blocks), 2)]
    body, some = body_of(model), np.concatenate([np.arange(grid[i].first, grid[i].last) for i in late])
    lengths = [int(corpus.lengths[some[at : at + 32]].max()) for at in range(0, len(some), 32)]
    parts = [corpus.ids[some[at : at + 32], :end] for at, end in zip(range(0, len(some), 32), lengths, strict=True)]
    batches = [torch.from_numpy(part.astype(np.int64)) for part in parts]
    np.save(folder / "ids.npy", corpus.ids[some])
    model.network.save_pretrained(folder)  # type: ignore[operator]

    both, only, said = (*neurons(model), *heads(model)), neurons(model), []
    work: dict[str, Callable[[], None]] = {"bare": lambda: bare(body, batches)}
    work["bare, GELU fused as in ours"] = lambda: bare_fused(model.network, body, batches)
    for name, sites, scope in (("full", both, FULL), ("compact", only, COMPACT)):
        reader = Reader(model=model, sites=sites, corpus=corpus, seed=0, scope=scope)
        first = sum(_spent(lambda job=job, reader=reader: reader.read(job)) for job in before)
        plain = sum(_spent(lambda job=job: bare(body, _batches(corpus, grid, job.blocks))) for job in before)
        said.append(f"ours, {name}: the first {sum(len(job.blocks) for job in before)} blocks × {first / plain:.3f}")
        sketch = reader.nothing(len(grid)).sketch(only[0].name, "train")
        said.append(f"ours, {name}: {bytes_per_unit(sketch):,.0f} B a neuron and split, token table apart")
        settled = copy.deepcopy(reader.best)

        def go(reader: Reader = reader, settled: Best = settled) -> None:
            object.__setattr__(reader, "best", copy.deepcopy(settled))
            reader.read(Job("train", late))

        work[f"ours, {name}"] = go
    return timed(work, rounds), said


def _batches(corpus: Any, grid: Any, blocks: tuple[int, ...]) -> list[torch.Tensor]:
    rows = [np.arange(at, min(at + 32, grid[i].last)) for i in blocks for at in range(grid[i].first, grid[i].last, 32)]
    return [torch.from_numpy(corpus.ids[r, : int(corpus.lengths[r].max())].astype(np.int64)) for r in rows]


def _spent(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def show(found: dict[str, list[float]], title: str) -> None:
    """Ratios to the bare pass of the same round."""
    from superalign.stats import mean_interval

    print(f"\n{title}: bare {np.median(found['bare']):.2f} s")
    for name, seconds in found.items():
        if name != "bare":
            each = mean_interval(np.array(seconds) / np.array(found["bare"]))
            least = min(seconds) / min(found["bare"])
            print(f"  {each.value:6.3f}  [{each.low:.3f}, {each.high:.3f}]  least to least {least:.3f}   {name}")


def main() -> None:
    """Ours, then peers, here or there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="family:m")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--warm", type=int, default=6, help="blocks of 1,024 sequences read before")
    parser.add_argument("--blocks", type=int, default=1, help="blocks that are timed")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(peers(given.child, given.rounds)))
        return
    with tempfile.TemporaryDirectory() as kept:
        found, said = ours(given.model, given.warm, given.blocks, given.rounds, Path(kept))
        show(found, f"{given.model}, {given.blocks} blocks of 1,024 sequences")
        print("\n".join(f"  {line}" for line in said))
        command = [given.peer_python, __file__, "--child", kept, "--rounds", str(given.rounds)]
        other = subprocess.run(command, capture_output=True, text=True, check=False)
    if other.returncode:
        sys.exit(f"peers failed in {given.peer_python}:\n{other.stderr[-2000:]}")
    beside = json.loads(other.stdout.splitlines()[-1])
    show(beside, "peers, top 20 of neurons, to their own process' bare pass")
    missing = [name for name in PEERS if not any(method.startswith(name) for method in beside)]
    print(f"  not there: {', '.join((*missing, 'delphi'))}; delphi does not import on a machine without CUDA")


if __name__ == "__main__":
    main()
