"""Steering: push a unit or direction, and measure what it does to a behaviour and to unrelated text.

    curve = dose_curve(model, site, [7], (-8, -4, 4, 8), behaviour, clusters=names, corpus=corpus, rows=dev)
    curve.doses[-1].change, curve.doses[-1].side_effect

A dose is in standard deviations of the unit on the unrelated text, and is added at every token. What works by breaking
the model shows in the side effect: KL(M ‖ steered M) of the next token on text that has nothing to do with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from superalign.interpretability.causal import batched, raw_of, raw_values, tensors_of, valued, with_raw
from superalign.interpretability.corpus import Corpus
from superalign.interpretability.units import Site, tapped
from superalign.models import LocalModel
from superalign.stats import Interval, mean_interval, refused

Behaviour = Callable[[LocalModel], np.ndarray]
"""A number for each of the same items, (items,), by asking the model: rewards of some texts, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dose:
    """One push."""

    dose: float
    """In standard deviations of each unit."""
    behaviour: Interval
    change: Interval
    """Behaviour minus that at dose 0, paired by item, over clusters."""
    side_effect: Interval
    """KL(M ‖ steered M), nats a token of unrelated text, over documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseCurve:
    """What pushing some units of a site does."""

    site: str
    units: tuple[int, ...]
    spread: tuple[float, ...]
    """What a dose of 1 adds to each."""
    doses: tuple[Dose, ...]


@contextmanager
def steered(model: LocalModel, site: Site, units: Sequence[int], amounts: Sequence[float]) -> Iterator[None]:
    """While open, `amounts` are added to units at every token; a head's mixture grows or shrinks, never turns round."""
    added = torch.tensor(amounts, dtype=torch.float32)

    def push(site: Site, tensor: torch.Tensor) -> torch.Tensor:
        raw = raw_of(site, tensor)[:, :, list(units)]
        now = raw.norm(dim=-1) if site.kind == "head" else raw[..., 0]
        return with_raw(site, tensor, units, valued(site, raw, now + added.to(now)))

    with tapped(model, [site], push):
        yield


def dose_curve(
    model: LocalModel,
    site: Site,
    units: Sequence[int],
    doses: Sequence[float],
    behaviour: Behaviour,
    *,
    clusters: Any = None,
    corpus: Corpus,
    rows: np.ndarray,
) -> DoseCurve:
    """Behaviour and side effect at each dose; `rows` of the corpus are the unrelated text, `clusters` of the items.

    Raises ValueError for no units, rows or doses, and for units that never change: no dose can be told for them.
    """
    if not len(units) or not len(rows) or not len(doses):
        raise ValueError(f"{site.name}: {len(units)} units, {len(doses)} doses, {len(rows)} rows: give some of each")
    spread = spread_of(model, corpus, rows, site)[list(units)]
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        dead = [u for u, s in zip(units, spread, strict=True) if not s > 0]
        raise ValueError(f"{site.name}: unit {dead[0]} never changes on these {len(rows)} rows: nothing to scale by")
    base = np.asarray(behaviour(model), dtype=np.float64)
    found = []
    for dose in doses:
        amounts = (dose * spread).tolist()
        with steered(model, site, units, amounts):
            pushed = np.asarray(behaviour(model), dtype=np.float64)
        moved = side_effects(model, corpus, rows, site, units, amounts)
        found.append(
            Dose(
                dose=float(dose),
                behaviour=_mean(pushed, clusters),
                change=_mean(pushed - base, clusters),
                side_effect=_mean(moved, corpus.clusters(rows)),
            )
        )
    return DoseCurve(site=site.name, units=tuple(units), spread=tuple(spread.tolist()), doses=tuple(found))


def spread_of(model: LocalModel, corpus: Corpus, rows: np.ndarray, site: Site) -> np.ndarray:
    """(units,) standard deviation over counted tokens."""
    raw = raw_values(model, corpus, rows, site)
    values = np.linalg.norm(raw, axis=-1) if site.kind == "head" else raw[..., 0]
    spread: np.ndarray = values.astype(np.float64).std(0)
    return spread


def side_effects(
    model: LocalModel, corpus: Corpus, rows: np.ndarray, site: Site, units: Sequence[int], amounts: Sequence[float]
) -> np.ndarray:
    """(rows,) KL(M ‖ steered M) of the next token, mean over a sequence's counted tokens, nats."""
    found = []
    for batch in batched(rows):
        ids, mask, counted = tensors_of(corpus, batch, model.device)
        with torch.inference_mode():
            plain = torch.log_softmax(model.network(input_ids=ids, attention_mask=mask).logits.float(), dim=-1)
            with steered(model, site, units, amounts):
                pushed = torch.log_softmax(model.network(input_ids=ids, attention_mask=mask).logits.float(), dim=-1)
            apart = (plain.exp() * (plain - pushed)).sum(-1) * counted
            found.append((apart.sum(1) / counted.sum(1).clamp(min=1)).cpu().double().numpy())
    return np.concatenate(found)


def _mean(values: np.ndarray, clusters: Any) -> Interval:
    """Refused where a push made numbers that are none: a model that is broken has no behaviour."""
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        return refused(f"{bad} of {len(values)} values are not finite", n=len(values), clusters=0, method="t")
    return mean_interval(values, clusters=clusters, method="rule")
