"""Fine-tuning of local models by TRL: supervised, reward, DPO and GRPO, in full or by LoRA.

    fitted = fit_with_trl(load_model("hf:PATH"), rows, method="dpo", recipe=TrlRecipe(steps=200, rank=8))
    save_model(fitted.model, Path("out"))                    # load it again with hf:out

Deterministic by the seed on one machine; with `resume` a run that was killed goes on and ends with the same weights.
Nothing is uploaded, reported or sent, TRL's telemetry included. Needs `pip install "superalign[trl]"`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superalign.models import LocalModel
from superalign.models.adapters import adapted, sign_adapter
from superalign.training.trl.errors import FinetuneError, need_trl
from superalign.training.trl.paying import kinds_of, name_of, paying
from superalign.training.trl.recipe import TrlRecipe, resolved, run_key, versions
from superalign.training.trl.reward import RewardModel, begin_reward
from superalign.training.trl.rows import checked
from superalign.training.trl.running import Place, Progress, losses_in, place_of, quietly, run
from superalign.training.trl.tokens import fitting, need_template, tokenizer_of
from superalign.training.trl.trainers import trainer_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What came out of a training, and what went into it."""

    model: LocalModel | None
    """The fitted model, LoRA merged in; None for `reward`."""
    reward: RewardModel | None
    """The reward model, for `reward`."""
    adapter: Mapping[str, bytes]
    """File name → content of the LoRA changes as peft saves them (safetensors); empty where all weights are trained."""
    losses: tuple[float, ...]
    """Of every step."""
    samples: tuple[Mapping[str, Any], ...]
    """GRPO: every completion with {step, prompt, said, reward, kind}."""
    rows: int
    left_out: int
    """Rows that did not fit into the length."""
    recipe: TrlRecipe
    """Resolved."""
    versions: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Of all weights of what was fitted."""
        fitted = self.model or self.reward
        return fitted.digest if fitted is not None else ""

    @property
    def kinds(self) -> dict[str, int]:
        """GRPO: completions that could not be judged, by kind."""
        return kinds_of(self.samples)


def fit_with_trl(
    base: LocalModel,
    data: Sequence[Mapping[str, Any]],
    *,
    method: str = "sft",
    name: str = "",
    recipe: TrlRecipe | None = None,
    reward: Any = None,
    resume: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Fine-tune a copy of `base` on rows in TRL's formats (`rows`); `base` is unchanged.

    `reward`, for `grpo`, is a function of TRL's form (`paying`); `resume` is a folder for the state of the run, removed
    when it is through. Raises FinetuneError for rows, models and recipes that can't be trained with, a loss or gradient
    that is not finite (with the step), a state of another run, and where TRL is not installed.
    """
    need_trl()
    recipe = resolved(recipe or TrlRecipe(), method, context=base.context)
    rows, name = checked(data, method), name or f"{base.name}-{method}"
    if (method == "grpo") != (reward is not None):
        raise FinetuneError(
            f"{method} {'needs a reward' if method == 'grpo' else 'takes no reward'}: see paying.Reward"
        )
    tokenizer = tokenizer_of(base)
    need_template(base, tokenizer, rows)
    kept = fitting(rows, tokenizer, recipe, method)
    _check_enough(kept, method, recipe)
    key = run_key(base.digest, method, recipe, rows, str(getattr(reward, "identity", name_of(reward))))
    with place_of(resume, key) as place, quietly():
        trainer = trainer_of(
            base,
            kept,
            method,
            recipe=recipe,
            tokenizer=tokenizer,
            place=place,
            keep=resume is not None,
            name=name,
            reward=paying(reward, place, floor=recipe.floor) if method == "grpo" else None,
        )
        run(trainer, place, name=name, progress=progress)
        adapter = _adapter_in(place, trainer.model, base) if recipe.rank else None
        files, lines = _files(adapter) if adapter else {}, place.lines()
        trained = method == "reward"
        model = None if trained else _as_local(base, trainer.model, name, adapter)
        scorer = _as_reward(base, trainer.model, name, recipe) if trained else None
    return Fitted(
        model=model,
        reward=scorer,
        adapter=files,
        losses=losses_in(lines),
        samples=tuple(line for line in lines if "said" in line),
        rows=len(rows),
        left_out=len(rows) - len(kept),
        recipe=recipe,
        versions=versions(),
    )


def _check_enough(rows: Sequence[Any], method: str, recipe: TrlRecipe) -> None:
    """TRL drops a batch of GRPO that is not full, and would train on nothing."""
    need = recipe.batch // recipe.generations if method == "grpo" else 1
    if len(rows) < need:
        raise FinetuneError(
            f"GRPO: a step of {recipe.batch} completions takes {need} prompts, and there are {len(rows)}: give more "
            "rows, or a smaller batch"
        )


def _adapter_in(place: Place, network: Any, base: LocalModel) -> Path:
    """peft's own files of the LoRA changes, signed with the digest of their base, and without a path."""
    folder = place.folder / "adapter"
    for config in network.peft_config.values():
        config.base_model_name_or_path = None  # the digest of the base is signed beside it
    network.save_pretrained(folder, save_embedding_layers=False)
    sign_adapter(folder, base)
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    kept = (path for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".json"))
    return {path.name: path.read_bytes() for path in kept}


def _as_local(base: LocalModel, network: Any, name: str, adapter: Path | None) -> LocalModel:
    """The weights in a network without what TRL patched into its own; of LoRA as `hf:BASE?adapter=DIR` loads them."""
    plain = copy.deepcopy(base.network)
    if adapter is not None:
        return adapted(replace(base, network=plain), adapter, name=name, allow_organism=base.organism).model
    plain.load_state_dict({key: value.detach() for key, value in network.state_dict().items()})
    return LocalModel(name=name, network=plain.eval(), tokenizer=base.tokenizer, organism=base.organism).sealed()


def _as_reward(base: LocalModel, network: Any, name: str, recipe: TrlRecipe) -> RewardModel:
    plain = network.merge_and_unload(safe_merge=True) if recipe.rank else network
    fresh = begin_reward(base, seed=recipe.seed)
    fresh.network.load_state_dict({key: value.detach() for key, value in plain.state_dict().items()})
    return replace(fresh, name=name).sealed()
