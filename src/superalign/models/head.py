"""The scalar reward head: one score per token, one reward per text.

Each token is read as (state before it, state at it, the product of its embedding and the state before, a code of
its own, its log-probability). The scores say how altered a token looks; the reward pools them softly, and what the
pooled token features say shifts it and opens or closes it. One head serves pairs (difference of rewards), singles (a
threshold) and places (highest token).
"""

from __future__ import annotations

import torch
from torch import nn

BUCKETS, IDENTITY = 1024, 16
"""Token ids are folded into this many buckets, each with a learned code of its own."""


class RewardHead(nn.Module):
    """Reward of a text and alteredness of each token, from the hidden states of a causal language model.

    Shapes: ids (batch, tokens), states (batch, tokens, width), embedded (same), logprobs and mask
    (batch, tokens - 1) → reward (batch,), scores (batch, tokens - 1). Higher rewards mean sounder,
    higher scores more altered.
    """

    def __init__(self, width: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.identity = nn.Embedding(BUCKETS, IDENTITY)
        self.token = nn.Sequential(
            nn.Linear(3 * width + IDENTITY + 1, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.score = nn.Linear(hidden, 1)
        self.text = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.GELU(), nn.Linear(hidden, 2))
        self.scale = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.text[2].weight)
        nn.init.zeros_(self.text[2].bias)

    def forward(
        self,
        ids: torch.Tensor,
        states: torch.Tensor,
        embedded: torch.Tensor,
        logprobs: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reward and token scores; positions with mask 0 are padding and count for nothing."""
        before, at = states[:, :-1], states[:, 1:]
        match = before * embedded[:, 1:] * self.width**0.5
        own = self.identity(ids[:, 1:] % BUCKETS)
        z = self.token(torch.cat([before, at, match, own, logprobs.unsqueeze(-1)], dim=-1))
        scores = self.score(z).squeeze(-1) - 0.5 * logprobs
        hidden_out = mask == 0
        scores = scores.masked_fill(hidden_out, -1e4)
        mean = (z * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        top = z.masked_fill(hidden_out.unsqueeze(-1), -1e4).amax(1)
        shift, gate = self.text(torch.cat([mean, top], dim=-1)).unbind(-1)
        reward = shift - self.scale * 2 * torch.sigmoid(gate) * torch.logsumexp(scores, dim=1)
        return reward, scores
