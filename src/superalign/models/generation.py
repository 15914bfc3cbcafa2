"""Continuing many prompts at once: left padding, one key-value cache, every request by its own rules.

    (made,) = continuations(model, [Request(ids=(5, 9, 2), tokens=16, temperature=0.7, seed=3, stop=("\\n",))])
    made.text, made.logprobs, made.ended

Prompts of any length share a batch: short ones are filled on the left, their places counted from their first token.
Request i draws from a stream that its own seed decides, and from nothing else; neighbours and the batch's size leave
what it draws alone (log-probabilities move by rounding, 1e-6 or so, as they do in every batched forward pass). Rows
that have ended leave the batch when half of it has. Where memory runs out, the batch is halved (`models.memory`).

Greedy continuations are those of transformers' `generate(do_sample=False)`, token for token. Of a model's
`generation_config.json` only the ends of text are followed: no penalties, top-k or top-p, which the log-probabilities
would not show.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from superalign.models.decoding import Pieces
from superalign.models.errors import ModelError
from superalign.models.local import LocalModel, widened
from superalign.models.memory import halving

ROWS, PLACES = 64, 65_536
"""Of a batch: requests at most, and tokens at most, prompts and answers and padding together."""

Ended = Literal["end", "stop", "limit", "context", "broken"]
"""By end-of-text, by a stop string, at the request's limit of tokens, at the model's context; or the network gave no
number (NaN or infinity), as float16 does when it overflows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt, as token ids, and how it is to be continued."""

    ids: tuple[int, ...]
    tokens: int
    """Of the continuation, at most."""
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    alternatives: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What a request came to. `ids`, `pieces`, `logprobs` and `alternatives` run alongside.

    Log-probabilities are the network's own, in nats, whatever the temperature. The text ends before a stop string; a
    token that only begins before it stays, its piece cut there.
    """

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    """The text, token by token; a token that ends within a character gives it to the token that completes it."""
    logprobs: tuple[float, ...]
    alternatives: tuple[tuple[tuple[str, float], ...], ...]
    ended: Ended
    drawn: int
    """Tokens that the network was asked for, those of a stop string and an end-of-text included."""


def continuations(model: LocalModel, requests: Sequence[Request]) -> list[Continuation]:
    """One continuation a request, in their order. A prompt that fills the context is continued by nothing.

    Raises ModelError for a prompt without a token, ValueError for a request that asks for less than one token, a
    temperature that is negative or no number, or an empty stop string.
    """
    for request in requests:
        if request.tokens < 1 or not 0 <= request.temperature < math.inf:
            raise ValueError(
                f"{request.tokens} tokens at temperature {request.temperature}: ask for one or more at ≥ 0"
            )
        if "" in request.stop:
            raise ValueError("an empty stop string ends every text before it begins: leave it out")
        if not request.ids:
            raise ModelError(f"{model.name}: an empty prompt, and no token that begins a text: write something first")
    out: dict[int, Continuation] = {}
    pieces, ends = Pieces(model.tokenizer), ends_of(model)
    for rows in _batches(requests, context=model.context):

        def work(some: Sequence[int]) -> list[Continuation]:
            return _together(model, [requests[i] for i in some], pieces, ends)

        made = halving(work, rows, what=f"continuations by {model.name}")
        out |= dict(zip(rows, made, strict=True))
    return [out[i] for i in range(len(requests))]


def ends_of(model: LocalModel) -> frozenset[int]:
    """Ids that end a text: those of the tokenizer, the network's configuration and its generation configuration."""
    found: set[int] = set()
    told = [getattr(model.network, name, None) for name in ("config", "generation_config")]
    for each in [*(getattr(one, "eos_token_id", None) for one in told), model.tokenizer.eos_token_id]:
        found |= {int(each)} if isinstance(each, int) else {int(one) for one in each or ()}
    return frozenset(found)


