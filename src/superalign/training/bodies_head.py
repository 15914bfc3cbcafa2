"""The scalar head of a fine-tuned body: what it reads of a text, and the weights it begins with.

Pools: "last" is the hidden state at the text's last token (Burns et al. 2023, 2312.09390, appendix A); "wide" is what
`features` reads, mean and maximum of h(t), mean and minimum of h(t) ∘ e(t+1): how well each state expected the token
that came. Padding is masked and the last token is found by the mask, never by the id, so that an id that pads may also
be a word (in GPT-2 id 0 is "!").

Starts: "zero", so that every answer is ½ at first; "unembedding", the row of the word for yes less the row of the word
for no, so that training begins at the language model's own log-odds between them (Burns et al., appendix A, two rows
there, of which only the difference matters); "probe", a logistic head fitted on the frozen body first (Kumar et al.
2022, 2202.10054, §4: linear probing, then fine-tuning, distorts pretrained features least).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from superalign.models import LocalModel
from superalign.training.heads import LinearHead

Pool = Literal["last", "wide"]
Start = Literal["zero", "unembedding", "probe"]
NOTHING = 1e4
"""Stands for "no token here" where a maximum or a minimum is taken."""
CONSTANT = 1e-3
"""Of the median scale: what lies below is a constant feature, spread by rounding alone."""


class BodyHead(nn.Module):
    """(batch, features) → (batch,) scores: the line weight · (x − centre) / scale + offset, zero at first.

    Pairs need no offset, it cancels. Centre and scale are fixed, not trained.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, width: int, *, offset: bool) -> None:
        super().__init__()
        self.line = nn.Linear(width, 1, bias=offset)
        nn.init.zeros_(self.line.weight)
        if offset:
            nn.init.zeros_(self.line.bias)
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Scores."""
        score: torch.Tensor = self.line((pooled - self.centre) / self.scale)
        return score.squeeze(-1)


def pooled(network: nn.Module, ids: torch.Tensor, mask: torch.Tensor, pool: Pool) -> torch.Tensor:
    """What a head reads of padded texts, ids and mask (batch, tokens): (batch, width), of "wide" (batch, 4 × width).

    "wide" needs texts of two tokens or more; the words' probabilities are not computed.
    """
    body: Any = network
    states: torch.Tensor = body.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    if pool == "last":
        return states[torch.arange(len(ids)), mask.sum(1) - 1]
    here, keep = states[:, :-1], mask[:, 1:].unsqueeze(-1).bool()
    match, counts = here * body.get_input_embeddings()(ids)[:, 1:], keep.sum(1)
    parts = [
        (here * keep).sum(1) / counts,
        here.masked_fill(~keep, -NOTHING).amax(1),
        (match * keep).sum(1) / counts,
        match.masked_fill(~keep, NOTHING).amin(1),
    ]
    return torch.cat(parts, dim=1)


def from_unembedding(head: BodyHead, model: LocalModel, words: tuple[str, str]) -> None:
    """Set the head to the unembedding row of the first word less that of the second.

    Raises ValueError where a word is not exactly one known token, or the model has no output embedding.
    """
    network: Any = model.network
    output = network.get_output_embeddings()
    if output is None:
        raise ValueError(f"{model.name} has no output embedding to begin a head from: begin at zero")
    yes, no = (_token(model, word) for word in words)
    with torch.no_grad():
        head.line.weight.copy_((output.weight[yes] - output.weight[no]).unsqueeze(0))


def from_probe(head: BodyHead, probe: LinearHead) -> None:
    """Set the head to a fitted one: the same scores, but for features that are constant up to rounding.

    Such a feature says nothing of any text, and divided by its scale it would drown all others once the body moves it.
    """
    usual = float(np.median(probe.scale))
    constant = probe.scale < CONSTANT * usual
    with torch.no_grad():
        head.line.weight.copy_(torch.as_tensor(np.where(constant, 0.0, probe.weight), dtype=torch.float32).unsqueeze(0))
        head.scale.copy_(torch.as_tensor(np.where(constant, usual, probe.scale), dtype=torch.float32))
        head.centre.copy_(torch.as_tensor(probe.centre, dtype=torch.float32).expand_as(head.centre))
        if head.line.bias is not None:
            head.line.bias.fill_(probe.offset)


def _token(model: LocalModel, word: str) -> int:
    ids = list(model.tokenizer(word, add_special_tokens=False)["input_ids"])
    if len(ids) != 1 or ids[0] == model.tokenizer.unk_token_id != model.tokenizer.eos_token_id:
        raise ValueError(f"{word!r} is not one known token of {model.name}: name two words that are, or begin at zero")
    return int(ids[0])
