"""A copier: a two-block network trained to repeat random passages, in which induction and previous-token heads form.

    made = copier(seed=0)
    scores = head_scores(made, *repeated(made, rows=64, half=12, seed=1))
    scores.best("previous"), scores.found("induction")              # in block 0, and in block 1

Passages have random length and begin anywhere, so that place alone says nothing about what comes next: only what
followed the same token last time does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from superalign.models import LocalModel
from superalign.models.words import word_tokenizer
from superalign.training.loop import descend

WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", *(f"w{i}" for i in range(32)))
BOS, FIRST, PLACES = 1, 4, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CopierRecipe:
    """How a copier is trained."""

    steps: int = 400
    batch: int = 64
    """Sequences a step."""
    rate: float = 3e-3
    decay: float = 0.01
    length: int = 32
    """Tokens of a sequence, start token included."""
    shortest: int = 5
    longest: int = 14
    """Tokens of a passage."""
    width: int = 64
    heads: int = 2
    embedded: float = 0.5
    """Size of the embeddings at the start."""
    wavelengths: tuple[float, float] = (2.2, 12.0)
    """Of places at the start. From 4 to 256 (smooth) the copier copies too, with no head to see: it matches and moves
    smears of several tokens, and its best induction score is .02."""


def copier(
    *, seed: int, recipe: CopierRecipe | None = None, progress: Callable[[int, int], None] | None = None
) -> LocalModel:
    """Train a copier, by the project's own loop. Raises ValueError where its loss stops being finite."""
    recipe = recipe or CopierRecipe()
    model = untrained(seed=seed, recipe=recipe)
    rng = np.random.default_rng([seed, 97])
    rows = recipe.steps * recipe.batch
    ids, told = passages(rng, rows, recipe)
    given, where = torch.from_numpy(ids), torch.from_numpy(told)

    def loss_of(chosen: np.ndarray) -> torch.Tensor:
        batch, counted = given[chosen], where[chosen][:, 1:]
        logits = model.network(input_ids=batch[:, :-1]).logits
        return torch.nn.functional.cross_entropy(logits[counted], batch[:, 1:][counted])

    model.network.train()
    parts = [part for name, part in model.network.named_parameters() if ".mlp." not in name]
    descend([(parts, 1.0)], loss_of, recipe, rows=rows, seed=seed, name=model.name, progress=progress)
    model.network.eval()
    return model.sealed()


def untrained(*, seed: int, recipe: CopierRecipe | None = None) -> LocalModel:
    """The copier before training."""
    from transformers import GPT2Config, GPT2LMHeadModel

    recipe = recipe or CopierRecipe()
    torch.manual_seed(seed)
    made: Any = GPT2LMHeadModel
    network = made(
        GPT2Config(
            vocab_size=len(WORDS), n_positions=PLACES, n_embd=recipe.width, n_layer=2, n_head=recipe.heads,
            n_inner=recipe.width, initializer_range=0.1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        network.transformer.wpe.weight.copy_(recipe.embedded * waves(PLACES, recipe.width, recipe.wavelengths))
        network.transformer.wte.weight.normal_(0, recipe.embedded)
        for block in network.transformer.h:
            block.mlp.c_proj.weight.zero_()  # attention only: the MLPs write nothing, and are not trained
    return LocalModel(name=f"copier-{seed}", network=network, tokenizer=word_tokenizer(WORDS)).sealed()


def waves(places: int, width: int, wavelengths: tuple[float, float]) -> torch.Tensor:
    """(places, width) sines and cosines (Vaswani et al. 2017, §3.5): the place before is one turn away."""
    turned = np.arange(places)[:, None] * 2 * np.pi / np.geomspace(*wavelengths, width // 2)
    return torch.from_numpy(np.concatenate([np.sin(turned), np.cos(turned)], axis=1)).float()


def passages(rng: np.random.Generator, rows: int, recipe: CopierRecipe) -> tuple[np.ndarray, np.ndarray]:
    """(ids (rows, length), which tokens could be known (rows, length) bool): a start token, some random tokens, a
    passage of all different tokens twice, and random tokens to the end."""
    length, words = recipe.length - 1, len(WORDS) - FIRST
    size = rng.integers(recipe.shortest, recipe.longest + 1, size=(rows, 1))
    begin = np.floor(rng.random((rows, 1)) * (length - 2 * size + 1)).astype(np.int64)
    place = np.arange(length) - begin
    drawn = rng.permuted(np.tile(np.arange(words), (rows, 1)), axis=1)
    inside = (place >= 0) & (place < 2 * size)
    passage = np.take_along_axis(drawn, np.where(inside, place % size, 0), axis=1)
    ids = FIRST + np.where(inside, passage, rng.integers(0, words, size=(rows, length)))
    known = inside & (place > size)
    edge = np.full((rows, 1), BOS)
    return np.concatenate([edge, ids], axis=1), np.concatenate([edge == 0, known], axis=1)
