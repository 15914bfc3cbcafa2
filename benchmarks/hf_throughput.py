"""Answers per second of our `hf:` path against Inspect's built-in `hf` provider: same model on disk, same prompts.

    python benchmarks/hf_throughput.py [--json] [--prompts 64 256] [--runs 3] [--models gpt2 llama]

A tiny random network is saved to disk; every run is a fresh process that loads it, answers one prompt to be warm, then
is timed over all prompts, 16 greedy tokens each with log-probabilities. Three ways through Inspect, each with batches
of 64: `inspect_ai.eval` as its users call it, the same with logs in real time and score display off, and
`get_model("hf/…").generate` for all prompts at once, without any evaluation around. Loading is timed apart. The fastest
of several runs counts on each side, and the load of the machine is printed with it. Ours also prints the largest
difference between its log-probabilities, of prompts and of answers, and those of one unbatched reference forward pass.

`set_model_info` comes first: without it, Inspect asks the hub about the model, for half a minute where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TOKENS, LONGEST = 16, 256
TEXT = "the judge reads what both sides say and asks which answer is right one side is honest who knows why"
WORDS = TEXT.split()
WAYS = ("ours", "inspect eval", "inspect eval, quiet", "inspect get_model")


def prompts(count: int) -> list[str]:
    """Questions of 4 to 34 words, no two alike."""
    return [
        " ".join([f"Question {i}:", *(WORDS[(i * 7 + j) % len(WORDS)] for j in range(2 + i % 31))])
        for i in range(count)
    ]


def save(kind: str, folder: Path) -> None:
    """A network of 2 blocks, width 64, with a byte-level tokenizer and a chat template, as the hub would hold it."""
    import torch
    import transformers as t
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|begin|>", "<|end|>", "<|start|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(prompts(200), trainer)
    tokenizer = t.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<|begin|>", eos_token="<|end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
    )
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.3,
    }
    config: Any = (
        t.GPT2Config(n_positions=LONGEST, n_embd=64, n_layer=2, n_head=4, **shape)
        if kind == "gpt2"
        else t.LlamaConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=LONGEST, **shape,
        )
    )  # fmt: skip
    torch.manual_seed(0)
    t.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def ours(folder: str, asked: list[str]) -> dict[str, Any]:
    """Load, warm up, answer all; then compare log-probabilities with the reference."""
    from superalign.models import load_model
    from superalign.models.chatting import speaker_of
    from superalign.models.speaker import Ask, Turn

    began = time.perf_counter()
    speaker = speaker_of(load_model(f"hf:{folder}"))
    asks = [Ask(messages=(Turn("user", each),), tokens=TOKENS) for each in asked]
    speaker.ask([Ask(messages=(Turn("user", "warm"),), tokens=TOKENS)])
    loaded = time.perf_counter()
    replies = speaker.ask(asks)
    seconds = time.perf_counter() - loaded
    said = [reply.text for reply in replies]
    return {"load": loaded - began, "seconds": seconds, "said": said, "off": _off(speaker, asks, replies)}


def _off(speaker: Any, asks: list[Any], replies: list[Any]) -> float:
    """max |Δ log p| against one forward pass a text, unpadded, in float64 from the logits on."""
    import numpy as np
    import torch

    from superalign.models.chatting import prompt_of

    model, worst = speaker.model, 0.0

    def reference(ids: list[int]) -> np.ndarray:
        with torch.inference_mode():
            logits = model.network(input_ids=torch.tensor([ids])).logits[0, :-1].double()
        return torch.log_softmax(logits, -1).gather(-1, torch.tensor(ids)[1:, None])[:, 0].numpy()

    texts = [ask.messages[0].content for ask in asks]
    for text, got in zip(texts, model.logprobs(texts), strict=True):
        worst = max(worst, float(np.abs(got - reference(model.encode([text])[0])).max()))
    from superalign.models.generation import Request, continuations

    wanted = [Request(ids=prompt_of(model.tokenizer, ask, who="").ids, tokens=TOKENS) for ask in asks]
    for request, made, reply in zip(wanted, continuations(model, wanted), replies, strict=True):
        said = np.array([token.logprob for token in reply.tokens])
        want = reference([*request.ids, *made.ids])[len(request.ids) - 1 :]
        worst = max(worst, float(np.abs(said - want).max(initial=0.0)))
    return worst


def inspect(folder: str, asked: list[str], *, way: str) -> dict[str, Any]:
    """The same through Inspect's provider; greedy there is do_sample=False."""
    import asyncio

    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageUser, GenerateConfig, ModelInfo, get_model, set_model_info
    from inspect_ai.solver import generate

    for name in (f"hf/{folder}", folder, f"hf/{Path(folder).name}"):
        set_model_info(name, ModelInfo(context_length=LONGEST))
    began = time.perf_counter()
    config = GenerateConfig(max_tokens=TOKENS, logprobs=True, max_connections=64)
    model = get_model("hf/local", model_path=folder, device="cpu", do_sample=False, config=config)
    set_model_info(str(model), ModelInfo(context_length=LONGEST))

    async def all_of(texts: list[str]) -> list[str]:
        made = await asyncio.gather(*(model.generate([ChatMessageUser(content=text)]) for text in texts))
        return [each.completion for each in made]

    if way == "inspect get_model":
        asyncio.run(all_of(["warm"]))
        loaded = time.perf_counter()
        said = asyncio.run(all_of(asked))
        return {"load": loaded - began, "seconds": time.perf_counter() - loaded, "said": said}

    def evaluated(texts: list[str]) -> list[str]:
        samples = [Sample(input=text, id=i) for i, text in enumerate(texts)]
        quiet = {"log_realtime": False, "score_display": False} if way.endswith("quiet") else {}
        (log,) = eval(Task(dataset=MemoryDataset(samples), solver=generate()), model=model, display="none",
                      log_dir=str(Path(folder).parent / "logs"), **quiet)  # fmt: skip
        if log.status != "success" or not log.samples:
            raise SystemExit(f"inspect: {log.status}: {log.error.message if log.error else 'no samples'}")
        return [sample.output.completion for sample in sorted(log.samples, key=lambda each: each.id)]

    evaluated(["warm"])
    loaded = time.perf_counter()
    said = evaluated(asked)
    return {"load": loaded - began, "seconds": time.perf_counter() - loaded, "said": said}


