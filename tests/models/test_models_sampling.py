"""Sampling: rows of their own, batches that change nothing, ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from superalign.models import LocalModel
from superalign.models.sampling import _chosen, sample
from superalign.models.words import word_tokenizer
from superalign.tasks.functions import words
from superalign.training.writer import POSITIONS, fresh_writer, honest_rows


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return LocalModel(name="fresh", network=fresh_writer(seed=0), tokenizer=word_tokenizer(words())).sealed()


def test_the_cache_says_what_the_whole_network_says(model: LocalModel) -> None:
    prompts = [row[0] for row in honest_rows(4, seed=1)]
    said = sample(model, prompts, tokens=6, temperature=0.0)
    for prompt, text in zip(prompts, said, strict=True):
        ids = model.encode([prompt])[0][:-1]
        for word in text.split():
            with torch.inference_mode():
                best = int(model.network(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            assert model.tokenizer.convert_tokens_to_ids(word) == best
            ids = [*ids, best]


def test_a_row_draws_alike_whatever_stands_beside_it(model: LocalModel) -> None:
    prompts = [row[0] for row in honest_rows(6, seed=2)]
    together = sample(model, prompts, tokens=8, seed=5)
    assert together[:2] == sample(model, prompts[:2], tokens=8, seed=5)
    assert together != sample(model, prompts, tokens=8, seed=6)


def test_draws_follow_the_distribution() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).repeat(20_000, 1)
    uniform = torch.from_numpy(np.random.default_rng(0).random(20_000))
    shares = torch.bincount(_chosen(logits, uniform, 1.0), minlength=3) / 20_000
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.02)
    assert int(_chosen(logits[:1], torch.tensor([1.0 - 1e-17], dtype=torch.float64), 1.0)[0]) == 2


def test_a_prompt_that_fills_the_context_is_refused(model: LocalModel) -> None:
    with pytest.raises(ValueError, match="fills the model's context"):
        sample(model, [" ".join(["x"] * POSITIONS)], tokens=1)
    assert sample(model, [], tokens=3) == []
