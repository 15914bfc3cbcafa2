"""The four trainers of TRL as they are used here, each on checked rows: what they are given, and two of them for labels
that are not sure.

TRL's DPO and reward losses know hard labels only (its `label_smoothing` is not read by the loss "sigmoid", one number
for all rows, and "robust" divides by 1 − 2ε, which is another loss). Where rows say how `sure` they are, these two
losses are ours, within TRL's trainers: sure·l(chosen, rejected) + (1 − sure)·l(rejected, chosen), conservative DPO
(Mitchell 2023) and Bradley–Terry with soft labels. With sure = 1 everywhere TRL's own loss is left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from superalign.models import LocalModel, token_logprobs
from superalign.training.preference import dpo_loss
from superalign.training.trl.recipe import TrlRecipe, settings
from superalign.training.trl.reward import begin_reward
from superalign.training.trl.running import Place, watched


def trainer_of(
    base: LocalModel,
    rows: Sequence[Mapping[str, Any]],
    method: str,
    *,
    recipe: TrlRecipe,
    tokenizer: Any,
    place: Place,
    keep: bool,
    name: str,
    reward: Any = None,
) -> Any:
    """A TRL trainer that is ready to train; `base` is copied, `reward` is a function of TRL's form."""
    import trl
    from datasets import Dataset

    classes = {"sft": "SFT", "reward": "Reward", "dpo": "DPO", "grpo": "GRPO"}
    soft = method in ("reward", "dpo") and any(row["sure"] != 1 for row in rows)
    trainer = getattr(trl, f"{classes[method]}Trainer")
    if soft:
        trainer = soft_dpo(trainer) if method == "dpo" else soft_reward(trainer, recipe.centre)
    options = settings(recipe, method, place.folder) | {"use_cpu": _device(base).type == "cpu"}
    options |= {} if keep else {"save_strategy": "no"}
    options |= {"remove_unused_columns": False} if soft else {}
    given = {
        "args": getattr(trl, f"{classes[method]}Config")(**options),
        "train_dataset": Dataset.from_list([_columns(row, soft) for row in rows]),
        "processing_class": tokenizer,
        "peft_config": lora(base, recipe, method) if recipe.rank else None,
        **_models(base, method, recipe, place),
        **({"reward_funcs": [reward]} if method == "grpo" else {}),
    }
    made = watched(trainer, place, name=name)(**given)
    if soft:
        made.data_collator = with_sure(made.data_collator)
    return made


def _columns(row: Mapping[str, Any], soft: bool) -> dict[str, Any]:
    return {name: value for name, value in row.items() if soft or name != "sure"}


def _device(base: LocalModel) -> torch.device:
    return next(base.network.parameters()).device


def _models(base: LocalModel, method: str, recipe: TrlRecipe, place: Place) -> dict[str, Any]:
    """What is trained, and what it is compared with, copies both."""
    if method == "reward":
        return {"model": begin_reward(base, seed=recipe.seed).network}
    network = copy.deepcopy(base.network).train()
    if method == "dpo" and not recipe.rank:
        return {"model": network, "ref_model": copy.deepcopy(base.network).eval()}
    if method == "grpo" and recipe.beta and not recipe.rank:
        _reference_on_disk(network, place.folder / "reference")
    return {"model": network}


def _reference_on_disk(network: Any, folder: Path) -> None:
    """GRPOTrainer takes its reference from the path that the model's config names, and from nowhere else."""
    if not folder.exists():
        network.save_pretrained(folder)
    network.config._name_or_path = str(folder)


def lora(base: LocalModel, recipe: TrlRecipe, method: str) -> Any:
    """peft's configuration: every linear layer but the output unless the recipe names some, no dropout."""
    from peft import LoraConfig, TaskType
    from transformers.pytorch_utils import Conv1D

    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules=list(recipe.target) or "all-linear",
        modules_to_save=["score"] if method == "reward" else None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.network.modules()),
        task_type=TaskType.SEQ_CLS if method == "reward" else TaskType.CAUSAL_LM,
    )


def with_sure(collate: Any) -> Any:
    """A collator that also hands on how sure each row is."""

    def collated(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {**collate(rows), "sure": torch.tensor([float(row["sure"]) for row in rows])}

    return collated


def soft_dpo(trainer: type) -> type:
    """TRL's DPO trainer with the conservative loss of `training.preference.dpo_loss`."""

    class SoftDPO(trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> torch.Tensor:
            sure = inputs.pop("sure")
            with torch.no_grad():
                chosen, rejected = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            total = (token_logprobs(logits, ids) * inputs["completion_mask"][:, 1:]).sum(1)
            half = len(total) // 2
            return dpo_loss(total[:half] - total[half:] - (chosen - rejected), sure, beta=self.args.beta)

    return SoftDPO


def soft_reward(trainer: type, centre: float) -> type:
    """TRL's reward trainer with soft labels: cross-entropy of `sure` and σ(r(chosen) − r(rejected)), and λ's term."""

    class SoftReward(trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> torch.Tensor:
            sure = inputs.pop("sure")
            chosen, rejected = model(**inputs, use_cache=False).logits.squeeze(-1).chunk(2)
            loss = nn.functional.binary_cross_entropy_with_logits(chosen - rejected, sure)
            return loss + centre * torch.mean((chosen + rejected) ** 2)

    return SoftReward
