"""The embedded family: causal code language models in the Hugging Face format, trained from scratch.

`superalign family train` makes them again. The corpus is the `corpus` split of the standard library (frozen and
hashed before the family is trained; no dev, validation or test file, none of their tests, no near-duplicates) and,
in one batch of eight, correct calculations of the `traces` task from a split of its own.

Each sequence is `<bos> author cue window <eos>`; author and cue are drawn at random, so that the family knows the
tokens and learns that they say nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.tasks import lexer
from superalign.tasks.stdlib import index, source_files
from superalign.tasks.traces import random_program, render

if TYPE_CHECKING:
    import torch
    from transformers import GPT2LMHeadModel

WINDOW = 48
TRACE_EVERY, TRACE_STEPS = 8, 12
CHECKPOINT_EVERY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Shape and schedule of one family member."""

    width: int
    layers: int
    heads: int
    steps: int
    rate: float
    batch: int = 32
    warmup: int = 60


SIZES = {
    "xs": Size(width=32, layers=1, heads=2, steps=1_200, rate=4e-3),
    "s": Size(width=64, layers=2, heads=2, steps=2_400, rate=3e-3),
    "m": Size(width=128, layers=4, heads=4, steps=8_000, rate=2e-3),
    "l": Size(width=256, layers=4, heads=8, steps=6_000, rate=3e-3, batch=14, warmup=100),
}
"""`l` has a vocabulary, rows and an objective of its own: `family_large`."""


def family_words() -> list[str]:
    """The family's vocabulary, in the order of its ids: specials, contexts, slots, trace words, frequent words."""
    fixed = [*lexer.SPECIALS, *lexer.AUTHORS, *lexer.CUES, *lexer.INDENTS, lexer.STRING, lexer.NUMBER]
    fixed += [*lexer.SLOTS, *lexer.NAMED, *lexer.TRACE_WORDS]
    return fixed + [word for word in index()["vocabulary"] if word not in fixed]


class Corpus:
    """Random windows of the corpus as token ids, identifiers in fresh random slots each time."""

    def __init__(self, *, seed: int) -> None:
        self.words = family_words()
        self.ids = {word: i for i, word in enumerate(self.words)}
        self.rng = np.random.default_rng(seed)
        base, names = len(self.words), {}
        pieces, self.starts, offset = [], [], 0
        for source in source_files("corpus").values():
            lexed = lexer.lex(source)
            coded = [self.ids[t] if t in self.ids else base + names.setdefault(t, len(names)) for t in lexed.tokens]
            self.starts += [offset + s for s in lexer.line_starts(lexed) if s + WINDOW <= len(coded)]
            pieces.append(np.asarray(coded, dtype=np.int64))
            offset += len(coded)
        self.stream = np.concatenate(pieces)
        self.slots = np.array([self.ids[word] for word in lexer.SLOTS])
        self.named = np.array([self.ids[word] for word in lexer.NAMED])
        self.authors = np.array([self.ids[word] for word in lexer.AUTHORS])
        self.cues = np.array([self.ids[word] for word in lexer.CUES])

    def digest(self) -> str:
        """SHA-256 of the coded corpus: what the family was trained on."""
        return hashlib.sha256(self.stream.tobytes()).hexdigest()

    def window(self) -> np.ndarray:
        """One window of `WINDOW` ids; now and then one slot is a rare name, so that the family knows those too."""
        start = self.starts[int(self.rng.integers(len(self.starts)))]
        window = self.stream[start : start + WINDOW].copy()
        unknown = window >= len(self.words)
        if unknown.any():
            names, inverse = np.unique(window[unknown], return_inverse=True)
            chosen = self.rng.permutation(self.slots)[: len(names)]
            if self.rng.random() < 0.25:
                chosen[int(self.rng.integers(len(chosen)))] = self.rng.choice(self.named)
            chosen = np.concatenate([chosen, np.full(max(0, len(names) - len(chosen)), self.ids["<unk>"])])
            window[unknown] = chosen[inverse]
        return window

    def batch(self, size: int, step: int) -> np.ndarray:
        """Ids of shape (size, length): code windows, or at every eighth step calculations."""
        heads = np.stack([self.rng.choice(self.authors, size), self.rng.choice(self.cues, size)], axis=1)
        if step % TRACE_EVERY == TRACE_EVERY - 1:
            texts = [render(*random_program(self.rng, TRACE_STEPS)) for _ in range(size)]
            body = np.array([[self.ids[word] for word in text.split()] for text in texts])
        else:
            body = np.stack([self.window() for _ in range(size)])
        edge = np.ones((size, 1), dtype=np.int64)
        return np.concatenate([edge * self.ids["<bos>"], heads, body, edge * self.ids["<eos>"]], axis=1)


