"""Judges with a flaw and a dial for it: noisy, lazy, biased. Dial at zero: the judge they wrap, unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from superalign.oversight.types import Judge, View


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    out: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
    return out


def _logits(beliefs: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.log(np.clip(beliefs, 1e-9, None))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Noisy:
    """Adds noise to the log-odds: the same view is always misjudged in the same way."""

    judge: Judge
    nats: float
    """Standard deviation a logit."""
    seed: int = 0

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, options)."""
        logits = _logits(self.judge.beliefs(views))
        for row, view in zip(logits, views, strict=True):
            digest = hashlib.blake2b(f"{self.seed}\0{view!r}".encode(), digest_size=8).digest()
            row += self.nats * np.random.default_rng(int.from_bytes(digest, "big")).standard_normal(len(row))
        return _softmax(logits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lazy:
    """Reads the first messages only, up to a share of them that falls as laziness grows."""

    judge: Judge
    laziness: float
    """0 reads all, 1 nothing."""

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, options)."""
        kept = [int(np.ceil(len(view.messages) * (1 - self.laziness))) for view in views]
        return self.judge.beliefs(
            [replace(view, messages=view.messages[:n]) for view, n in zip(views, kept, strict=True)]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Biased:
    """Leans to what the last speaker argues for, and to what speakers say that they believe."""

    judge: Judge
    last: float = 0.0
    """Nats for the side of whoever spoke last."""
    confident: float = 0.0
    """Nats a unit of stated belief."""

    def beliefs(self, views: Sequence[View]) -> np.ndarray:
        """(views, options)."""
        logits = _logits(self.judge.beliefs(views))
        for row, view in zip(logits, views, strict=True):
            sides = [message.side for message in view.messages if message.side is not None]
            if sides:
                row[sides[-1]] += self.last
            for message in view.messages:
                if message.belief:
                    row += self.confident * np.array(message.belief)
        return _softmax(logits)
