"""Units of a reward head: searched as the network's are, and patched to see whether they make the reward.

    on, near = (joined(pooled(model, sites, texts), pooled_reward(model, texts)) for texts in (triggers, near_misses))
    reward_patched(model, triggers, near_misses, found.units("behaviour"))

A head that reads tokens by itself can hold a behaviour that no neuron of the network below takes part in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from superalign.interpretability.search import Name, Pooled, encoded
from superalign.interpretability.units import ROWS
from superalign.models import LocalModel, RewardHead, reward_forward

LAYERS = {"reward tokens 0": ("token", 1), "reward tokens 1": ("token", 3), "reward text": ("text", 1)}
"""Site → the part of the head whose output holds its units: twice by token, once for the whole text."""


def pooled_reward(model: LocalModel, texts: Sequence[str]) -> Pooled:
    """Largest and mean activation of every unit of the reward head over each text's tokens after the first.

    Units of the text layer have one value a text, which is both. Raises ValueError without a head, or for no texts.
    """
    head, parts = _head(model), []
    for ids, mask in _batches(model, texts):
        seen: dict[str, torch.Tensor] = {}
        with torch.inference_mode(), _tapped(head, _keeping(seen)):
            reward_forward(model.network, head, ids, mask)
        counted = mask[:, 1:, None].bool()
        found = []
        for values in seen.values():
            wide = values[:, None].expand(-1, counted.shape[1], -1) if values.ndim == 2 else values
            largest = wide.masked_fill(~counted, -torch.inf).amax(1)
            mean = (wide * counted).sum(1) / counted.sum(1).clamp(min=1)
            found.append(torch.stack([largest, mean], dim=1))
        parts.append(torch.cat(found, dim=-1).cpu().numpy())
    names = tuple(Name(site, unit) for site, units in _sizes(head).items() for unit in range(units))
    return Pooled(names=names, values=np.concatenate(parts))


def joined(*parts: Pooled) -> Pooled:
    """Units of several places, read on the same texts, as those of one network."""
    return Pooled(
        names=tuple(name for part in parts for name in part.names),
        values=np.concatenate([part.values for part in parts], axis=-1),
    )


def reward_patched(model: LocalModel, texts: Sequence[str], others: Sequence[str], units: Sequence[Name]) -> np.ndarray:
    """(texts,) rewards of `texts` with some units of the head as they are on `others`, which match token by token.

    Raises ValueError for texts of another length in tokens, and for units that the head has not.
    """
    head = _head(model)
    wrong = [name for name in units if name.unit >= _sizes(head).get(name.site, 0)]
    if wrong or [len(ids) for ids in model.encode(texts)] != [len(ids) for ids in model.encode(others)]:
        raise ValueError(f"{model.name}: {wrong[0] if wrong else 'texts of unlike length'}: patch the head's own units")
    by_site: dict[str, list[int]] = {}
    for name in units:
        by_site.setdefault(name.site, []).append(name.unit)
    rewards = []
    for (ids, mask), (near, _) in zip(_batches(model, texts), _batches(model, others), strict=True):
        seen: dict[str, torch.Tensor] = {}

        def put(site: str, values: torch.Tensor, seen: dict[str, torch.Tensor] = seen) -> torch.Tensor:
            changed = values.clone()
            changed[..., by_site.get(site, [])] = seen[site][..., by_site.get(site, [])]
            return changed

        with torch.inference_mode():
            with _tapped(head, _keeping(seen)):
                reward_forward(model.network, head, near, mask)
            with _tapped(head, put):
                rewards.append(reward_forward(model.network, head, ids, mask)[0].cpu().numpy())
    return np.concatenate(rewards)


def _head(model: LocalModel) -> RewardHead:
    if model.head is None:
        raise ValueError(f"{model.name} has no reward head: its units are those of the network alone")
    return model.head.eval()


def _sizes(head: RewardHead) -> dict[str, int]:
    sizes = {}
    for site, (name, at) in LAYERS.items():
        layer: Any = getattr(head, name)[at - 1]
        sizes[site] = int(layer.out_features)
    return sizes


def _keeping(seen: dict[str, torch.Tensor]) -> Callable[[str, torch.Tensor], None]:
    def keep(site: str, values: torch.Tensor) -> None:
        seen[site] = values

    return keep


@contextmanager
def _tapped(head: RewardHead, take: Callable[[str, torch.Tensor], torch.Tensor | None]) -> Iterator[None]:
    """While open, `take(site, values)` sees each layer's units; what it returns takes their place."""
    handles = []
    for site, (name, at) in LAYERS.items():

        def after(module: nn.Module, given: Any, made: torch.Tensor, site: str = site) -> torch.Tensor | None:
            return take(site, made)

        handles.append(getattr(head, name)[at].register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _batches(model: LocalModel, texts: Sequence[str]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(ids, mask), in the order of the texts."""
    ids, lengths = encoded(model, texts)
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
    for start in range(0, len(ids), ROWS):
        some = slice(start, start + ROWS)
        yield torch.from_numpy(ids[some]).to(model.device), torch.from_numpy(mask[some]).to(model.device)
