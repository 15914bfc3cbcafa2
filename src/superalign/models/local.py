"""White-box models on this machine: any Hugging Face causal language model, with or without a reward head.

model = load_model("family:m")
model.logprobs(["<by:none> <cue:none> return v0 <L1>"])[0]      # one log-probability per token
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from superalign.models.head import RewardHead
from superalign.models.words import one_token_a_word, padded_to, word_sums

TOKENS_PER_BATCH = 2_048


class Reading(NamedTuple):
    """What a model with a reward head says of one text: the reward; per token after the first a score and log p."""

    reward: float
    scores: np.ndarray
    logprobs: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A causal language model whose inside can be read, and that can be trained.

    `identity` is `name@digest`, the digest over all weights, head included: never the name alone.
    """

    name: str
    network: nn.Module
    tokenizer: Any
    head: RewardHead | None = None
    threshold: float = 0.0
    """Rewards under it are called *altered* in the single view; fixed on dev."""
    organism: bool = False
    digest: str = field(default="")

    @property
    def identity(self) -> str:
        """`name@digest`."""
        return f"{self.name}@{self.digest}"

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return int(self.network.config.hidden_size)

    @property
    def layers(self) -> int:
        """Number of blocks; hidden states are numbered 0 (embeddings) to `layers`."""
        return int(self.network.config.num_hidden_layers)

    def sealed(self, **changes: Any) -> LocalModel:
        """This model with `changes`, its digest computed anew over all weights."""
        changed = replace(self, **changes)
        return replace(changed, digest=weights_digest(changed.network, changed.head, changed.threshold))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut at the model's longest context."""
        if not texts:
            return []  # tokenizers raise
        limit = int(getattr(self.network.config, "max_position_embeddings", 1024))
        encoded: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=True)["input_ids"]
        return [ids[:limit] for ids in encoded]

    def logprobs(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> list[np.ndarray]:
        """Log-probability of every token given those before it: per text an array of length tokens - 1, in nats."""
        ids = self.encode(texts)
        out: list[np.ndarray] = [np.zeros(0, dtype=np.float32)] * len(ids)
        self.network.eval()
        with torch.inference_mode():
            for rows, batch, mask in buckets(ids, pad=self.pad):
                values = token_logprobs(self.network(input_ids=batch, attention_mask=mask).logits, batch).numpy()
                for row, line in zip(rows, values, strict=True):
                    out[row] = line[: max(0, len(ids[row]) - 1)].copy()
                if progress:
                    progress(len(rows))
        return out

    def word_logprobs(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Log-probability of every word (parted by blanks) given what stands before it, in nats: (words,) a text.

        Tokens of a word add up, whatever the tokenizer makes of it. NaN where a word lies beyond the longest context,
        or holds the text's first token, which nothing precedes. Raises ValueError for a tokenizer without offsets.
        """
        found = self.logprobs(texts)
        if one_token_a_word(self.tokenizer):
            return [padded_to(values, len(text.split())) for text, values in zip(texts, found, strict=True)]
        if not getattr(self.tokenizer, "is_fast", False):
            raise ValueError(f"{self.name}: its tokenizer does not say where tokens stand: load a fast tokenizer")
        spans = self.tokenizer(list(texts), add_special_tokens=True, return_offsets_mapping=True)["offset_mapping"]
        return [word_sums(*each) for each in zip(texts, spans, found, strict=True)]

    def hidden(self, texts: Sequence[str], *, layer: int = -1) -> list[np.ndarray]:
        """Hidden states of one layer: per text an array (tokens, width). Layer 0 is the embedding, -1 the last."""
        ids = self.encode(texts)
        out: list[np.ndarray] = [np.zeros((0, self.width), dtype=np.float32)] * len(ids)
        self.network.eval()
        with torch.inference_mode():
            for rows, batch, mask in buckets(ids, pad=self.pad):
                states = self.network(input_ids=batch, attention_mask=mask, output_hidden_states=True).hidden_states[
                    layer
                ]
                for row, line in zip(rows, states.numpy(), strict=True):
                    out[row] = line[: len(ids[row])].copy()
        return out

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Reward, token scores and log-probabilities of each text. Raises ValueError without a reward head."""
        if self.head is None:
            raise ValueError(f"{self.name} has no reward head: train one, or load a reviewer")
        ids = self.encode(texts)
        out = [Reading(float("nan"), np.zeros(0), np.zeros(0))] * len(ids)
        self.network.eval()
        self.head.eval()
        with torch.inference_mode():
            for rows, batch, mask in buckets(ids, pad=self.pad):
                said = (part.numpy() for part in reward_forward(self.network, self.head, batch, mask))
                for row, reward, scores, logprobs in zip(rows, *said, strict=True):
                    some = slice(len(ids[row]) - 1)
                    out[row] = Reading(float(reward), scores[some].copy(), logprobs[some].copy())
        return out

    def generate(self, prompts: Sequence[str], *, tokens: int, temperature: float = 0.0, seed: int = 0) -> list[str]:
        """Continuations of each prompt by up to `tokens` tokens; temperature 0 is greedy."""
        torch.manual_seed(seed)
        out = []
        for ids in self.encode(prompts):
            start = torch.tensor([ids[:-1] if ids and ids[-1] == self.tokenizer.eos_token_id else ids])
            sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
            with torch.inference_mode():
                made = self.network.generate(
                    start,
                    attention_mask=torch.ones_like(start),
                    max_new_tokens=tokens,
                    pad_token_id=self.pad,
                    **sampling,
                )
            out.append(self.tokenizer.decode(made[0, start.shape[1] :], skip_special_tokens=True))
        return out

    @property
    def pad(self) -> int:
        """Id that fills short rows; masked, so that its value never matters."""
        return int(self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0)


def buckets(
    ids: Sequence[Sequence[int]], *, pad: int, budget: int = TOKENS_PER_BATCH
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Batches of texts of like length, longest first: (row numbers, ids, mask), at most `budget` tokens each."""
    order = sorted((i for i in range(len(ids)) if ids[i]), key=lambda i: -len(ids[i]))
    at = 0
    while at < len(order):
        length = len(ids[order[at]])
        rows = order[at : at + max(1, budget // length)]
        at += len(rows)
        if all(len(ids[row]) == length for row in rows):
            batch = torch.tensor([list(ids[row]) for row in rows])
            yield rows, batch, torch.ones_like(batch)
            continue
        batch = torch.full((len(rows), length), pad)
        mask = torch.zeros_like(batch)
        for i, row in enumerate(rows):
            batch[i, : len(ids[row])] = torch.tensor(list(ids[row]))
            mask[i, : len(ids[row])] = 1
        yield rows, batch, mask


def token_logprobs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """log p(token t+1 | tokens to t): (batch, tokens, words), (batch, tokens) → (batch, tokens - 1)."""
    logits = logits[:, :-1]
    chosen = logits.gather(-1, ids[:, 1:, None]).squeeze(-1)
    return chosen - torch.logsumexp(logits, dim=-1)


def reward_forward(
    network: nn.Module, head: RewardHead, ids: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards (batch,), token scores and log-probabilities (batch, tokens - 1) of padded ids."""
    result = network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    logprobs = token_logprobs(result.logits, ids)
    embedded = network.get_input_embeddings()(ids)
    reward, scores = head(ids, result.hidden_states[-1], embedded, logprobs, mask[:, 1:].to(logprobs.dtype))
    return reward, scores, logprobs


def weights_digest(network: nn.Module, head: nn.Module | None, threshold: float) -> str:
    """SHA-256 over names, shapes and float32 bytes of all weights, sorted by name: the model's identity."""
    digest = hashlib.sha256()
    parts = {f"network.{k}": v for k, v in network.state_dict().items()}
    parts |= {f"head.{k}": v for k, v in head.state_dict().items()} if head is not None else {}
    for name in sorted(parts):
        tensor = parts[name].detach().to(torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    digest.update(f"threshold={threshold!r}".encode() if head is not None else b"")
    return digest.hexdigest()
