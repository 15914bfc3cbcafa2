"""The family's size `l`: a language model that also learns to doubt.

`superalign family train --size l` makes it again, from the corpus alone. After an opening as a plain language model two
of three batches hold functions beside synthetic faults of them (`family_rows`). The loss is the language model's,
plus, over pairs of a sound and an altered span,
a contrast, softplus(s(altered) − s(sound)). The score s of a span is its log-probability less its *doubt*, the sum over
its tokens of log p(<altered>) − log p(<sound>) read after each: a residual energy (Deng et al. 2020, 2004.11714, §3.1)
through which the model may correct what likelihood gets wrong, above all that the shorter text is the likelier.

Matrices of the blocks learn by Muon (Jordan et al. 2024; torch.optim.Muon), the rest by AdamW; the rate warms up, stays
and decays at the end (Hu et al. 2024, 2404.06395, §4), so that a training may be prolonged from any checkpoint before
the decay.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from superalign.models import weights_digest
from superalign.models.words import word_tokenizer
from superalign.tasks.stdlib import index
from superalign.training import family_faults
from superalign.training.family import fresh_model
from superalign.training.family_corpus import LargeCorpus, LargeRecipe
from superalign.training.family_rows import Rows
from superalign.training.family_text import VERDICTS, large_ids, large_words
from superalign.training.products import fast_products, product

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

LOG_EVERY, CHECKPOINT_EVERY = 50, 100


def warm_stable_decay(step: int, *, steps: int, warmup: int, decay: float) -> float:
    """Rate factor: linear warm-up, 1, then linearly to 0 over the last share `decay` of the steps."""
    falls = steps - round(decay * steps)
    if step < warmup:
        return (step + 1) / warmup
    return 1.0 if step < falls else (steps - step) / max(1, steps - falls)


def losses(network: GPT2LMHeadModel, rows: Rows) -> dict[str, torch.Tensor]:
    """Mean losses of a batch in nats: `language` per token; of pairs, where there are any, `contrast` and `verdict`."""
    ids, packed = torch.from_numpy(rows.ids), (rows.segment != 1).any()
    given: dict[str, torch.Tensor] = {}
    if packed:
        bias = torch.zeros(rows.ids.shape[0], 1, *([rows.ids.shape[1]] * 2))
        bias.masked_fill_(~torch.from_numpy(rows.visible())[:, None], torch.finfo(torch.float32).min)
        given = {"attention_mask": bias, "position_ids": torch.from_numpy(rows.positions)}
    states = network.transformer(input_ids=ids, use_cache=False, **given).last_hidden_state
    logits = product(states, network.lm_head.weight).flatten(0, 1)
    whole = torch.logsumexp(logits, dim=-1)
    plain = torch.from_numpy(np.concatenate(rows.plain, axis=1))
    where, target = [plain[0]], [plain[1]]
    if rows.even:
        spans, doubts = torch.tensor(rows.spans), torch.tensor(rows.doubts)
        verdicts = [large_ids()[word] for word in VERDICTS]
        where += [spans[:, 0], doubts[:, 0], doubts[:, 0]]
        target += [spans[:, 1], *(torch.full_like(doubts[:, 0], v) for v in verdicts)]
    found = logits[torch.cat(where), torch.cat(target)]
    n = plain.shape[1]
    out = {"language": (whole[plain[0]] - found[:n]).mean()}
    if rows.even:
        logprobs = found[n : n + len(spans)] - whole[spans[:, 0]]
        sound, altered = found[n + len(spans) :].view(2, -1)
        out |= _pair_losses(logprobs, spans[:, 2:], altered - sound, doubts[:, 1:], len(rows.even))
    return out


def _pair_losses(
    logprobs: torch.Tensor, spans: torch.Tensor, doubt: torch.Tensor, doubts: torch.Tensor, pairs: int
) -> dict[str, torch.Tensor]:
    def by_side(values: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(pairs, 2).index_put((keys[:, 0], keys[:, 1]), values, accumulate=True)

    likelihood = by_side(logprobs, spans)
    score = likelihood - by_side(doubt, doubts)
    return {
        "contrast": torch.nn.functional.softplus(score[:, 1] - score[:, 0]).mean(),
        "right": (score[:, 0] > score[:, 1]).float().mean().detach(),
        "likelier": (likelihood[:, 0] > likelihood[:, 1]).float().mean().detach(),
    }


def optimisers(network: GPT2LMHeadModel, recipe: LargeRecipe) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, norms and biases."""
    matrices = [p for p in network.transformer.h.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in known]
    muon = torch.optim.Muon(matrices, lr=recipe.rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)]


