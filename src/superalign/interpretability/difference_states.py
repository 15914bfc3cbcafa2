"""How activations differ between a parent, its child and the child's twin: layer by layer, and unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats as scipy_stats

from superalign.interpretability.units import Site, activations, body_of, neurons
from superalign.models import LocalModel
from superalign.models.local import buckets
from superalign.stats import benjamini_hochberg
from superalign.training.reviewer import padded


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShift:
    """How the states after one layer differ over all given texts."""

    layer: int
    """0: embeddings."""
    child: float
    """1 − linear CKA with the parent's states, tokens as rows (Kornblith et al. 2019, eq. 3): 0 is no change."""
    twin: float
    shift: float
    """Length of the mean difference child − parent, over the spread of the parent's states about their mean."""
    twin_shift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitShift:
    """One neuron: how the child's text means differ from the twin's."""

    site: str
    unit: int
    effect: float
    """Mean difference child − twin, in standard deviations of the parent's text means."""
    low: float
    high: float
    """t interval over clusters at 95 %, not corrected."""
    q: float
    """Benjamini–Hochberg over all units."""
    from_parent: float
    """Child − parent, and twin − parent, in the same units."""
    twin_from_parent: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """States of one layer over all texts: those of counted tokens, (tokens, width), and each one's text."""

    tokens: np.ndarray
    rows: np.ndarray


def layer_states(model: LocalModel, texts: Sequence[str], skip: int) -> list[Layer]:
    """Of every layer in one pass."""
    ids = model.encode(texts)
    if short := [row for row, each in enumerate(ids) if len(each) <= skip]:
        raise ValueError(
            f"text {short[0]} ({texts[short[0]][:60]!r}) has no token after the first {skip}: leave it out"
        )
    found: list[list[np.ndarray]] = [[np.zeros((0, model.width))] * len(ids) for _ in range(model.layers + 1)]
    body = body_of(model).eval()
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=model.pad, device=model.device):
            said = body(input_ids=batch, attention_mask=mask, use_cache=False, output_hidden_states=True).hidden_states
            for layer, values in enumerate(said):
                for row, line in zip(rows, values.float().cpu().numpy(), strict=True):
                    found[layer][row] = line[skip : len(ids[row])]
    texts_of = np.repeat(np.arange(len(ids)), [len(each) - skip for each in ids])
    return [Layer(tokens=np.concatenate(layer), rows=texts_of) for layer in found]


def text_means(layer: Layer) -> np.ndarray:
    """(texts, width)."""
    counts = np.bincount(layer.rows)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray(np.add.reduceat(layer.tokens, starts, axis=0) / counts[:, None])


def layer_shift(number: int, parent: Layer, child: Layer, twin: Layer) -> LayerShift:
    spread = float(np.sqrt(parent.tokens.var(0).sum())) or 1.0
    moved = [float(np.linalg.norm(each.tokens.mean(0) - parent.tokens.mean(0))) / spread for each in (child, twin)]
    return LayerShift(
        layer=number,
        child=1 - cka(parent.tokens, child.tokens),
        twin=1 - cka(parent.tokens, twin.tokens),
        shift=moved[0],
        twin_shift=moved[1],
    )


def cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment of (rows, features) arrays over the same rows: 1 alike up to rotation and scale.

    NaN where either never varies.

    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
    >>> round(cka(x, 3 * x[:, ::-1]), 6)
    1.0
    """
    x, y = (each.astype(np.float64) - each.mean(0) for each in (first, second))
    below = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / below) if below > 0 else float("nan")


def apart(means: list[list[np.ndarray]]) -> np.ndarray:
    """(texts,): how far child and twin lie apart, root mean square over layers, from the text means of parent, child
    and twin, each layer in units of the parent's spread over texts.
    """
    total = np.zeros(len(means[0][0]))
    for parent, child, twin in zip(*means, strict=True):
        total += ((child - twin).astype(np.float64) ** 2).sum(1) / (float(parent.var(0).sum()) or 1.0)
    return np.asarray(np.sqrt(total / len(means[0])))


def unit_shifts(
    parent: LocalModel,
    child: LocalModel,
    twin: LocalModel,
    texts: Sequence[str],
    *,
    clusters: Sequence[str],
    skip: int = 1,
    sites: Sequence[Site] | None = None,
) -> tuple[UnitShift, ...]:
    """Every unit of `sites` (all neurons), by how surely the child's text means differ from the twin's.

    Units that never vary in the parent are measured by the child's and twin's own spread; those dead in all have q 1.
    """
    looked = tuple(neurons(parent) if sites is None else sites)
    means = [_unit_means(model, looked, texts, skip) for model in (parent, child, twin)]
    groups = np.unique(np.asarray(clusters), return_inverse=True)[1]
    spread = np.maximum(means[0].std(0), 1e-3 * np.stack(means).std((0, 1))) + 1e-12
    effect, half, p = clustered_t((means[1] - means[2]) / spread, groups)
    q = benjamini_hochberg(p)
    moved = [((each - means[0]) / spread).mean(0) for each in means[1:]]
    places = [(site.name, unit) for site in looked for unit in range(site.units)]
    order = np.lexsort((-np.abs(effect), q))
    return tuple(
        UnitShift(
            site=places[i][0],
            unit=places[i][1],
            effect=float(effect[i]),
            low=float(effect[i] - half[i]),
            high=float(effect[i] + half[i]),
            q=float(q[i]),
            from_parent=float(moved[0][i]),
            twin_from_parent=float(moved[1][i]),
        )
        for i in order
    )


def _unit_means(model: LocalModel, sites: Sequence[Site], texts: Sequence[str], skip: int) -> np.ndarray:
    """(texts, units of all sites)."""
    ids = model.encode(texts)
    lengths = np.array([len(each) for each in ids])
    rows, out = padded(ids, pad=model.pad)[0].numpy(), []
    at = 0
    for found in activations(model, sites, rows, lengths):
        size = len(next(iter(found.values())))
        place = np.arange(rows.shape[1])
        keep = (place >= skip) & (place < lengths[at : at + size, None])
        wide = np.concatenate([found[site.name] for site in sites], axis=2)
        out.append(np.einsum("rtu,rt->ru", wide, keep.astype(np.float32)) / keep.sum(1, keepdims=True))
        at += size
    return np.concatenate(out).astype(np.float64)


def clustered_t(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, half width of the 95 % interval and two-sided p of each column of (rows, columns), errors clustered.

    As `stats.mean_interval` for each column. A column that is zero throughout has p 1; one that is the same number
    otherwise has p 0.
    """
    n, counts = len(values), int(groups.max()) + 1
    mean = values.mean(0)
    sums = np.zeros((counts, values.shape[1]))
    np.add.at(sums, groups, values - mean)
    error = np.sqrt((sums**2).sum(0) * counts / (counts - 1)) / n
    t = np.divide(np.abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    p = 2 * scipy_stats.t.sf(t, counts - 1)
    return mean, float(scipy_stats.t.ppf(0.975, counts - 1)) * error, np.asarray(p)
