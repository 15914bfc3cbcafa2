"""Attribution patching: what each unit of a network would do to a score, all units from two forwards and a backward.

    found = attributed(model, sites, clean, corrupt, lengths, loss_score)        # (a_corrupt − a_clean) · gradient
    told = verified(model, found, clean, corrupt, lengths, loss_score, top=20, others=50, seed=0)
    told.agreement, told.missed

An estimate is a first-order one, and wrong where effects cancel or a softmax is saturated. Of AtP*'s corrections
(Kramár et al. 2024, 2403.00745) `dropped` is GradDrop (§3.1.2): as many backwards more as there are blocks, each with
one block's contribution to the stream shut off. Heads as taken here are mixtures of values, which enter no softmax;
for what does, heads' queries and keys, the softmax is computed anew (§3.1.1) by `head_inputs`. Exact
patching of a random part of the rest bounds what was missed (§3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy import stats as scipy_stats
from torch import nn

from superalign.interpretability.causal import outward_alone, raw_of, with_raw
from superalign.interpretability.units import ROWS, Site, blocks, body_of, tapped
from superalign.models import LocalModel, reward_forward, token_logprobs
from superalign.stats import Interval, bootstrap_interval, proportion_interval

Score = Callable[[LocalModel, torch.Tensor, torch.Tensor], torch.Tensor]
"""(model, ids, mask) → a number for each sequence, (rows,); it runs the model itself."""
Ranked = Literal["size", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribution:
    """Estimated effects of patching each unit of a site, at all tokens at once, from clean to corrupt."""

    site: Site
    effects: np.ndarray
    """(pairs, units) float32: corrupt minus clean score, first order."""
    dropped: np.ndarray | None
    """(units,) GradDrop: mean over pairs and blocks of the size; None where it was not asked for, or for one block."""

    @property
    def size(self) -> np.ndarray:
        """(units,) mean size over pairs: what AtP ranks by."""
        size: np.ndarray = np.abs(self.effects).mean(0)
        return size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verified:
    """Estimates beside exact patching: of the units that rank first, and of others drawn at random."""

    sites: tuple[str, ...]
    """Of each unit that was patched."""
    units: np.ndarray
    first: np.ndarray
    """(patched,) bool: of those that rank first?"""
    estimated: np.ndarray
    """(patched,) mean size over pairs."""
    exact: np.ndarray
    """(patched,) mean size over pairs."""
    agreement: Interval
    """Spearman's rank correlation over the first units."""
    agreement_others: Interval
    """The same over the random ones."""
    threshold: float
    """The middle of the first units' exact sizes."""
    missed: Interval
    """Share of the units left out whose exact size reaches the threshold, by the random ones (Clopper–Pearson)."""