class Training:
    """A training under way: network, optimisers, corpus and the step reached; written to and read from `resume.pt`."""

    def __init__(self, out: Path, corpus: LargeCorpus, *, seed: int) -> None:
        self.out, self.corpus, self.recipe, self.step = out, corpus, corpus.recipe, 0
        self.network = fresh_model("l", seed=seed).train()
        self.optimisers = optimisers(self.network, self.recipe)
        self.lines: list[dict[str, float]] = []
        self.running: dict[str, float] = {}

    def resume(self) -> None:
        """Go on where a checkpoint stands, unless it lies in the decay of a shorter training or has another recipe."""
        path = self.out / "resume.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        mine = asdict(self.recipe) | {"steps": 0}
        falls = state["steps"] - round(self.recipe.decay * state["steps"])
        if state["recipe"] != mine or (state["steps"] != self.recipe.steps and state["step"] > falls):
            return
        self.network.load_state_dict(state["network"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.corpus.rng.bit_generator.state = state["random"]
        self.step, self.lines, self.running = state["step"], state["lines"], state["running"]

    def checkpoint(self) -> None:
        """Write everything that `resume` needs, in one move."""
        part = self.out / "resume.tmp"
        state = {
            "network": self.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "random": self.corpus.rng.bit_generator.state,
            "recipe": asdict(self.recipe) | {"steps": 0},
            "steps": self.recipe.steps,
            "step": self.step,
            "lines": self.lines,
            "running": self.running,
        }
        torch.save(state, part)
        part.replace(self.out / "resume.pt")

    def advance(self) -> None:
        """One step. Raises ValueError when the loss is not finite, before the weights are spoilt."""
        recipe = self.recipe
        factor = warm_stable_decay(self.step, steps=recipe.steps, warmup=recipe.warmup, decay=recipe.decay)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * factor
            optimiser.zero_grad(set_to_none=True)
        with fast_products(self.network):
            found = losses(self.network, self.corpus.batch(self.step))
            loss = found["language"]
            if "contrast" in found:
                loss = loss + recipe.contrast * found["contrast"]
            if not torch.isfinite(loss):
                raise ValueError(
                    f"family l: the loss is not finite at step {self.step}: lower the rate ({recipe.rate})"
                )
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        kind = "calculations" if self.step % recipe.trace_every == 0 else "language"
        for name, value in found.items():
            name = kind if name == "language" else name
            self.running[name] = 0.97 * self.running.get(name, float(value.detach())) + 0.03 * float(value.detach())


def train_large(
    out: Path,
    *,
    seed: int = 0,
    recipe: LargeRecipe | None = None,
    corpus: LargeCorpus | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Train `l` into `out` (Hugging Face folder, `recipe.json`, `log.jsonl`); resumes where it stopped.

    A `corpus` brings its recipe. Returns the recipe with digests (corpus, faults, splits, weights) and the last loss of
    the language model.
    """
    corpus = corpus or LargeCorpus(seed=seed + 1, recipe=recipe or LargeRecipe())
    if recipe not in (None, corpus.recipe):
        raise ValueError("the corpus was drawn up for another recipe: give it this one, or leave the recipe out")
    recipe = corpus.recipe
    out.mkdir(parents=True, exist_ok=True)
    work = Training(out, corpus, seed=seed)
    work.resume()
    began = time.monotonic()
    while work.step < recipe.steps:
        work.advance()
        if work.step % LOG_EVERY == 0:
            work.lines.append({"step": work.step} | {k: round(v, 4) for k, v in work.running.items()})
            if progress:
                progress(work.step, recipe.steps, work.running["language"])
        if work.step % CHECKPOINT_EVERY == 0 and work.step < recipe.steps:
            _log(work)
            work.checkpoint()
    _log(work)
    return _finish(work, seed, began)


def _log(work: Training) -> None:
    (work.out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in work.lines))


def _finish(work: Training, seed: int, began: float) -> dict[str, Any]:
    network, corpus, out = work.network.eval().half(), work.corpus, work.out
    network.save_pretrained(out)  # two bytes a weight on disk; loaders make four of them again
    network.float()
    word_tokenizer(large_words()).save_pretrained(out)
    made = {
        "size": "l",
        "seed": seed,
        "width": network.config.n_embd,
        "layers": network.config.n_layer,
        "heads": network.config.n_head,
        **asdict(work.recipe),
        "parameters": sum(p.numel() for p in network.parameters()),
        "corpus_sha256": hashlib.sha256(corpus.stream.tobytes()).hexdigest(),
        "faults_sha256": family_faults.digest(corpus.functions),
        "splits_sha256": index()["splits_sha256"],
        "archive_sha256": index()["archive_sha256"],
        "weights_sha256": weights_digest(network, None, 0.0),
        "loss": round(work.running.get("language", math.nan), 4),
        "seconds": round(time.monotonic() - began, 1),
        "torch": torch.__version__,
    }
    (out / "recipe.json").write_text(json.dumps(made, indent=1) + "\n")
    (out / "resume.pt").unlink(missing_ok=True)
    return made