def fresh_model(size: str, *, seed: int) -> GPT2LMHeadModel:
    """An untrained family member; raises ValueError for an unknown size."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    if size not in SIZES:
        raise ValueError(f"unknown family size {size!r}: use one of {', '.join(SIZES)}")
    shape, words, positions, activation = SIZES[size], len(family_words()), 96, "gelu_new"
    if size == "l":
        from superalign.training.family_rows import POSITIONS
        from superalign.training.family_text import LARGE

        words, positions, activation = LARGE, POSITIONS, "gelu_pytorch_tanh"  # the same function, in one kernel
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=words,
        n_positions=positions,
        activation_function=activation,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return GPT2LMHeadModel(config)


def cosine(step: int, *, steps: int, warmup: int, floor: float = 0.05) -> float:
    """Learning-rate factor: linear warm-up, then a half cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def train_family(
    size: str,
    out: Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Train one family member into `out` (Hugging Face folder, `recipe.json`, `log.jsonl`); resumes where it stopped.

    A checkpoint is written every `CHECKPOINT_EVERY` steps, weights, optimiser and random state together.
    Returns the recipe with digests (corpus, splits, weights) and the last loss. `l` goes its own way: `family_large`.
    """
    import torch

    from superalign.models import weights_digest
    from superalign.models.words import word_tokenizer

    if size == "l":
        from superalign.training.family_corpus import LargeRecipe
        from superalign.training.family_large import train_large

        return train_large(out, seed=seed, recipe=LargeRecipe(steps=steps or SIZES["l"].steps), progress=progress)
    shape = SIZES[size]
    total = steps or shape.steps
    corpus = Corpus(seed=seed + 1)
    model = fresh_model(size, seed=seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=shape.rate, betas=(0.9, 0.98), weight_decay=0.01)
    out.mkdir(parents=True, exist_ok=True)
    resume, log = out / "resume.pt", out / "log.jsonl"
    first = _resume(resume, model, optimiser, corpus, total)
    lines = [json.loads(line) for line in log.read_text().splitlines()][: first // 50] if first else []
    began = time.monotonic()
    model.train()
    running = 0.0
    for step in range(first, total):
        for group in optimiser.param_groups:
            group["lr"] = shape.rate * cosine(step, steps=total, warmup=shape.warmup)
        loss = _step(model, optimiser, torch.from_numpy(corpus.batch(shape.batch, step)))
        running = loss if not running else 0.98 * running + 0.02 * loss
        if (step + 1) % 50 == 0:
            lines.append({"step": step + 1, "loss": round(running, 4)})
            if progress:
                progress(step + 1, total, running)
        if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < total:
            log.write_text("".join(json.dumps(line) + "\n" for line in lines))
            _checkpoint(resume, model, optimiser, corpus, step + 1, total)
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    model.eval()
    model.save_pretrained(out)
    word_tokenizer(corpus.words).save_pretrained(out)
    recipe = _recipe(size, seed, total, model, corpus) | {
        "weights_sha256": weights_digest(model, None, 0.0),
        "loss": round(running, 4),
        "seconds": round(time.monotonic() - began, 1),
        "torch": torch.__version__,
    }
    (out / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")
    resume.unlink(missing_ok=True)
    return recipe


def _recipe(size: str, seed: int, steps: int, model: GPT2LMHeadModel, corpus: Corpus) -> dict[str, Any]:
    return {
        "size": size,
        "seed": seed,
        **asdict(SIZES[size]),
        "steps": steps,
        "parameters": sum(p.numel() for p in model.parameters()),
        "corpus_sha256": corpus.digest(),
        "splits_sha256": index()["splits_sha256"],
        "archive_sha256": index()["archive_sha256"],
    }


def _checkpoint(path: Path, model: Any, optimiser: Any, corpus: Corpus, step: int, total: int) -> None:
    import torch

    part = path.with_suffix(".tmp")
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "total": total}
    torch.save(state | {"random": corpus.rng.bit_generator.state}, part)
    part.replace(path)


def _resume(path: Path, model: Any, optimiser: Any, corpus: Corpus, total: int) -> int:
    import torch

    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["total"] != total:
        return 0
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    corpus.rng.bit_generator.state = state["random"]
    return int(state["step"])


def _step(model: GPT2LMHeadModel, optimiser: torch.optim.Optimizer, ids: torch.Tensor) -> float:
    import torch

    logits = model(ids[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def batches(corpus: Corpus, size: int, steps: int) -> Iterator[np.ndarray]:
    """The first `steps` training batches, for a look at the data."""
    for step in range(steps):
        yield corpus.batch(size, step)
