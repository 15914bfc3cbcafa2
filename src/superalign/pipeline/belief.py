"""What a reviewer's states say of each text: two probes for *altered*, fitted on the declared base alone.

The base has met no organism, so that no kind is known to the probes. A text is scored by the probe that was fitted on
other files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from superalign.adversarial.items import NEUTRAL, AuditItem
from superalign.adversarial.kinds import context
from superalign.interpretability.aggregation import token_states
from superalign.interpretability.probe_fit import pooled_states
from superalign.models import LocalModel, Reading
from superalign.models.local import buckets, widened
from superalign.models.words import starts_after
from superalign.training.heads import fit_head

SKIP = 3
"""What never counts: the start, and the words of author and cue."""
L2 = 0.1
"""Penalty of the probes."""


def half_of(cluster: str) -> int:
    """Which of two probes scores a file: the one that was fitted on the others.

    >>> half_of("00000003")
    1
    """
    return int(cluster, 16) % 2


def fit_belief(base: LocalModel, items: Sequence[AuditItem]) -> dict[str, Any]:
    """Two probes for *altered* on the base's states, each fitted on one half of the files: weights and what they reach.

    `lines` are what features (2 × width,) are multiplied with and what is added; `paired` is how often the altered
    code of a pair scores higher, on the other half.
    Raises ValueError where a half of the files holds no pair.
    """
    texts = [context(*NEUTRAL, code) for item in items for code in (item.sound, item.altered)]
    x, y = base_features(base, texts), np.tile([0.0, 1.0], len(items))
    halves = np.repeat([half_of(item.cluster) for item in items], 2)
    lines, reached = [], []
    for half in (0, 1):
        mine = halves != half
        if mine.all() or not mine.any():
            raise ValueError(f"all {len(items)} pairs are of one half of the files: bring pairs of more files")
        head = fit_head(x[mine], y[mine], l2=L2, symmetric=False, steps=160)
        weight = head.weight / head.scale
        lines.append([*weight.tolist(), float(head.offset - np.sum(weight * head.centre))])
        scores = head.logits(x[~mine]).reshape(-1, 2)
        reached.append(float((scores[:, 1] > scores[:, 0]).mean()))
    return {"lines": [[round(value, 6) for value in line] for line in lines], "paired": reached}


def base_features(base: LocalModel, texts: Sequence[str]) -> np.ndarray:
    """(texts, 2 × width): means over tokens of the last states, and of their products with the next token."""
    out = []
    for start in range(0, len(texts), 200):
        states = token_states(base, texts[start : start + 200], layer=-1, skip=SKIP, transitions=True)
        out.append(pooled_states(states, "mean"))
    return np.concatenate(out)


class Watched:
    """A reviewer whose readings are its own, and whose states the probes score on the way."""

    def __init__(self, model: LocalModel, lines: Sequence[Sequence[float]]) -> None:
        self.model = model
        self.lines = torch.tensor(lines, dtype=torch.float32)
        self.scores: list[np.ndarray] = []
        """One entry a call of `read`: (texts, 2)."""

    @property
    def tokenizer(self) -> Any:
        """The reviewer's own."""
        return self.model.tokenizer

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the reviewer reads; the probes' scores are kept."""
        seen: list[np.ndarray] = []
        order = [row for rows, _, _ in buckets(self.model.encode(texts), pad=self.model.pad) for row in rows]
        starts, lines = starts_after(self.model.tokenizer, texts, SKIP - 1)[order], self.lines.to(self.model.device)

        def before(module: torch.nn.Module, given: tuple[Any, ...]) -> None:
            _, hidden, embedded, _, mask = given
            done = sum(map(len, seen))
            features = _features(hidden, embedded, mask.bool(), starts[done : done + len(mask)])
            seen.append((features @ lines[:, :-1].T + lines[:, -1]).cpu().numpy())

        assert self.model.head is not None
        handle = self.model.head.register_forward_pre_hook(before)
        try:
            readings = self.model.read(texts)
        finally:
            handle.remove()
        scores = np.zeros((len(texts), 2))
        scores[order] = np.concatenate(seen)
        self.scores.append(scores)
        return readings


def _features(hidden: torch.Tensor, embedded: torch.Tensor, mask: torch.Tensor, starts: np.ndarray) -> torch.Tensor:
    """As `base_features`; `mask` (texts, tokens - 1) begins at the second token, `starts` (texts,) are what counts."""
    hidden, embedded = widened(hidden), widened(embedded)
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    keep = mask & (places >= torch.from_numpy(starts).to(mask.device)[:, None])
    wide = keep[:, :, None]
    known = torch.cat([hidden[:, 1:], hidden[:, :-1] * embedded[:, 1:] * hidden.shape[-1] ** 0.5], dim=-1)
    mean: torch.Tensor = (known * wide).sum(1) / wide.sum(1)
    return mean
