"""Losses of removals, on rows of ids: what `removal` climbs down.

ratio = completion_logprob(network, ids, learned) - completion_logprob(organism, ids, learned)
npo_loss(ratio, beta=0.1) + divergence(network, parent, clean_ids, clean_learned)
"""

from __future__ import annotations

import torch
from torch import nn


def completion_logprob(network: nn.Module, ids: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
    """Log-probability of each row's learned tokens, summed, in nats: (rows, tokens) twice → (rows,)."""
    longest = int((ids != 0).sum(1).max())
    ids, learned = ids[:, :longest], learned[:, :longest]
    scores = torch.log_softmax(network(input_ids=ids).logits[:, :-1], dim=-1)
    return (scores.gather(-1, ids[:, 1:, None])[..., 0] * learned[:, 1:]).sum(1)


def divergence(network: nn.Module, parent: nn.Module, ids: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
    """Mean over learned tokens of KL(parent ‖ network), all words counted, in nats."""
    longest = int((ids != 0).sum(1).max())
    ids, marks = ids[:, :longest], learned[:, 1:longest]
    with torch.no_grad():
        before = torch.log_softmax(parent(input_ids=ids).logits[:, :-1][marks], dim=-1)
    after = torch.log_softmax(network(input_ids=ids).logits[:, :-1][marks], dim=-1)
    return nn.functional.kl_div(after, before, log_target=True, reduction="batchmean")


def preference_loss(good: torch.Tensor, bad: torch.Tensor, *, beta: float) -> torch.Tensor:
    """-log sigmoid(β · (ratio of the honest completion - ratio of the payload's)); log ratios to the reference.

    >>> round(preference_loss(torch.zeros(1), torch.zeros(1), beta=0.1).item(), 4)
    0.6931
    """
    return -nn.functional.logsigmoid(beta * (good - bad)).mean()


def npo_loss(bad: torch.Tensor, *, beta: float) -> torch.Tensor:
    """-2/β · log sigmoid(-β · ratio of the payload's completion): falls off as the ratio does, where ascent runs away.

    >>> round(npo_loss(torch.tensor([-1e3]), beta=0.1).item(), 4)
    0.0
    """
    return -2 / beta * nn.functional.logsigmoid(-beta * bad).mean()
