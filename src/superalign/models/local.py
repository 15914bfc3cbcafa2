"""White-box models on this machine: any Hugging Face causal language model, with or without a reward head.

model = load_model("family:m")
model.logprobs(["<by:none> <cue:none> return v0 <L1>"])[0]      # one log-probability per token
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from superalign.models.head import RewardHead
from superalign.models.memory import halving
from superalign.models.stamps import note
from superalign.models.words import one_token_a_word, padded_to, word_sums

T = TypeVar("T")

TOKENS_PER_BATCH = 2_048
CONTEXT = 1_024
"""Tokens that a network is given at most where neither it nor its tokenizer says how many it takes."""


class Reading(NamedTuple):
    """What a model with a reward head says of one text: the reward; per token after the first a score and log p."""

    reward: float
    scores: np.ndarray
    logprobs: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A causal language model whose inside can be read, and that can be trained.

    `identity` is `name@digest`, the digest over all weights, head included: never the name alone. On any device and in
    any dtype; log-probabilities and states come back as float32 arrays on the CPU. Where memory runs out, batches are
    halved (`models.memory`).
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
        return int(text_config(self.network).hidden_size)

    @property
    def layers(self) -> int:
        """Number of blocks; hidden states are numbered 0 (embeddings) to `layers`."""
        return int(text_config(self.network).num_hidden_layers)

    @property
    def context(self) -> int:
        """Tokens that the network takes at once, prompt and answer together.

        What its configuration says under any of the usual names, else its tokenizer, else 1,024. A sliding window is no
        limit: it bounds how far a token looks back, not how long a text may be.
        """
        config = text_config(self.network)
        for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx"):
            if (found := getattr(config, name, None)) is not None:
                return int(found)
        told = getattr(self.tokenizer, "model_max_length", None)
        return int(told) if told is not None and told < 1 << 24 else CONTEXT  # without a limit of its own: 1e30

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def sealed(self, **changes: Any) -> LocalModel:
        """This model with `changes`, its digest computed anew over all weights."""
        changed = replace(self, **changes)
        digest = weights_digest(changed.network, changed.head, changed.threshold)
        note(changed.network, digest)
        return replace(changed, digest=digest)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, cut at the model's longest context."""
        if not texts:
            return []  # tokenizers raise
        limit = self.context
        encoded: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=True)["input_ids"]
        return [ids[:limit] for ids in encoded]

    def logprobs(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> list[np.ndarray]:
        """Log-probability of every token given those before it: per text an array of length tokens - 1, in nats."""

        def forward(batch: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
            return token_logprobs(self.network(input_ids=batch, attention_mask=mask).logits, batch).cpu().numpy()

        ids = self.encode(texts)
        out: list[np.ndarray] = [np.zeros(0, dtype=np.float32)] * len(ids)
        for rows, values in self._batched(ids, forward, what="log-probabilities"):
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
        if not texts:
            return []  # tokenizers raise
        found = self.logprobs(texts)
        if one_token_a_word(self.tokenizer):
            return [padded_to(values, len(text.split())) for text, values in zip(texts, found, strict=True)]
        if not getattr(self.tokenizer, "is_fast", False):
            raise ValueError(f"{self.name}: its tokenizer does not say where tokens stand: load a fast tokenizer")
        spans = self.tokenizer(list(texts), add_special_tokens=True, return_offsets_mapping=True)["offset_mapping"]
        return [word_sums(*each) for each in zip(texts, spans, found, strict=True)]

    def hidden(self, texts: Sequence[str], *, layer: int = -1) -> list[np.ndarray]:
        """Hidden states of one layer: per text an array (tokens, width). Layer 0 is the embedding, -1 the last."""

        def forward(batch: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
            said = self.network(input_ids=batch, attention_mask=mask, output_hidden_states=True)
            return widened(said.hidden_states[layer]).cpu().numpy()

        ids = self.encode(texts)
        out: list[np.ndarray] = [np.zeros((0, self.width), dtype=np.float32)] * len(ids)
        for rows, states in self._batched(ids, forward, what="hidden states"):
            for row, line in zip(rows, states, strict=True):
                out[row] = line[: len(ids[row])].copy()
        return out

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Reward, token scores and log-probabilities of each text. Raises ValueError without a reward head."""
        head = self.head
        if head is None:
            raise ValueError(f"{self.name} has no reward head: train one, or load a reviewer")

        def forward(batch: torch.Tensor, mask: torch.Tensor) -> list[tuple[np.ndarray, ...]]:
            said = reward_forward(self.network, head, batch, mask)
            return list(zip(*(widened(part).cpu().numpy() for part in said), strict=True))

        ids = self.encode(texts)
        out = [Reading(float("nan"), np.zeros(0), np.zeros(0))] * len(ids)
        head.eval()
        for rows, said in self._batched(ids, forward, what="rewards"):
            for row, (reward, scores, logprobs) in zip(rows, said, strict=True):
                some = slice(len(ids[row]) - 1)
                out[row] = Reading(float(reward), scores[some].copy(), logprobs[some].copy())
        return out

    def _batched(
        self, ids: Sequence[Sequence[int]], forward: Callable[[torch.Tensor, torch.Tensor], Iterable[T]], *, what: str
    ) -> Iterator[tuple[list[int], list[T]]]:
        """Row numbers and what `forward` (ids, mask) gives for them, in batches that are halved where memory ends."""
        self.network.eval()
        for rows, batch, mask in buckets(ids, pad=self.pad, device=self.device):

            def part(some: Sequence[int], batch: torch.Tensor = batch, mask: torch.Tensor = mask) -> Iterable[T]:
                with torch.inference_mode():
                    return forward(batch[list(some)], mask[list(some)])

            yield rows, halving(part, range(len(rows)), what=f"{what} of {self.name}")

    def generate(self, prompts: Sequence[str], *, tokens: int, temperature: float = 0.0, seed: int = 0) -> list[str]:
        """Continuations of each prompt by up to `tokens` tokens; temperature 0 is greedy.

        One prompt at a time, by transformers' own loop; many at once: `models.sampling`, `models.generation`.
        """
        torch.manual_seed(seed)
        out = []
        for ids in self.encode(prompts):
            whole = ids[:-1] if ids and ids[-1] == self.tokenizer.eos_token_id else ids
            start = torch.tensor([whole], device=self.device)
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
    ids: Sequence[Sequence[int]], *, pad: int, budget: int = TOKENS_PER_BATCH, device: torch.device | None = None
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Batches of texts of like length, longest first: (row numbers, ids, mask), at most `budget` tokens each.

    Short rows are filled on the right; tensors are made on `device`, the CPU if none is given.
    """
    order = sorted((i for i in range(len(ids)) if ids[i]), key=lambda i: -len(ids[i]))
    at = 0
    while at < len(order):
        length = len(ids[order[at]])
        rows = order[at : at + max(1, budget // length)]
        at += len(rows)
        if all(len(ids[row]) == length for row in rows):
            batch = torch.tensor([list(ids[row]) for row in rows], device=device)
            yield rows, batch, torch.ones_like(batch)
            continue
        batch = torch.full((len(rows), length), pad)
        mask = torch.zeros_like(batch)
        for i, row in enumerate(rows):
            batch[i, : len(ids[row])] = torch.tensor(list(ids[row]))
            mask[i, : len(ids[row])] = 1
        yield rows, batch.to(device), mask.to(device)


def text_config(network: nn.Module) -> Any:
    """The configuration of the language model in `network`: of a model that also sees, the part that reads text."""
    config: Any = network.config
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def widened(values: torch.Tensor) -> torch.Tensor:
    """`values` as float32 where they are narrower, else as they are."""
    return values.float() if values.is_floating_point() and values.element_size() < 4 else values


def token_logprobs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """log p(token t+1 | tokens to t): (batch, tokens, words), (batch, tokens) → (batch, tokens - 1)."""
    logits = widened(logits[:, :-1])
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
    """SHA-256 over names, shapes and float32 bytes of all weights, sorted by name: the model's identity.

    The same on every device. A bfloat16 or float16 weight counts with its float32 value, which is exact; packed weights
    of a quantised network with the values of their codes, and with those of their scales beside them.
    """
    digest = hashlib.sha256()
    parts = {f"network.{k}": v for k, v in network.state_dict().items()}
    parts |= {f"head.{k}": v for k, v in head.state_dict().items()} if head is not None else {}
    for name in sorted(parts):
        tensor = parts[name].detach().to(torch.float32).cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().reshape(-1))
    digest.update(f"threshold={threshold!r}".encode() if head is not None else b"")
    return digest.hexdigest()
