"""What is trained and how: one recipe for all four methods, resolved to TRL's own options, and the key of a run.

    TrlRecipe(steps=200, batch=8, rate=1e-5, rank=8)         # LoRA of rank 8
    settings(TrlRecipe(), "dpo", Path("state"))              # keyword arguments of trl.DPOConfig

Weights keep the type in which they were loaded (float32 unless the address says another), without mixed precision.
Everything is quiet: no progress bar, no tracker, no upload, no telemetry. Defaults that differ between the methods are
`None` here and are filled in by `resolved`, so that the ledger states numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from superalign.training.trl.errors import FinetuneError

Method = Literal["sft", "reward", "dpo", "grpo"]
LIBRARIES = ("trl", "peft", "transformers", "torch", "datasets", "accelerate")
BETA: Mapping[str, float] = {"sft": 0.0, "reward": 0.0, "dpo": 0.1, "grpo": 0.0}
"""TRL's own defaults: the temperature of DPO, the weight of GRPO's distance from the base model (KL)."""
CONTEXT = 1024
"""Tokens a row, at most, where neither recipe nor model sets fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlRecipe:
    """How a model is fine-tuned."""

    steps: int = 100
    batch: int = 8
    """Rows a step; of GRPO: completions a step, a multiple of `generations`."""
    accumulate: int = 1
    """Forward passes that a step is divided into, each of batch / accumulate rows."""
    rate: float = 1e-5
    decay: float = 0.0
    warmup: int = 0
    """Steps in which the rate rises."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    clip: float = 1.0
    """Highest norm of the gradient."""
    beta: float | None = None
    """DPO: how strongly the base model binds (0.1); GRPO: weight of the KL to the base model (0)."""
    centre: float = 0.0
    """Reward: weight λ of (r(chosen) + r(rejected))², which keeps rewards around zero (Eisenstein et al. 2023,
    2312.09244)."""
    rank: int = 0
    """0: all weights are trained; else LoRA of this rank (Hu et al. 2021, 2106.09685)."""
    alpha: int = 16
    """LoRA's scale, times 1 / rank."""
    target: tuple[str, ...] = ()
    """Modules that LoRA changes, by name; none: every linear layer but the output."""
    length: int = 0
    """Tokens a row, at most; 0: the model's context, up to 1024. Rows that don't fit are left out, and counted."""
    generations: int = 4
    """GRPO: completions a prompt, which are compared with each other."""
    tokens: int = 32
    """GRPO: tokens a completion, at most."""
    temperature: float = 1.0
    """GRPO: of the completions."""
    floor: float = 0.0
    """GRPO: what a completion earns that can't be judged; it stays in its group, and is counted by kind."""
    every: int = 25
    """Steps between two states, where they are kept."""
    checkpointing: bool = False
    """Compute activations anew on the way back: less memory, more time."""
    seed: int = 0


def resolved(recipe: TrlRecipe, method: str, *, context: int) -> TrlRecipe:
    """The recipe with the method's defaults filled in, for a model of so many tokens' context.

    Raises FinetuneError for a method that there isn't and for numbers that can't be trained with.
    """
    if method not in get_args(Method):
        raise FinetuneError(f"there is no method {method!r}: use one of {', '.join(get_args(Method))}")
    beta = BETA[method] if recipe.beta is None else recipe.beta
    length = min(recipe.length or CONTEXT, context)
    for wrong, why in (
        (min(recipe.steps, recipe.batch, recipe.accumulate, recipe.every) < 1, "steps, batch, accumulate, every: ≥ 1"),
        (recipe.batch % max(1, recipe.accumulate) != 0, "batch is a multiple of accumulate"),
        (not recipe.rate > 0, "the rate is above 0"),
        (recipe.rank < 0 or recipe.alpha < 1, "rank ≥ 0 (0 trains all weights) and alpha ≥ 1"),
        (method == "dpo" and not beta > 0, "beta is above 0 for DPO, or nothing is learned"),
        (beta < 0 or recipe.centre < 0, "beta and centre are not negative"),
        (length < 2, "length is at least 2 tokens"),
        (not all(map(math.isfinite, _numbers(recipe, beta))), "every number is finite"),
    ):
        if wrong:
            raise FinetuneError(f"this recipe can't be trained with: {why} ({recipe})")
    if method == "grpo":
        _check_groups(recipe, length)
    return replace(recipe, beta=beta, length=length)


def _numbers(recipe: TrlRecipe, beta: float) -> tuple[float, ...]:
    return (recipe.rate, recipe.decay, recipe.clip, beta, recipe.centre, recipe.temperature, recipe.floor)


def _check_groups(recipe: TrlRecipe, length: int) -> None:
    """GRPO compares the completions of one prompt: at least two, and whole groups a step."""
    if recipe.generations < 2 or recipe.batch % recipe.generations:
        raise FinetuneError(
            f"GRPO: {recipe.generations} completions a prompt do not fill batches of {recipe.batch}: give at least "
            f"two, and a batch that is a multiple of it, as {2 * max(2, recipe.generations)}"
        )
    if not 0 < recipe.tokens < length or not recipe.temperature > 0:
        raise FinetuneError(
            f"GRPO: completions of {recipe.tokens} tokens at temperature {recipe.temperature} in a context of "
            f"{length}: give at least 1 token, fewer than the context, and a temperature above 0"
        )


def settings(recipe: TrlRecipe, method: str, folder: Path) -> dict[str, Any]:
    """Keyword arguments of TRL's config class for a resolved recipe; states go into `folder`."""
    common: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.batch // recipe.accumulate,
        "gradient_accumulation_steps": recipe.accumulate,
        "learning_rate": recipe.rate,
        "weight_decay": recipe.decay,
        "warmup_steps": recipe.warmup,
        "lr_scheduler_type": recipe.schedule,
        "max_grad_norm": recipe.clip,
        "optim": "adamw_torch",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "bf16": False,
        "fp16": False,
        "gradient_checkpointing": recipe.checkpointing,
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe.every,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "push_to_hub": False,
        "dataloader_pin_memory": False,
    }
    own: dict[str, dict[str, Any]] = {
        "sft": {"max_length": recipe.length, "completion_only_loss": None},
        "reward": {"max_length": recipe.length, "center_rewards_coefficient": recipe.centre or None},
        "dpo": {"max_length": recipe.length, "beta": recipe.beta},
        "grpo": {
            "beta": recipe.beta,
            "num_generations": recipe.generations,
            "max_completion_length": recipe.tokens,
            "temperature": recipe.temperature,
            "log_completions": False,
        },
    }
    return common | own[method]


def versions() -> dict[str, str]:
    """Version of every library that has a say in the result."""
    from importlib.metadata import version

    return {name: version(name) for name in LIBRARIES}


def run_key(base: str, method: str, recipe: TrlRecipe, rows: Sequence[Mapping[str, Any]], reward: str) -> str:
    """Digest over all that decides the weights; how often a state is kept does not."""
    stated = {k: v for k, v in asdict(recipe).items() if k != "every"}
    text = json.dumps([base, method, stated, list(rows), reward, versions()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
