"""How the families of probes are fitted: each gives values (heads, width) on raw states, an offset, maybe queries."""

from __future__ import annotations

import numpy as np
import torch

from superalign.interpretability.aggregation import Pool, States
from superalign.training.heads import LinearHead, fit_head

L2 = (0.001, 0.01, 0.1, 1.0)
"""Penalties that dev chooses from."""
HEADS, STEPS, RATE = {"attention": 1, "multimax": 4}, 200, 0.03


def pooled_states(states: States, pool: Pool) -> np.ndarray:
    """(texts, width) mean or last states."""
    if pool == "last":
        last = states.mask.shape[1] - 1 - states.mask[:, ::-1].argmax(1)
        return np.asarray(states.values[np.arange(len(states)), last], dtype=np.float64)
    kept = states.values * states.mask[:, :, None]
    return np.asarray(kept.sum(1, dtype=np.float64) / states.mask.sum(1, keepdims=True))


def linear(states: States, labels: np.ndarray, pool: Pool, l2: float) -> tuple[np.ndarray, float]:
    """Logistic regression on pooled states."""
    return _raw(fit_head(pooled_states(states, pool), labels, l2=l2, symmetric=False, steps=160))


def token_line(states: States, labels: np.ndarray, l2: float) -> tuple[np.ndarray, float]:
    """Logistic regression on single tokens, each labelled as its text; every text weighs the same."""
    tokens, rows = states.tokens()
    weights = 1 / states.mask.sum(1)[rows]
    return _raw(fit_head(tokens, labels[rows], l2=l2, weights=weights, symmetric=False))


def mean_direction(states: States, labels: np.ndarray, pool: Pool, *, white: bool) -> tuple[np.ndarray, float]:
    """Difference of the class means, half-way between them zero; `white`: times the inverse covariance within."""
    x = pooled_states(states, pool)
    means = [x[labels == label].mean(0) for label in (0, 1)]
    direction = means[1] - means[0]
    if white:
        from sklearn.covariance import LedoitWolf  # type: ignore[import-untyped]

        inner = x - np.stack(means)[labels.astype(int)]
        direction = np.linalg.solve(_regular(LedoitWolf().fit(inner).covariance_), direction)
    return direction[None], float(-direction @ (means[0] + means[1]) / 2)


def _regular(covariance: np.ndarray) -> np.ndarray:
    """With a millionth of its mean variance on the diagonal: features that never vary would make it singular."""
    return np.asarray(covariance + np.eye(len(covariance)) * (1e-6 * np.trace(covariance) / len(covariance) + 1e-12))


def attend(
    states: States, labels: np.ndarray, pool: Pool, l2: float, seed: int
) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Attention- or max-aggregated heads, by full-batch Adam on standardised states; queries begin at zero: a mean."""
    tokens, _ = states.tokens()
    centre, scale = tokens.mean(0), tokens.std(0) + 1e-6
    x = torch.from_numpy((states.values - centre) / scale)
    keep, y = torch.from_numpy(states.mask).unsqueeze(-1), torch.tensor(labels, dtype=torch.float32)
    heads, width = HEADS[pool], x.shape[2]
    made = torch.Generator().manual_seed(seed)
    values = (torch.randn(heads, width, generator=made) * (0.1 / width**0.5)).requires_grad_()
    queries, offset = torch.zeros(heads, width, requires_grad=True), torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([values, queries, offset], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        scores = x @ values.T
        if pool == "attention":
            shares = (x @ queries.T).masked_fill(~keep, -1e4).softmax(1)
            text = (shares * scores).sum((1, 2))
        else:
            text = scores.masked_fill(~keep, -1e4).amax(1).sum(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(text + offset, y)
        loss = loss + l2 * (values.square().sum() + queries.square().sum()) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    raw = values.detach().double().numpy() / scale
    keys = queries.detach().double().numpy() / scale if pool == "attention" else None
    return raw, float(offset.detach()) - float((raw @ centre).sum()), keys


def _raw(head: LinearHead) -> tuple[np.ndarray, float]:
    """A head's weights on features as they are."""
    weight = head.weight / head.scale
    return weight[None], float(head.offset - np.sum(weight * head.centre))
