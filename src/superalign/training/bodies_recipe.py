"""How a body is fine-tuned: the recipe, its steps, its batches in parts, and the key that its state is kept under."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from superalign.models import LocalModel, weights_digest
from superalign.training.bodies_head import Pool, Start
from superalign.training.loop import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyRecipe:
    """How a body is fine-tuned."""

    epochs: int = 2
    batch: int = 32
    """Questions a step, however many forward passes that takes."""
    rate: float = 5e-4
    decay: float = 0.01
    rank: int = 0
    """0: all weights are trained; else LoRA of this rank."""
    alpha: int = 16
    """LoRA's scale, times 1 / rank."""
    confidence: float = 0.0
    """Highest weight a of the student's own verdicts (logconf); 0 is plain cross-entropy."""
    pool: Pool = "last"
    start: Start = "zero"
    words: tuple[str, str] = ("1", "0")
    """Words for yes and no, for the start "unembedding"."""
    l2: float = 0.1
    """Penalty of the start "probe"."""
    head_factor: float = 2.0
    """The head learns this many times as fast."""
    tokens: int = 4_096
    """Of one forward pass, at most; a batch with more is gone through in parts."""
    dropout: bool = False
    every: int = 50
    """Steps between two states, where they are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps of a recipe, for so many rows."""

    steps: int
    batch: int
    rate: float
    decay: float


def planned(recipe: BodyRecipe, rows: int) -> Plan:
    """The recipe's epochs as steps; with fewer rows than a batch holds, all of them are a batch."""
    batch = min(recipe.batch, rows)
    return Plan(steps=max(1, recipe.epochs * (rows // batch)), batch=batch, rate=recipe.rate, decay=recipe.decay)


def cut(chosen: np.ndarray, lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Rows by length, longest first, in groups that hold up to so many tokens when padded, or one row.

    >>> [group.tolist() for group in cut(np.array([0, 1, 2]), np.array([2, 9, 3]), tokens=9)]
    [[1], [2, 0]]
    """
    order, out, at = chosen[np.argsort(-lengths[chosen], kind="stable")], [], 0
    while at < len(order):
        out.append(order[at : at + max(1, tokens // int(lengths[order[at]]))])
        at += len(out[-1])
    return out


def kept(
    resume: Path | None, base: LocalModel, recipe: BodyRecipe, seed: int, texts: list[list[str]], goals: list[float]
) -> Kept | None:
    """Where the state is kept, under a digest of base, recipe, seed and data; None where nothing is to be kept."""
    if resume is None:
        return None
    digest = base.digest or weights_digest(base.network, base.head, base.threshold)
    decides = json.dumps([digest, asdict(recipe), seed, texts, goals])
    return Kept(path=resume, key=hashlib.sha256(decides.encode()).hexdigest(), every=recipe.every)