def one(way: str, folder: str, count: int) -> None:
    """One run, in this process: its JSON on the last line of stdout."""
    import torch

    torch.set_num_threads(1)
    asked = prompts(count)
    print(json.dumps(ours(folder, asked) if way == "ours" else inspect(folder, asked, way=way)))


def fresh(way: str, folder: Path, count: int) -> dict[str, Any]:
    """One run in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, __file__, "--one", way, "--folder", str(folder), "--prompts", str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Every model, number of prompts and way; ratios of the fastest runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--prompts", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--models", nargs="+", default=["gpt2", "llama"], choices=["gpt2", "llama"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.one:
        return one(told.one, told.folder, told.prompts[0])
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for kind in told.models:
            save(kind, Path(place) / kind)
            for count in told.prompts:
                rows.append(compared(kind, Path(place) / kind, count, runs=told.runs))
                if not told.json:
                    shown(rows[-1])
    if told.json:
        print(json.dumps({"tokens": TOKENS, "rows": rows}))


def compared(kind: str, folder: Path, count: int, *, runs: int) -> dict[str, Any]:
    """All ways in turn, `runs` times; the fastest of each, and how often the answers were ours."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(runs):
        for way in WAYS:
            found[way].append(fresh(way, folder, count))
            print(f"{kind} {count} {way}: {found[way][-1]['seconds']:.2f} s", file=sys.stderr)
    best = {way: min(each["seconds"] for each in made) for way, made in found.items()}
    mine = found["ours"][0]["said"]
    return {
        "model": kind,
        "prompts": count,
        "seconds": best,
        "load": {way: min(each["load"] for each in made) for way, made in found.items()},
        "ratio": {way: best[way] / best["ours"] for way in WAYS[1:]},
        "same answers": {
            way: sum(a == b for a, b in zip(mine, found[way][0]["said"], strict=True)) / count for way in WAYS[1:]
        },
        "off": max(each["off"] for each in found["ours"]),
        "loads": list(os.getloadavg()),
    }


def shown(row: dict[str, Any]) -> None:
    """One row as lines of text."""
    print(f"{row['model']}, {row['prompts']} prompts, {TOKENS} tokens each (load {row['loads'][0]:.1f})")
    for way, seconds in row["seconds"].items():
        ratio = (
            f"  ours × {row['ratio'][way]:.1f}, answers alike {row['same answers'][way]:.0%}"
            if way in row["ratio"]
            else ""
        )
        print(f"  {way:22} {seconds:8.3f} s  {row['prompts'] / seconds:9.1f} answers/s{ratio}")
    print(f"  max |Δ log p| of ours against a reference forward pass: {row['off']:.1e}")


if __name__ == "__main__":
    main()
