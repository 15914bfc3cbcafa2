"""The pipeline's own readings on a GPU, tried on a device that is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from superalign.adversarial.items import AuditItem
from superalign.interpretability.units import heads, neurons
from superalign.models import LocalModel, RewardHead, load_model
from superalign.pipeline.belief import Watched, fit_belief
from superalign.pipeline.finetune_scores import _logprobs
from superalign.pipeline.inside import read_units
from superalign.pipeline.interpret_causal import Pairs, _dearer
from superalign.pipeline.interpret_heads import _losses

from ..elsewhere import same_there

TEXTS = ["<by:none> <cue:none> return v0", "<by:none> <cue:none> v1 = v2 + v3", "<by:none> <cue:none> v0 ( v1 )"]


@pytest.fixture
def reviewer() -> LocalModel:
    torch.manual_seed(0)
    base = load_model("family:xs")
    return replace(base, head=RewardHead(base.width)).sealed()


def test_beliefs(reviewer: LocalModel) -> None:
    items = [
        AuditItem(sound=f"v1 = v2 + v{i}", altered=f"v{i} = v1 + v2", alteration="swapped", cluster=f"{i % 4:08x}")
        for i in range(8)
    ]

    def work(model: LocalModel) -> Any:
        found = fit_belief(model, items)
        watched = Watched(model, found["lines"])
        return found["lines"], watched.read(TEXTS), watched.scores

    same_there(work, reviewer)


def test_units_and_log_probabilities(reviewer: LocalModel, tiny: Callable[..., LocalModel]) -> None:
    def work(model: LocalModel) -> Any:
        return read_units(model, (*neurons(model), *heads(model)), TEXTS), np.array(_logprobs(model, [("v0 =", "v1")]))

    same_there(work, reviewer)


def test_losses_of_pairs_and_of_repeats(reviewer: LocalModel) -> None:
    ids = np.random.default_rng(0).integers(4, 40, size=(6, 12))
    pairs = Pairs(clean=ids[:3], other=ids[3:], lengths=np.array([12, 9, 12]), clusters=np.arange(3))

    def work(model: LocalModel) -> Any:
        return _dearer(model, pairs), _losses(model, np.concatenate([ids, ids], axis=1), 12)

    same_there(work, reviewer)
