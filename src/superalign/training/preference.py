"""Preference fitting on log-probability ratios: DPO (Rafailov et al. 2023, 2305.18290, eq. 7), soft labels allowed.

rows = [Preference(**row) for row in preferences(slips(split="train", n=2000))]
tuned = fit_preferences(load_model("family:m"), rows, name="preferred")
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from superalign.models import Change, LocalModel, apply_change
from superalign.training.loop import Progress, descend
from superalign.training.lowrank import open_top, take_out
from superalign.training.supervised import SupervisedRecipe, completion_logprobs, completions


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """One row in TRL's format, and how sure its label is."""

    prompt: str
    chosen: str
    rejected: str
    sure: float = 1.0
    """P(chosen is the better one): 1 is plain DPO, less is its conservative form for noisy labels."""


def dpo_loss(ratios: torch.Tensor, sure: torch.Tensor, *, beta: float) -> torch.Tensor:
    """Mean of −sure·log σ(β·ratio) − (1 − sure)·log σ(−β·ratio); `ratios`, `sure`: (rows,).

    A ratio is log(π(chosen)/π₀(chosen)) − log(π(rejected)/π₀(rejected)), in nats.
    """
    return torch.nn.functional.binary_cross_entropy_with_logits(beta * ratios, sure)


def fit_preferences(
    base: LocalModel,
    rows: Sequence[Preference],
    *,
    name: str,
    beta: float = 0.1,
    recipe: SupervisedRecipe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LocalModel:
    """A new model that prefers what was chosen; `base` is the reference π₀ and stays unchanged.

    Raises ValueError for no rows, `sure` outside [0, 1] or NaN, `beta` not above 0, an empty completion, or a loss
    that stops being finite.
    """
    recipe = recipe or SupervisedRecipe()
    if not rows:
        raise ValueError(f"no rows to fit {name} on")
    if not beta > 0:
        raise ValueError(f"beta is {beta}: it must be above 0, or nothing is learned")
    bad = [i for i, row in enumerate(rows) if not 0 <= row.sure <= 1]
    if bad:
        raise ValueError(f"row {bad[0]}: sure is {rows[bad[0]].sure}, not a probability")
    chosen = completions(base, [(row.prompt, row.chosen) for row in rows])
    rejected = completions(base, [(row.prompt, row.rejected) for row in rows])
    sure = torch.tensor([row.sure for row in rows], dtype=torch.float32, device=base.device)
    network = copy.deepcopy(base.network).train()

    def margins(picked: np.ndarray) -> torch.Tensor:
        both = [chosen[i] for i in picked] + [rejected[i] for i in picked]
        total, _ = completion_logprobs(network, both, pad=base.pad)
        return total[: len(picked)] - total[len(picked) :]

    opened = open_top(network, top=recipe.top, rank=recipe.rank, seed=seed)
    with torch.no_grad():  # the changes begin at zero: this is the reference
        parts = np.array_split(np.arange(len(rows)), -(-len(rows) // recipe.batch))
        reference = torch.cat([margins(part) for part in parts])

    def loss_of(picked: np.ndarray) -> torch.Tensor:
        at = torch.as_tensor(picked)
        return dpo_loss(margins(picked) - reference[at], sure[at], beta=beta)

    torch.manual_seed(seed)
    descend(
        [(opened, 1.0)],
        loss_of,
        recipe,
        rows=len(rows),
        seed=seed,
        name=name,
        progress=progress,
    )
    return apply_change(base, Change(factors=take_out(network), head=base.head), name=name)
