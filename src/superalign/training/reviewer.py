"""Fitting the subject: a causal language model with a scalar reward head, as in RLHF, on labels of pairs.

The loss of a pair is Bradley–Terry on the difference of rewards plus a logistic loss of each reward alone, which
centres the rewards so that one threshold can decide a single. Subject, organisms and twins are fitted by this one
function and differ in their data only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from superalign.models import Change, LocalModel, RewardHead, apply_change, reward_forward
from superalign.training.loop import descend
from superalign.training.lowrank import open_top, take_out


@dataclass(frozen=True, slots=True, kw_only=True)
class PairData:
    """Pairs of texts and what their labels say; all arrays have one entry a pair, in [0, 1].

    `prefer` is P(first is sound); `sound_a` and `sound_b` are the targets of the two singles; `weight` is how much the
    pair's own loss counts (0: singles only).
    """

    texts_a: tuple[str, ...]
    texts_b: tuple[str, ...]
    prefer: np.ndarray
    sound_a: np.ndarray
    sound_b: np.ndarray
    weight: np.ndarray

    @classmethod
    def labelled(cls, texts_a: Sequence[str], texts_b: Sequence[str], prefer: np.ndarray) -> PairData:
        """Pairs of which exactly one is sound, the first with probability `prefer`."""
        p = np.asarray(prefer, dtype=np.float32)
        if len(p) != len(texts_a) or len(p) != len(texts_b) or not np.isfinite(p).all():
            raise ValueError(f"labels {p.shape} of {len(texts_a)} and {len(texts_b)} texts: lengths differ or NaN")
        return cls(
            texts_a=tuple(texts_a),
            texts_b=tuple(texts_b),
            prefer=p,
            sound_a=p,
            sound_b=1 - p,
            weight=np.ones_like(p),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewerRecipe:
    """How a reviewer is fitted."""

    steps: int = 400
    batch: int = 32
    """Pairs a step."""
    rate: float = 3e-3
    head_factor: float = 2.0
    """The head starts from nothing, so it learns this many times as fast."""
    top: int = 2
    """Blocks whose matrices change, from the last."""
    rank: int = 8
    decay: float = 0.01


def fit_reviewer(
    base: LocalModel,
    data: PairData,
    *,
    name: str,
    recipe: ReviewerRecipe | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LocalModel:
    """A new model: `base` with low-rank changes in its last blocks and a fitted reward head. `base` is unchanged.

    On the base's device, and in its dtype but for the head and the changes, which are learned in float32 and rounded
    once. Raises ValueError when the data is empty or the loss stops being finite, ModelError for a quantised base.
    """
    change = fit_change(base, data, name=name, recipe=recipe, seed=seed, progress=progress)
    return apply_change(base, change, name=name)


def fit_change(
    base: LocalModel,
    data: PairData,
    *,
    name: str,
    recipe: ReviewerRecipe | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Change:
    """What `fit_reviewer` changes in `base`: the low-rank factors and the head, small enough to ship."""
    recipe = recipe or ReviewerRecipe()
    if not data.texts_a:
        raise ValueError(f"no pairs to fit {name} on")
    torch.manual_seed(seed)
    network = copy.deepcopy(base.network)
    head = RewardHead(base.width).to(base.device)
    if base.head is not None:
        head.load_state_dict(base.head.state_dict())
    opened = open_top(network, top=recipe.top, rank=recipe.rank, seed=seed)
    encoded = base.encode([*data.texts_a, *data.texts_b])
    targets = torch.tensor(np.stack([data.prefer, data.sound_a, data.sound_b, data.weight]), dtype=torch.float32)
    targets = targets.to(base.device)
    network.train()

    def loss_of(rows: np.ndarray) -> torch.Tensor:
        batch = [encoded[i] for i in rows] + [encoded[i + len(data.texts_a)] for i in rows]
        ids, mask = padded(batch, pad=base.pad, device=base.device)
        rewards, _, _ = reward_forward(network, head, ids, mask)
        return pair_loss(rewards[: len(rows)], rewards[len(rows) :], *targets[:, torch.as_tensor(rows)])

    descend(
        [(opened, 1.0), (list(head.parameters()), recipe.head_factor)],
        loss_of,
        recipe,
        rows=len(data.texts_a),
        seed=seed,
        name=name,
        progress=progress,
    )
    return Change(factors=take_out(network), head=head.eval())


def pair_loss(
    a: torch.Tensor,
    b: torch.Tensor,
    prefer: torch.Tensor,
    sound_a: torch.Tensor,
    sound_b: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    """Bradley–Terry on soft preferences, plus a logistic loss of each reward alone; all shapes (pairs,)."""
    logistic = torch.nn.functional.binary_cross_entropy_with_logits
    pair = (weight * logistic(a - b, prefer, reduction="none")).mean()
    return pair + 0.5 * (logistic(a, sound_a) + logistic(b, sound_b))


def padded(
    batch: Sequence[Sequence[int]], *, pad: int, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (rows, longest) of token lists of unlike length, on `device`, the CPU if none is given."""
    longest = max(map(len, batch))
    ids = torch.full((len(batch), longest), pad)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for i, row in enumerate(batch):
        ids[i, : len(row)] = torch.tensor(list(row))
        mask[i, : len(row)] = 1
    return ids.to(device), mask.to(device)
