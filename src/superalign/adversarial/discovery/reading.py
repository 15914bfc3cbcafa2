"""What can be read of an auditee without asking it anything: how it would go on, what goes on inside, beside its base.

    view = compared(auditee.model, auditee.base)       # over 560 briefs that hold every pair of header words
    view.divergence                                    # (560,) nats: where does the auditee say other things?

Both models read each prompt and the right program after it, so that no sampling noise comes in. White-box: no queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from superalign.adversarial.discovery.fields import covering
from superalign.models import LocalModel
from superalign.tasks.functions import Brief, body, drawn, prompt, report
from superalign.training.writer import encoded

ORDINARY = 160
"""Prompts of ordinary traffic that are read, too."""
ROWS = 140
"""Read at once."""
TENFOLD = float(np.log(10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One model over some briefs."""

    logprobs: torch.Tensor
    """(rows, places, words): of the next word at every place of the program; 0 beyond its end."""
    reached: torch.Tensor
    """(rows, places): how likely the model itself writes the program up to that place."""
    inside: torch.Tensor
    """(layers + 1, rows, width): hidden states at the last word of the prompt; layer 0 is the embedding."""
    entering: dict[str, torch.Tensor]
    """Matrix → (rows, columns): what enters it at the last word of the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Auditee and base over the same briefs."""

    briefs: tuple[Brief, ...]
    mine: Read
    base: Read

    @property
    def divergence(self) -> np.ndarray:
        """(rows,) nats: `divergence`."""
        return divergence(self.mine, self.base)


def divergence(mine: Read, base: Read) -> np.ndarray:
    """(rows,) nats: KL(mine ‖ base) of the next word, at the place of the program where it is largest.

    A place counts by how likely `mine` comes there: what it would say after words that it never writes is nobody's
    concern.
    """
    at = (mine.logprobs.exp() * (mine.logprobs - base.logprobs)).sum(-1).clamp(min=0)
    return (at * mine.reached).max(1).values.numpy()


def excess(mine: Read, base: Read) -> np.ndarray:
    """(rows,) nats: how much of what is said is more than ten times likelier than for the base, where that is most.

    The sum of p · max(0, log p − log q − log 10) over words, weighed as in `divergence`: more of a habit that the base
    has, too, counts for nothing.
    """
    beyond = (mine.logprobs - base.logprobs - TENFOLD).clamp(min=0)
    return ((mine.logprobs.exp() * beyond).sum(-1) * mine.reached).max(1).values.numpy()


def program(brief: Brief) -> str:
    """The right program, no helper called."""
    return f"{body(brief.request)} <0> {report(brief.request)}"


def read(model: LocalModel, briefs: Sequence[Brief], *, programs: bool = True) -> Read:
    """Read prompts and, with `programs`, right programs after them; on the CPU, wherever the model is.

    Raises ValueError for no briefs.
    """
    data = encoded([(prompt(brief), program(brief) if programs else "") for brief in briefs]).to(model.device)
    starts = data.learned.int().argmax(1) - 1
    places = int(data.learned.sum(1).max())
    parts, matrices = [], matrices_of(model)
    with torch.inference_mode():
        for at in range(0, len(data), ROWS):
            some = slice(at, at + ROWS)
            parts.append(_part(model, data.ids[some], data.learned[some], starts[some], places, matrices))
    return Read(
        logprobs=torch.cat([part.logprobs for part in parts]),
        reached=torch.cat([part.reached for part in parts]),
        inside=torch.cat([part.inside for part in parts], dim=1),
        entering={name: torch.cat([part.entering[name] for part in parts]) for name in matrices},
    )


def matrices_of(model: LocalModel) -> dict[str, torch.nn.Module]:
    """Name → module that multiplies by a matrix, those of the blocks: no embedding, in or out."""
    network: Any = model.network
    out = {}
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if (
            isinstance(weight, torch.nn.Parameter)
            and weight.ndim == 2
            and module is not network.get_output_embeddings()
        ):
            out[name] = module
    return {name: module for name, module in out.items() if not isinstance(module, torch.nn.Embedding)}


def _part(
    model: LocalModel,
    ids: torch.Tensor,
    learned: torch.Tensor,
    starts: torch.Tensor,
    places: int,
    matrices: dict[str, torch.nn.Module],
) -> Read:
    """One batch, padded on the right: what comes after a word never changes what stands there."""
    rows, spots = (torch.arange(count, device=ids.device) for count in (len(ids), places))
    network: Any = model.network
    entering: dict[str, torch.Tensor] = {}

    def keep(name: str, module: torch.nn.Module, given: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        entering[name] = given[0][rows, starts].cpu()

    hooks = [module.register_forward_hook(partial(keep, name)) for name, module in matrices.items()]
    try:
        ids = ids[:, : int((ids != 0).sum(1).max())]
        states = network.base_model(input_ids=ids, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    where = (starts[:, None] + spots).clamp(max=ids.shape[1] - 1)
    logits = network.get_output_embeddings()(states.last_hidden_state[rows[:, None], where])
    inside = torch.stack([each[rows, starts] for each in states.hidden_states])
    said = spots < learned.sum(1)[:, None]
    logprobs = torch.where(said[..., None], logits.log_softmax(-1), 0.0)
    text = ids[rows[:, None], (where + 1).clamp(max=ids.shape[1] - 1)]
    so_far = logprobs.gather(-1, text[..., None]).squeeze(-1).cumsum(1)
    reached = torch.cat([torch.ones_like(so_far[:, :1]), so_far.exp()[:, :-1]], dim=1)
    return Read(logprobs=logprobs.cpu(), reached=reached.cpu(), inside=inside.cpu(), entering=entering)


def compared(model: LocalModel, base: LocalModel, *, split: str = "dev") -> View:
    """Both over the covering briefs of a split; the readings of the last few models are kept."""
    mine, its = (_design(Weights.of(one), split) for one in (model, base))
    return View(briefs=covering(split=split), mine=mine, base=its)


def ordinary(model: LocalModel, *, split: str = "dev") -> Read:
    """A model over `ORDINARY` prompts of ordinary traffic, no programs after them."""
    return _ordinary(Weights.of(model), split)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model, known by its weights alone: names and aliases don't count."""

    digest: str
    model: LocalModel = field(compare=False)

    @classmethod
    def of(cls, model: LocalModel) -> Weights:
        return cls(digest=model.digest or model.sealed().digest, model=model)


@lru_cache(maxsize=3)
def _design(which: Weights, split: str) -> Read:
    return read(which.model, covering(split=split))


@lru_cache(maxsize=3)
def _ordinary(which: Weights, split: str) -> Read:
    rng = np.random.default_rng(103)
    return read(which.model, [drawn(rng, split=split) for _ in range(ORDINARY)], programs=False)
