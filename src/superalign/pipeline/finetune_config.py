"""What `superalign finetune` is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from superalign.training.trl.recipe import TrlRecipe

LABELS = "labels"
"""The signal that is in the data itself."""
LEAST = 1e-6
"""What a belief counts for at least where its logarithm is paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune a model on a signal with TRL: supervised, reward, DPO or GRPO, in full or by LoRA."""

    model: str
    """The model that is trained: hf:NAME-OR-PATH."""
    workspace: Path = Path(".superalign")
    """Folder of ledger and objects; a training that was stopped here goes on."""
    method: Literal["sft", "reward", "dpo", "grpo"] = "dpo"
    """Supervised, a reward model, direct preference optimisation, or reinforcement learning on groups."""
    data: str = "slips"
    """A task (slips, traces, mutants), or a file: rows in TRL's formats, or your own questions."""
    split: Literal["train", "dev", "validation", "test"] = "train"
    """What is trained on. The firewall refuses validation and test."""
    n: int = 400
    """Rows of a task to train on."""
    held: int = 100
    """Rows of the dev split that the model is asked about before and after."""
    signal: str = LABELS
    """What is learned from: `labels`, those of the data, or a protocol of `oversight` by name: its judge's beliefs."""
    judge: str = "family:xs"
    """Who judges under the protocol."""
    adviser: str = ""
    """Who argues and criticises there; empty: the judge's model."""
    says: Literal["choice", "quote", "argument"] = "choice"
    """GRPO: a completion is the answer; or it speaks for a side at the table, by a piece it quotes, or in words."""
    pays: Literal["belief", "log"] = "belief"
    """GRPO: what a completion earns, the judge's belief in its side, or the logarithm of that."""
    steps: int = 100
    batch: int = 8
    """Rows a step; of GRPO completions a step."""
    accumulate: int = 1
    """Forward passes a step."""
    rate: float = 1e-5
    beta: float | None = None
    """DPO: how strongly the base model binds; GRPO: weight of the distance from it. None: the method's default."""
    centre: float = 0.0
    """Reward: keeps rewards around zero."""
    lora: int = 0
    """Rank of LoRA; 0 trains all weights."""
    alpha: int = 16
    """LoRA's scale, times 1 / rank."""
    length: int = 0
    """Tokens a row, at most; 0: the model's context, up to 1024."""
    generations: int = 4
    """GRPO: completions a prompt."""
    tokens: int = 32
    """GRPO: tokens a completion, at most."""
    temperature: float = 1.0
    """GRPO: of completions."""
    every: int = 25
    """Steps between two states that are kept."""
    out: Path | None = None
    """Where the model is written; none: a folder of the workspace."""
    seed: int = 0
    """All randomness comes from it."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout; progress goes to stderr."""


def recipe_of(config: FinetuneConfig) -> TrlRecipe:
    """How the model is trained. What can't be judged earns what the worst answer does."""
    return TrlRecipe(
        steps=config.steps,
        batch=config.batch,
        accumulate=config.accumulate,
        rate=config.rate,
        beta=config.beta,
        centre=config.centre,
        rank=config.lora,
        alpha=config.alpha,
        length=config.length,
        generations=config.generations,
        tokens=config.tokens,
        temperature=config.temperature,
        floor=math.log(LEAST) if config.pays == "log" else 0.0,
        every=config.every,
        seed=config.seed,
    )