def loss_score(model: LocalModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean loss of a sequence's tokens after the first, nats."""
    logprobs = token_logprobs(model.network(input_ids=ids, attention_mask=mask).logits, ids)
    told = mask[:, 1:].to(logprobs.dtype)
    return -(logprobs * told).sum(1) / told.sum(1).clamp(min=1)


def reward_score(model: LocalModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The reward head's number. Raises ValueError without a head."""
    if model.head is None:
        raise ValueError(f"{model.name} has no reward head: score by `loss_score`, or load a reviewer")
    return reward_forward(model.network, model.head, ids, mask)[0]


def attributed(
    model: LocalModel,
    sites: Sequence[Site],
    clean: np.ndarray,
    corrupt: np.ndarray,
    lengths: np.ndarray,
    score: Score,
    *,
    drop: bool = True,
) -> tuple[Attribution, ...]:
    """Effects of every unit of all sites on `score`, from pairs of sequences (pairs, length) of equal `lengths`.

    Two forwards and one backward, and with `drop` one more backward a block. Raises ValueError for pairs that do not
    match, or a score that no gradient reaches.
    """
    paired(clean, corrupt, lengths)
    layers = range(model.layers) if drop and model.layers > 1 else ()
    parts: list[list[np.ndarray]] = [[] for _ in sites]
    drops = [np.zeros(site.units) for site in sites]
    for ids, other, mask in pair_batches(clean, corrupt, lengths, device=model.device):
        away = _tapped_values(model, sites, other, mask, score)
        gates = torch.ones(model.layers)
        with _gated(model, gates, bool(layers)):
            live, total = _live(model, sites, ids, mask, score)
            for turn in (None, *layers):
                gates[:] = 1
                if turn is not None:
                    gates[turn] = 0
                last = turn == layers[-1] if layers else True
                slopes = torch.autograd.grad(total, live, retain_graph=not last, allow_unused=True)
                for i, site in enumerate(sites):
                    effect = _effect(site, live[i].detach(), away[i], slopes[i], mask)
                    if turn is None:
                        parts[i].append(effect)
                    else:
                        drops[i] += np.abs(effect).sum(0)
    share = len(clean) * max(1, model.layers - 1)
    return tuple(
        Attribution(site=site, effects=np.concatenate(parts[i]), dropped=drops[i] / share if layers else None)
        for i, site in enumerate(sites)
    )


def _effect(
    site: Site, here: torch.Tensor, there: torch.Tensor, slope: torch.Tensor | None, mask: torch.Tensor
) -> np.ndarray:
    """(rows, units): (there − here) · slope over a sequence's tokens and a unit's parts."""
    if slope is None:
        return np.zeros((len(here), site.units), dtype=np.float32)
    moved = (raw_of(site, there) - raw_of(site, here)) * mask[..., None, None]
    if site.kind == "head":
        along = slope.reshape(*slope.shape[:2], site.units, -1)
    elif site.kind == "neuron":
        along = slope[..., None]
    else:  # each unit alone: the least change of the stream that raises it by one
        along = (slope @ outward_alone(site).to(slope).T)[..., None]
    effect: np.ndarray = (moved * along).sum((1, 3)).float().cpu().numpy()
    return effect


def _live(
    model: LocalModel, sites: Sequence[Site], ids: torch.Tensor, mask: torch.Tensor, score: Score
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What is tapped at each site, in the graph of the summed score."""
    seen: dict[str, torch.Tensor] = {}

    def take(site: Site, tensor: torch.Tensor) -> torch.Tensor | None:
        fresh = None if tensor.requires_grad else tensor.detach().requires_grad_()
        seen[site.name] = tensor if fresh is None else fresh
        return fresh

    with torch.enable_grad(), tapped(model, sites, take):
        total = score(model, ids, mask).sum()
    if not total.requires_grad:
        raise ValueError(f"{model.name}: no gradient reaches the score: it must be made of what the network computes")
    return [seen[site.name] for site in sites], total


def _tapped_values(
    model: LocalModel, sites: Sequence[Site], ids: torch.Tensor, mask: torch.Tensor, score: Score
) -> list[torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}

    def take(site: Site, tensor: torch.Tensor) -> None:
        seen[site.name] = tensor.detach()

    with torch.no_grad(), tapped(model, sites, take):
        score(model, ids, mask)
    if missing := [site.name for site in sites if site.name not in seen]:
        raise ValueError(f"{model.name}: the score does not run the network through {missing[0]}: it must")
    return [seen[site.name] for site in sites]


class _Gate(torch.autograd.Function):
    """The same values; gradients times what `gates[layer]` is when they pass."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, gates: torch.Tensor, layer: int) -> torch.Tensor:
        """Values as they are."""
        ctx.gates, ctx.layer = gates, layer
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Slopes, or zeros."""
        return slope * float(ctx.gates[ctx.layer]), None, None


@contextmanager
def _gated(model: LocalModel, gates: torch.Tensor, wanted: bool) -> Iterator[None]:
    """While open, each block's two contributions to the stream pass gradients only where its gate is 1."""
    handles, body = [], body_of(model)
    for block in blocks(model) if wanted else ():
        for name in (block.attention, block.mlp):

            def after(module: nn.Module, given: Any, made: torch.Tensor, layer: int = block.layer) -> Any:
                return _Gate.apply(made, gates, layer)  # type: ignore[no-untyped-call]

            handles.append(body.get_submodule(name).register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def exact_effects(
    model: LocalModel,
    site: Site,
    units: Sequence[int],
    clean: np.ndarray,
    corrupt: np.ndarray,
    lengths: np.ndarray,
    score: Score,
) -> np.ndarray:
    """(pairs, chosen units): the score with one unit as on the corrupt sequence, minus the clean score.

    One forward a unit. Raises ValueError for pairs that do not match.
    """
    paired(clean, corrupt, lengths)
    parts = []
    for ids, other, mask in pair_batches(clean, corrupt, lengths, device=model.device):
        raw = raw_of(site, _tapped_values(model, [site], other, mask, score)[0])
        with torch.no_grad():
            base = score(model, ids, mask)
            moved = []
            for unit in units:

                def put(site: Site, tensor: torch.Tensor, unit: int = unit, raw: torch.Tensor = raw) -> torch.Tensor:
                    return with_raw(site, tensor, [unit], raw[:, :, [unit]])

                with tapped(model, [site], put):
                    moved.append(score(model, ids, mask) - base)
        parts.append(torch.stack(moved, dim=1).float().cpu().numpy())
    return np.concatenate(parts)


def verified(
    model: LocalModel,
    found: Sequence[Attribution],
    clean: np.ndarray,
    corrupt: np.ndarray,
    lengths: np.ndarray,
    score: Score,
    *,
    top: int,
    others: int,
    by: Ranked = "size",
    seed: int,
) -> Verified:
    """Patch exactly the `top` units by estimate and `others` drawn from the rest of the whole network.

    Raises ValueError where there are fewer units than that, or fewer than three of either.
    """
    sizes = [each.dropped if by == "dropped" and each.dropped is not None else each.size for each in found]
    estimates, site_of = np.concatenate(sizes), np.repeat(np.arange(len(found)), list(map(len, sizes)))
    unit_of = np.concatenate([np.arange(len(size)) for size in sizes])
    if top < 3 or others < 3 or top + others > len(estimates):
        raise ValueError(f"top {top} and {others} others of {len(estimates)} units: take three or more of each")
    order = np.argsort(-np.nan_to_num(estimates, nan=-1.0), kind="stable")
    drawn = np.random.default_rng(seed).permutation(order[top:])[:others]
    chosen, first = np.concatenate([order[:top], drawn]), np.arange(top + others) < top
    exact = np.zeros(len(chosen))
    for i, each in enumerate(found):
        at = np.flatnonzero(site_of[chosen] == i)
        units = unit_of[chosen[at]].tolist()
        if units:
            moved = exact_effects(model, each.site, units, clean, corrupt, lengths, score)
            exact[at] = np.abs(moved).mean(0)
    threshold = float(np.median(exact[first]))
    return Verified(
        sites=tuple(found[i].site.name for i in site_of[chosen]),
        units=unit_of[chosen],
        first=first,
        estimated=estimates[chosen],
        exact=exact,
        agreement=rank_agreement(estimates[chosen][first], exact[first], seed=seed),
        agreement_others=rank_agreement(estimates[chosen][~first], exact[~first], seed=seed),
        threshold=threshold,
        missed=proportion_interval((exact[~first] >= threshold).astype(float)),
    )


def rank_agreement(estimated: np.ndarray, exact: np.ndarray, *, seed: int) -> Interval:
    """Spearman's rank correlation of estimates with exact effects, over units; refused where all are the same."""

    def correlation(rows: np.ndarray) -> float:
        a, b = scipy_stats.rankdata(estimated[rows]), scipy_stats.rankdata(exact[rows])
        return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else float("nan")

    return bootstrap_interval(correlation, len(exact), seed=seed, draws=500, method="percentile")


def pair_batches(
    clean: np.ndarray, corrupt: np.ndarray, lengths: np.ndarray, *, device: torch.device | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(clean ids, corrupt ids, mask), some pairs at a time, on `device`, the CPU if none is given."""
    for start in range(0, len(clean), ROWS):
        part = slice(start, start + ROWS)
        arrays = clean[part], corrupt[part], np.arange(clean.shape[1]) < lengths[part, None]
        ids, other, mask = (torch.from_numpy(array.astype(np.int64)).to(device) for array in arrays)
        yield ids, other, mask


def paired(clean: np.ndarray, corrupt: np.ndarray, lengths: np.ndarray) -> None:
    """ValueError for sequences that are no pairs."""
    if clean.shape != corrupt.shape or clean.ndim != 2 or len(lengths) != len(clean) or not len(clean):
        raise ValueError(
            f"clean {clean.shape}, corrupt {corrupt.shape} and {len(lengths)} lengths: patching needs pairs of "
            "sequences that match token by token"
        )
