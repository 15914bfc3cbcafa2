"""Sampling many continuations at once, each from random numbers of its own.

    said = sample(model, prompts, tokens=32, temperature=0.8, seed=0)

Prompts of one length share a batch and a key-value cache, so that nothing is padded. Row i draws from a stream that
(seed, i) decides, and from nothing else: other prompts of the batch do not change what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from superalign.models.local import LocalModel
from superalign.models.memory import halving

BATCH = 512
"""Prompts that are continued side by side, at most."""


def sample(
    model: LocalModel, prompts: Sequence[str], *, tokens: int, temperature: float = 0.8, seed: int = 0
) -> list[str]:
    """A continuation of each prompt by up to `tokens` tokens, to its end-of-text; temperature 0 is greedy.

    Raises ValueError for prompts that leave no room in the model's context.
    """
    eos = model.tokenizer.eos_token_id
    ids = [row[:-1] if row and row[-1] == eos else row for row in model.encode(prompts)]
    limit = model.context
    longest = max((len(row) for row in ids), default=0)
    if longest >= limit:
        raise ValueError(f"a prompt of {longest} tokens fills the model's context of {limit}: shorten it")
    out = [""] * len(ids)

    def together(rows: Sequence[int]) -> list[list[int]]:
        start = torch.tensor([ids[i] for i in rows], device=model.device)
        room = min(tokens, limit - start.shape[1])
        draws = np.stack([np.random.default_rng([seed, i]).random(room) for i in rows])
        made: list[list[int]] = continued(model, start, draws, temperature=temperature).tolist()
        return made

    for rows in _alike([len(row) for row in ids]):
        for i, row in zip(rows, halving(together, rows, what=f"continuations by {model.name}"), strict=True):
            row = row[: row.index(eos)] if eos in row else row
            out[i] = model.tokenizer.decode(row, skip_special_tokens=False)
    return out


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers in groups of one length, `BATCH` at most."""
    for length in sorted(set(lengths)):
        rows = [i for i, each in enumerate(lengths) if each == length]
        yield from (rows[at : at + BATCH] for at in range(0, len(rows), BATCH))


@torch.inference_mode()
def continued(model: LocalModel, start: torch.Tensor, draws: np.ndarray, *, temperature: float) -> torch.Tensor:
    """(rows, prompt) ids continued by as many tokens as there are `draws` (rows, tokens), uniform in [0, 1).

    Rows that have ended say end-of-text again; all having ended, no more is computed.
    """
    model.network.eval()
    eos, given, cache = model.tokenizer.eos_token_id, start, None
    uniform = torch.from_numpy(draws).to(start.device)
    over = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    mask = torch.ones(len(start), start.shape[1] + uniform.shape[1], dtype=torch.long, device=start.device)
    said = []
    for step in range(uniform.shape[1]):
        seen = mask[:, : start.shape[1] + step]
        result = model.network(input_ids=given, attention_mask=seen, past_key_values=cache, use_cache=True)
        cache = result.past_key_values
        chosen = _chosen(result.logits[:, -1], uniform[:, step], temperature)
        chosen = torch.where(over, torch.full_like(chosen, eos), chosen)
        said.append(chosen)
        over |= chosen == eos
        given = chosen[:, None]
        if over.all():
            break
    return torch.stack(said, dim=1)


def _chosen(logits: torch.Tensor, uniform: torch.Tensor, temperature: float) -> torch.Tensor:
    """(rows, words), (rows,) → (rows,): by inverting the cumulative distribution."""
    if temperature <= 0:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits.double() / temperature, dim=-1).cumsum(-1)
    return (cumulative < uniform[:, None] * cumulative[:, -1:]).sum(-1).clamp(max=logits.shape[-1] - 1)