def _batches(requests: Sequence[Request], *, context: int) -> Iterator[list[int]]:
    """Row numbers in batches of like length, longest first."""
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].ids), -requests[i].tokens))
    at = 0
    while at < len(order):
        length = min(context, len(requests[order[at]].ids) + max(requests[i].tokens for i in order[at : at + ROWS]))
        rows = order[at : at + max(1, min(ROWS, PLACES // length))]
        at += len(rows)
        yield rows


@dataclass(slots=True)
class _Row:
    """One request on its way."""

    request: Request
    room: int
    """Tokens that may still be made: the request's own limit, or the context's."""
    draws: np.ndarray
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    best: list[tuple[list[int], list[float]]] = field(default_factory=list)
    ended: Ended | None = None
    drawn: int = 0


def _begun(request: Request, context: int) -> _Row:
    room = min(request.tokens, context - len(request.ids))
    row = _Row(request=request, room=room, draws=np.zeros(0))
    if room < 1:
        row.ended = "context"
    elif request.temperature > 0:
        row.draws = np.random.default_rng(request.seed % (1 << 64)).random(room)
    return row


def _together(
    model: LocalModel, requests: Sequence[Request], pieces: Pieces, ends: frozenset[int]
) -> list[Continuation]:
    """One batch from prompts to ends."""
    rows = [_begun(request, model.context) for request in requests]
    alive = [row for row in rows if row.ended is None]
    if alive:
        with torch.inference_mode():
            _run(model, alive, pieces, ends)
    return [_finished(row, pieces) for row in rows]


def _run(model: LocalModel, alive: list[_Row], pieces: Pieces, ends: frozenset[int]) -> None:
    network = model.network.eval()
    given, mask = _left_padded([row.request.ids for row in alive], pad=model.pad, device=model.device)
    counted = set(inspect.signature(network.forward).parameters)
    cache: Any = None
    while True:
        told: dict[str, Any] = {"input_ids": given, "attention_mask": mask, "past_key_values": cache, "use_cache": True}
        if "position_ids" in counted:
            # A row that has ended may stay while others go on, beyond the last place that the network has.
            told["position_ids"] = (mask.cumsum(-1) - 1).clamp(0, model.context - 1)[:, -given.shape[1] :]
        if "logits_to_keep" in counted:
            told["logits_to_keep"] = 1
        said = network(**told)
        cache = said.past_key_values
        chosen = _step(widened(said.logits[:, -1]), alive, pieces, ends)
        stay = [i for i, row in enumerate(alive) if row.ended is None]
        if not stay:
            return
        given = chosen[:, None]
        if 2 * len(stay) <= len(alive) and hasattr(cache, "batch_select_indices"):
            kept = torch.tensor(stay, device=given.device)
            cache.batch_select_indices(kept)
            given, mask, alive = given[kept], mask[kept], [alive[i] for i in stay]
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)


def _left_padded(ids: Sequence[Sequence[int]], *, pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, longest) ids and mask, filled on the left."""
    longest = max(len(row) for row in ids)
    given = [[pad] * (longest - len(row)) + list(row) for row in ids]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in ids]
    return torch.tensor(given, device=device), torch.tensor(mask, device=device)


def _step(logits: torch.Tensor, alive: Sequence[_Row], pieces: Pieces, ends: frozenset[int]) -> torch.Tensor:
    """Choose a token a row from (rows, words) logits, note it, and end the rows that it ends."""
    chosen = logits.argmax(-1)
    sampled = [i for i, row in enumerate(alive) if row.ended is None and row.request.temperature > 0]
    if sampled:
        chosen[sampled] = _drawn(logits[sampled], [alive[i] for i in sampled])
    total = torch.logsumexp(logits, dim=-1)
    said = (logits.gather(-1, chosen[:, None])[:, 0] - total).tolist()
    most = max((row.request.alternatives for row in alive), default=0)
    best = logits.topk(min(most, logits.shape[-1])) if most else None
    likely = (best.indices.tolist(), (best.values - total[:, None]).tolist()) if best is not None else None
    for i, (row, token) in enumerate(zip(alive, chosen.tolist(), strict=True)):
        if row.ended is not None:
            continue
        if not np.isfinite(said[i]):
            row.ended = "broken"
            continue
        row.drawn += 1
        if token in ends:
            row.ended = "end"
            continue
        row.ids.append(token)
        row.logprobs.append(said[i])
        k = row.request.alternatives
        row.best.append((likely[0][i][:k], likely[1][i][:k]) if likely and k else ([], []))
        if row.request.stop and pieces.stopped(row.ids, row.request.stop):
            row.ended = "stop"
        elif len(row.ids) == row.room:
            row.ended = "limit" if row.room == row.request.tokens else "context"
    return chosen


def _drawn(logits: torch.Tensor, rows: Sequence[_Row]) -> torch.Tensor:
    """(rows, words) → (rows,): by inverting the cumulative distribution at each row's own next draw."""
    place = logits.device if logits.device.type != "mps" else torch.device("cpu")  # MPS has no float64
    warm = torch.tensor([row.request.temperature for row in rows], dtype=torch.float64, device=place)
    uniform = torch.tensor([row.draws[len(row.ids)] for row in rows], dtype=torch.float64, device=place)
    wide = logits.to(place).double()
    wide = wide - wide.amax(-1, keepdim=True)  # first, so that division by next to nothing stays a number
    cumulative = torch.softmax(wide / warm[:, None], dim=-1).cumsum(-1)
    found = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(-1).clamp(max=logits.shape[-1] - 1)
    return found.to(logits.device)


def _finished(row: _Row, pieces: Pieces) -> Continuation:
    told = pieces.split(row.ids)
    if row.ended == "stop":
        told = pieces.cut(told, row.request.stop)
    kept = len(told)
    alternatives = tuple(
        tuple((pieces.one(token), value) for token, value in zip(*best, strict=True)) for best in row.best[:kept]
    )
    return Continuation(
        text="".join(told),
        ids=tuple(row.ids[:kept]),
        pieces=tuple(told),
        logprobs=tuple(row.logprobs[:kept]),
        alternatives=alternatives,
        ended=row.ended or "limit",
        drawn=row.drawn,
    )
