"""What attention heads look at, for `superalign interpret`: known patterns beside their chance, and habits.

    raw = head_patterns(HeadsJob(address="family:m", corpus=path, seed=0))
    head_figures(raw, draws=400, seed=0)["heads.induction.trained"]

Patterns are read on random tokens twice over: the token before, the same token earlier, and what followed it there.
Chance is the same head at the same places of tokens that do not repeat (for the token before: the one before that), so
that a head which goes by place alone gains nothing; beside it the same of a network that was never trained. Each head
is put at its mean, too: does the second copy get dearer? Whatever is computed from the raw arrays needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from superalign.pipeline.interpret_findings import TRAINED, networks, spread_rows
from superalign.pipeline.interpret_heads_figures import LOOKS, SHARES, head_columns, head_figures

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from superalign.interpretability.corpus import Corpus
    from superalign.interpretability.heads import Pattern
    from superalign.interpretability.units import Site
    from superalign.models import LocalModel

__all__ = ["HeadsJob", "head_columns", "head_figures", "head_patterns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsJob:
    """Read the attention of one model's heads."""

    address: str
    corpus: Path
    """Where the corpus lies, for what heads look at on real text."""
    seed: int
    rows: int = 64
    """Sequences of random tokens."""
    half: int = 24
    """Tokens of a copy, fewer where the context is short."""
    windows: int = 96
    """Sequences of the corpus."""
    untrained: int | None = None
    """Seed of the network that was never trained."""


def head_patterns(job: HeadsJob) -> dict[str, np.ndarray]:
    """Raw attention of every head, (…, heads) in the order of `sites` and `units`.

    `NETWORK/PATTERN` and `NETWORK/PATTERN/null` (rows, heads) shares of attention; `NETWORK/first`, `…/second` (rows,)
    losses of the copies, nats a token; `without` (heads, rows) loss of the second with a head at its mean. `look/…`
    (windows, heads) of the model on text, `look/…/uniform` (windows,) of a head that looks at everything alike,
    `documents` (windows,); `distance` (heads, length) attention so far back.
    """
    from superalign.interpretability.heads import PATTERNS, head_scores, repeated
    from superalign.interpretability.units import heads
    from superalign.pipeline.interpret_corpus import corpus_at

    named = networks(job.address, job.untrained)
    model = named[TRAINED]
    sites = heads(model)
    limit = model.context
    half = min(job.half, (limit - 1) // 2)
    ids, _ = repeated(model, rows=job.rows, half=half, seed=job.seed)
    other, _ = repeated(model, rows=job.rows, half=half, seed=job.seed + 1)
    plain = np.concatenate([ids[:, : half + 1], other[:, half + 1 :]], axis=1)
    found = {
        "sites": np.repeat([site.name for site in sites], [site.units for site in sites]),
        "units": np.concatenate([np.arange(site.units) for site in sites]).astype(np.int32),
        "networks": np.array(list(named)),
        "half": np.array([half], dtype=np.int32),
    }
    for name, network in named.items():
        scores = head_scores(network, ids, half)
        chance = _chance(network, ids, plain, half)
        for pattern in PATTERNS:
            found[f"{name}/{pattern}"] = _flat(scores.mul[pattern])
            found[f"{name}/{pattern}/null"] = _flat(chance[pattern])
        found[f"{name}/first"], found[f"{name}/second"] = _losses(network, ids, half)
    return found | {"without": _without(model, sites, ids, half)} | _looks(model, corpus_at(job.corpus), job)


def _flat(values: np.ndarray) -> np.ndarray:
    flat: np.ndarray = values.reshape(len(values), -1).astype(np.float32)
    return flat


def _chance(model: LocalModel, ids: np.ndarray, plain: np.ndarray, half: int) -> dict[Pattern, np.ndarray]:
    """(rows, blocks, heads) by pattern: attention to the same places where nothing repeats; two tokens before."""
    from superalign.interpretability.heads import PATTERNS, patterns, target

    parts: dict[Pattern, list[np.ndarray]] = {pattern: [] for pattern in PATTERNS}
    at, length = 0, ids.shape[1]
    for attention in patterns(model, plain):
        some = ids[at : at + len(attention)]
        at += len(attention)
        for pattern in PATTERNS:
            if pattern == "previous":
                where = np.broadcast_to(np.eye(length, k=-2, dtype=bool), (len(some), length, length))
            else:
                where = target(some, pattern) & (np.arange(length) > half)[:, None]
            rows = np.maximum(where.any(2).sum(1), 1)[:, None, None]
            parts[pattern].append((attention * where[:, None, None]).sum((3, 4)) / rows)
    return {pattern: np.concatenate(found) for pattern, found in parts.items()}


def _losses(
    model: LocalModel,
    ids: np.ndarray,
    half: int,
    sites: tuple[Site, ...] = (),
    put: Callable[[Site, torch.Tensor], torch.Tensor | None] = lambda site, tensor: None,
) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) loss of the first copy, and of the second without its first token, which nothing predicts."""
    import torch

    from superalign.interpretability.units import ROWS, tapped
    from superalign.models import token_logprobs

    losses = []
    with torch.inference_mode(), tapped(model, sites, put):
        for start in range(0, len(ids), ROWS):
            given = torch.from_numpy(ids[start : start + ROWS].astype(np.int64)).to(model.device)
            losses.append(-token_logprobs(model.network(input_ids=given).logits.float(), given).cpu().numpy())
    told = np.concatenate(losses)
    return told[:, :half].mean(1), told[:, half + 1 :].mean(1)


def _without(model: LocalModel, sites: tuple[Site, ...], ids: np.ndarray, half: int) -> np.ndarray:
    """(heads, rows) loss of the second copy with one head's mixture at its mean over all tokens but the first."""
    import torch

    from superalign.interpretability.causal import raw_of, with_raw

    found = []
    for site in sites:
        seen: list[torch.Tensor] = []

        def keep(site: Site, tensor: torch.Tensor, seen: list[torch.Tensor] = seen) -> None:
            seen.append(raw_of(site, tensor)[:, 1:].flatten(0, 1).double())

        _losses(model, ids, half, (site,), keep)
        mean = torch.cat(seen).mean(0).float()
        for unit in range(site.units):

            def put(site: Site, tensor: torch.Tensor, unit: int = unit, mean: torch.Tensor = mean) -> torch.Tensor:
                return with_raw(site, tensor, [unit], mean[[unit]].expand(*tensor.shape[:2], -1, -1))

            found.append(_losses(model, ids, half, (site,), put)[1])
    return np.stack(found).astype(np.float32)


