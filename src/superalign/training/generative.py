"""Generative fine-tuning: language modelling on unlabelled texts of the task, before any label is seen.

    model = generative(load_model("family:m"), texts)
    body = fit_body(model, (texts,), labels)

Burns et al. 2023 (2312.09390, §5.2.2) do so before reward modelling, so that the task becomes more salient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from superalign.models import LocalModel
from superalign.training.bodies_peft import opened, widely
from superalign.training.bodies_recipe import BodyRecipe, cut, kept, planned
from superalign.training.fused import fused
from superalign.training.loop import Progress, descend_parts
from superalign.training.supervised import completion_logprobs, completions


def generative(
    base: LocalModel,
    texts: Sequence[str],
    *,
    name: str = "generative",
    recipe: BodyRecipe | None = None,
    seed: int = 0,
    resume: Path | None = None,
    progress: Progress | None = None,
) -> LocalModel:
    """A copy of `base` after language modelling on unlabelled task texts (Burns et al. 2023, 2312.09390, §5.2.2).

    Of the recipe the pool, the head and the loss do not matter. The loss is the mean over a batch's tokens. Raises
    ValueError for no texts, one without tokens, a loss that stops being finite, or a state of another run.
    """
    recipe = recipe or BodyRecipe()
    if not texts:
        raise ValueError(f"no texts to fit {name} on")
    rows = completions(base, [("", text) for text in texts])
    lengths, counts = np.array([len(row.ids) for row in rows]), np.array([len(row.ids) - row.start for row in rows])
    network, plan = widely(base), planned(recipe, len(rows))
    tuning = opened(network, rank=recipe.rank, alpha=recipe.alpha, seed=seed)

    def parts(chosen: np.ndarray, _: int) -> Iterator[torch.Tensor]:
        for some in cut(chosen, lengths, recipe.tokens):
            total, _counts = completion_logprobs(network, [rows[i] for i in some], pad=base.pad)
            yield -total.sum() / float(max(1, counts[chosen].sum()))

    state = kept(resume, base, recipe, seed, [list(texts)], [])
    torch.manual_seed(seed)
    with fused(network.train(recipe.dropout)):
        descend_parts(
            [(tuning.parameters, 1.0)], parts, plan, rows=len(rows), seed=seed, name=name, progress=progress, kept=state
        )
    return LocalModel(
        name=name, network=tuning.close().eval(), tokenizer=base.tokenizer, organism=base.organism
    ).sealed()
