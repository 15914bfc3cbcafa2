"""Attention pooling for probes: a learned query says which tokens count, a learned direction what they say.

centre, weights, offset = fit_attention(states, labels, seed=0)
scores, places = attended([each - centre for each in states], weights, offset)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

STEPS, RATE, RIDGE = 150, 0.05, 1e-3


def fit_attention(
    states: Sequence[np.ndarray], labels: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Centre (width,), query and direction (2, width), offset, by full-batch Adam on the logistic loss.

    `states` are (tokens, width) each. The offset is of states divided by the scale that the weights are given in.
    """
    centre = np.concatenate(list(states)).mean(0)
    scale = np.concatenate(list(states)).std(0) + 1e-6
    x, mask = _padded([(each - centre) / scale for each in states])
    y = torch.tensor(labels, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    query, direction = (
        (torch.randn(x.shape[2], generator=generator) / x.shape[2] ** 0.5).requires_grad_() for _ in range(2)
    )
    offset = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([query, direction, offset], lr=RATE)
    for _ in range(STEPS):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(_logits(x, mask, query, direction) + offset, y)
        loss = loss + RIDGE * (query.square().sum() + direction.square().sum())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights = torch.stack([query, direction]).detach().numpy().astype(np.float64) / scale
    return centre, weights, float(offset.detach())


def _padded(states: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, states))
    x = torch.zeros(len(states), longest, states[0].shape[1])
    mask = torch.zeros(len(states), longest, dtype=torch.bool)
    for i, each in enumerate(states):
        x[i, : len(each)] = torch.from_numpy(each).float()
        mask[i, : len(each)] = True
    return x, mask


def _logits(x: torch.Tensor, mask: torch.Tensor, query: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    weight = torch.softmax((x @ query).masked_fill(~mask, float("-inf")), dim=1)
    return (weight * (x @ direction)).sum(1)


def attended(states: Sequence[np.ndarray], weights: np.ndarray, offset: float) -> tuple[np.ndarray, list[int]]:
    """(steps,) log-odds of centred states, and the token that counts most; NaN and -1 where there are no tokens."""
    query, direction = weights
    scores, places = np.full(len(states), np.nan), [-1] * len(states)
    for i, each in enumerate(states):
        if len(each):
            heed = each @ query
            weight = np.exp(heed - heed.max())
            scores[i] = float(weight @ (each @ direction) / weight.sum()) + offset
            places[i] = int(heed.argmax())
    return scores, places