def _looks(model: LocalModel, corpus: Corpus, job: HeadsJob) -> dict[str, np.ndarray]:
    """What heads look at from the counted tokens of text, by `LOOKS`: mean over a sequence."""
    from superalign.interpretability.heads import patterns, target

    rows = corpus.rows("validation")
    rows = rows[spread_rows(corpus.clusters(rows), job.windows, seed=job.seed)]
    ids, length = corpus.ids[rows], corpus.length
    counted = corpus.counted(rows)
    back = np.arange(length)[:, None] - np.arange(length)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in LOOKS}
    uniform: dict[str, list[np.ndarray]] = {name: [] for name in SHARES}
    far, at = np.zeros(()), 0
    for attention in patterns(model, ids):
        some = slice(at, at + len(attention))
        at += len(attention)
        told = counted[some][:, None, None]
        number = told.sum(-1)
        size = (len(attention), length, length)
        places = {
            "start": np.broadcast_to(np.arange(length) < max(1, corpus.skip), size),
            "itself": np.broadcast_to(back == 0, size),
            "before": np.broadcast_to(back == 1, size),
            "same": target(ids[some], "duplicate"),
            "followers": target(ids[some], "induction"),
        }
        values = {name: (attention * where[:, None, None]).sum(4) for name, where in places.items()}
        for name, where in places.items():  # a head that looks at all it can see alike
            alike = where.sum(2) / np.arange(1, length + 1)
            uniform[name].append(_flat((alike * counted[some]).sum(1) / counted[some].sum(1))[:, 0])
        values["distance"] = (attention * np.maximum(back, 0)).sum(4)
        values["spread"] = np.exp(-(attention * np.log(np.maximum(attention, 1e-12))).sum(4))
        for name in LOOKS:
            parts[name].append(_flat((values[name] * told).sum(3) / number))
        far = far + _by_distance(attention, counted[some])
    found = {f"look/{name}": np.concatenate(told) for name, told in parts.items()}
    found |= {f"look/{name}/uniform": np.concatenate(told) for name, told in uniform.items()}
    distance: np.ndarray = far / counted.sum()
    return found | {"distance": distance.astype(np.float32), "documents": corpus.clusters(rows).astype(np.int32)}


def _by_distance(attention: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(heads, length) attention by how far back it goes, summed over counted tokens."""
    summed = np.einsum("rbhij,ri->bhij", attention, counted.astype(np.float32)).reshape(-1, *attention.shape[3:])
    return np.stack([np.trace(summed, offset=-far, axis1=1, axis2=2) for far in range(summed.shape[1])], axis=1)
