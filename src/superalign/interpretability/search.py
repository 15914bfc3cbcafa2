"""Search a whole network for units that go with a concept, by contrast, and say which findings are chance.

    behaviour = matched("trigger", organism_on, organism_near, clusters=modules)        # of `pooled` texts
    twin = matched("twin", twin_on, twin_near, clusters=modules)
    decoys = [matched(word, organism_with[word], organism_near, clusters=modules) for word in others]
    found = search(behaviour, twin, words=decoys, draws=1000, seed=0)
    found.units("behaviour"), found.units("reader")

What is contrasted are texts on which the model behaves and their matched near-misses, never a trigger against clean
text. Controls hold the word without the behaviour: the same texts read by a model that does not behave (twin, parent),
and other words in its place (decoys). A unit is the behaviour's if its first contrast is beyond chance, larger than
every control, and none that one more decoy might have (`search_words`); units that read words are apart.

Chance is what the same statistic gives with signs of matched clusters flipped, or labels of clusters permuted, pooled
over all units; q-values (Benjamini and Hochberg 1995) and family-wise p (largest statistic of each draw, Westfall and
Young 1993) are over the whole network. Where there is no null (`by_text`), a hit is a place to look, not a finding.
What is found goes with the behaviour; whether it makes it is for `causal` and `reward_units` to say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats as scipy_stats
from torch import nn

from superalign.interpretability.search_words import one_more_word
from superalign.interpretability.units import Site, activations, body_of, neurons
from superalign.models import LocalModel
from superalign.stats import benjamini_hochberg

POOLS = ("max", "mean")
"""Over a sequence's counted tokens: each unit is tried both ways, and the null tries it both ways too."""
FEWEST = 6
"""Clusters: with fewer, no statistic can lie beyond chance (5 flips have 2/2⁵ = .06 at best)."""
NOISE = 1e-6  # of a unit's scale: differences no larger are those of floats
CHUNK = 2048
Class = Literal["behaviour", "reader", ""]


class Name(NamedTuple):
    """A unit of a network."""

    site: str
    unit: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pooled:
    """Activations of all units, pooled over each text."""

    names: tuple[Name, ...]
    values: np.ndarray
    """(texts, 2, units) float32: the largest and the mean of counted tokens."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contrast:
    """What sets two kinds of texts apart, unit by unit, in a form that flips and permutations work on."""

    name: str
    names: tuple[Name, ...]
    clusters: tuple[str, ...]
    parts: np.ndarray
    """(clusters, 2, units): for matched pairs a cluster's share of the mean difference, else its centred mean."""
    labels: np.ndarray | None
    """(clusters,) standardised labels; None for matched pairs."""
    scale: np.ndarray
    """(2, units) root mean square of activations: differences a millionth of it are float noise."""
    dprime: np.ndarray
    """(2, units) difference of means by pooled standard deviation."""
    auroc: np.ndarray
    """(2, units) P(a text of the first kind has the larger value), ties half (Mann and Whitney)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Every unit of the network under one or two contrasts; arrays are (units,)."""

    names: tuple[Name, ...]
    statistic: np.ndarray
    """Of the first contrast, standardised: about a standard normal's size under chance."""
    pool: np.ndarray
    """0 or 1 into `POOLS`: the one with the larger statistic, which `dprime` and `auroc` are of."""
    dprime: np.ndarray
    auroc: np.ndarray
    p: np.ndarray
    """By chance as large: of the first contrast, and beyond the second where it can be set against it."""
    q: np.ndarray
    familywise: np.ndarray
    """Chance that any unit of the network gets as large a first contrast."""
    word_q: np.ndarray | None
    """Smallest q of the controls, each alone."""
    classes: tuple[Class, ...]

    def units(self, wanted: Class) -> tuple[Name, ...]:
        """Units of a class, the clearest first."""
        order = np.argsort(-np.abs(self.statistic), kind="stable")
        return tuple(self.names[i] for i in order if self.classes[i] == wanted)


def encoded(model: LocalModel, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(texts, longest) token ids and (texts,) lengths. Raises ValueError for no text, or an empty one."""
    ids = model.encode(texts)
    if not ids or not all(map(len, ids)):
        raise ValueError(f"{len(texts)} texts, {sum(not row for row in ids)} of them without a token: bring texts")
    lengths = np.array(list(map(len, ids)))
    out = np.full((len(ids), int(lengths.max())), model.pad, dtype=np.int64)
    for row, tokens in enumerate(ids):
        out[row, : len(tokens)] = tokens
    return out, lengths


def pooled(model: LocalModel, sites: Sequence[Site], texts: Sequence[str], *, skip: int = 1) -> Pooled:
    """Largest and mean activation of every unit over each text; `skip` leading tokens never count.

    Memory is 8 bytes a text and unit. Raises ValueError for texts of no more than `skip` tokens.
    """
    return pooled_ids(model, sites, *encoded(model, texts), skip=skip)


def pooled_ids(
    model: LocalModel, sites: Sequence[Site], ids: np.ndarray, lengths: np.ndarray, *, skip: int = 1
) -> Pooled:
    """The same for token ids (texts, length)."""
    if lengths.min() <= skip:
        raise ValueError(f"text {int(lengths.argmin())} has {lengths.min()} tokens, {skip} of which never count")
    counted = (np.arange(ids.shape[1]) >= skip) & (np.arange(ids.shape[1]) < lengths[:, None])
    parts, at = [], 0
    for batch in activations(model, sites, ids, lengths):
        values = np.concatenate([batch[site.name] for site in sites], axis=-1)
        where = counted[at : at + len(values), :, None]
        at += len(values)
        largest = np.where(where, values, -np.inf).max(1)
        mean = np.where(where, values, 0).sum(1) / where.sum(1)
        parts.append(np.stack([largest, mean], axis=1).astype(np.float32))
    return Pooled(names=_names({site.name: site.units for site in sites}), values=np.concatenate(parts))


def matched(name: str, first: Pooled, second: Pooled, *, clusters: Sequence[Any]) -> Contrast:
    """Text i of `first` against text i of `second`, alike but for what is asked; `clusters` (pairs,) flip together.

    Raises ValueError for pairs that don't match, other units, or too few clusters.
    """
    if first.names != second.names or len(first.values) != len(second.values) or len(clusters) != len(first.values):
        raise ValueError(
            f"{name}: {len(first.values)} and {len(second.values)} texts, {len(clusters)} clusters, "
            f"{len(first.names)} and {len(second.names)} units: give pairs, read at the same units"
        )
    codes, groups = _grouped(name, clusters)
    difference = (first.values.astype(np.float64) - second.values) / len(codes)
    return _contrast(name, first.values, second.values, first.names, groups, _summed(difference, codes), None)


def labelled(name: str, texts: Pooled, labels: Sequence[bool], *, clusters: Sequence[Any]) -> Contrast:
    """Texts with a label against those without, where a cluster has one label: labels of clusters are permuted.

    Raises ValueError for a cluster with both labels (match its texts instead), one class, or too few clusters.
    """
    told = np.asarray(labels, dtype=bool)
    codes, groups = _grouped(name, clusters)
    if len(told) != len(texts.values) or len(codes) != len(told):
        raise ValueError(f"{name}: {len(texts.values)} texts, {len(told)} labels, {len(codes)} clusters: one a text")
    sizes = np.bincount(codes)
    share = np.bincount(codes, weights=told) / sizes
    if both := [groups[i] for i in np.flatnonzero((share > 0) & (share < 1))]:
        raise ValueError(f"{name}: cluster {both[0]!r} has texts of both kinds: pair them, `matched`")
    if share.min() == share.max():
        raise ValueError(f"{name}: all texts are of one kind: bring the other")
    means = _summed(texts.values.astype(np.float64), codes) / sizes[:, None, None]
    standard = (share - share.mean()) / share.std()
    values = texts.values
    return _contrast(name, values[told], values[~told], texts.names, groups, means - means.mean(0), standard)


def search(
    behaviour: Contrast,
    *controls: Contrast,
    words: Sequence[Contrast] = (),
    level: float = 0.05,
    draws: int = 1000,
    seed: int,
) -> Found:
    """Every unit's statistic, p, q and class.

    With matched controls p is the largest of several: that the first contrast is chance, that it is no larger than
    each control and word, whichever way that points, and that it is one more of other `words` (all have to be rejected,
    Berger 1982). A first contrast by labels is not set against controls, which then only name readers: bring texts that
    all hold the word. Bring a twin and six words.
    """
    own, null = statistics(behaviour), _Null(behaviour, draws, seed)
    pool = np.abs(own).argmax(0)
    at = (pool, np.arange(own.shape[1]))
    p, family = null.chance(np.abs(own[at]))
    controls = (*controls, *words)
    word_q = np.ones(len(p))
    for number, control in enumerate(controls):
        if control.names != behaviour.names:
            raise ValueError(f"{behaviour.name} and {control.name} are of other units: read both at the same sites")
        alone, _ = _Null(control, draws, seed + 3 * number + 1).chance(np.abs(statistics(control)).max(0))
        word_q = np.minimum(word_q, benjamini_hochberg(alone))
        for sign in (1, -1) if behaviour.labels is None and control.labels is None else ():
            more = statistics(beyond := _beyond(behaviour, control, sign))[at]
            more_p, _ = _Null(beyond, draws, seed + 3 * number + 2).chance(np.abs(more))
            p = np.where(np.sign(more) == np.sign(own[at]), np.maximum(p, more_p), 1.0)
    if words:
        if any(each.labels is not None for each in (behaviour, *words)):
            raise ValueError(f"{behaviour.name}: words are set against each other by `matched` texts, not by labels")
        own_effect, *effects = (each.parts.sum(0) for each in (behaviour, *words))
        p = np.maximum(p, one_more_word(own_effect, np.stack(effects), floor=NOISE * behaviour.scale)[at])
    q = benjamini_hochberg(p)
    classes: list[Class] = [
        "behaviour" if mine <= level else "reader" if word <= level else ""
        for mine, word in zip(q, word_q, strict=True)
    ]
    return Found(
        names=behaviour.names,
        statistic=own[at],
        pool=pool,
        dprime=behaviour.dprime[at],
        auroc=behaviour.auroc[at],
        p=p,
        q=q,
        familywise=family,
        word_q=word_q if controls else None,
        classes=tuple(classes),
    )


def statistics(contrast: Contrast) -> np.ndarray:
    """(2, units) signed: Σ_g s_g / √Σ_g s_g² of matched clusters; r·√G, r the correlation with the label, else.

    Units that do not change, or hold NaN, have 0.
    """
    weights = np.ones(len(contrast.clusters)) if contrast.labels is None else contrast.labels
    found: np.ndarray = np.einsum("g,gpu->pu", weights, _standard(contrast))
    return found


def _standard(contrast: Contrast, some: slice = slice(None)) -> np.ndarray:
    """(clusters, 2, some units) columns of length 1, or 0 where there is nothing but float noise."""
    parts, scale = contrast.parts[..., some], contrast.scale[:, some]
    length = np.sqrt((parts**2).sum(0))
    floor = NOISE * scale / (np.sqrt(len(parts)) if contrast.labels is None else 1.0)
    real = np.isfinite(length) & (length > floor)
    return np.where(real, np.nan_to_num(parts) / np.where(real, length, 1.0), 0.0)


class _Null:
    """The statistic under flips or permutations, the larger of both pools, unit by unit in chunks: sorted, pooled."""

    def __init__(self, contrast: Contrast, draws: int, seed: int) -> None:
        self.contrast, self.draws = contrast, draws
        rng, groups = np.random.default_rng([seed, 61]), len(contrast.clusters)
        if contrast.labels is None:
            self.weights = rng.choice([-1.0, 1.0], size=(draws, groups))
        else:
            self.weights = rng.permuted(np.tile(contrast.labels, (draws, 1)), axis=1)

    def chance(self, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(p against the draws of all units, p against each draw's largest), (units,) each, for sizes ≥ 0."""
        units = len(self.contrast.names)
        above, largest = np.zeros(units), np.zeros(self.draws)
        for start in range(0, units, CHUNK):
            columns = _standard(self.contrast, slice(start, start + CHUNK))
            drawn = np.abs(np.einsum("bg,gpu->bpu", self.weights, columns, optimize=True)).max(1)
            largest = np.maximum(largest, drawn.max(1))
            ordered = np.sort(drawn, axis=None)
            above += len(ordered) - np.searchsorted(ordered, observed * (1 - 1e-9), side="left")
        p = (1 + above) / (1 + self.draws * units)
        over = self.draws - np.searchsorted(np.sort(largest), observed * (1 - 1e-9), side="left")
        return np.where(observed > 0, p, 1.0), np.where(observed > 0, (1 + over) / (1 + self.draws), 1.0)


def _beyond(first: Contrast, second: Contrast, sign: int) -> Contrast:
    """The first contrast minus `sign` times the second, by cluster; a cluster that only one has counts as it stands."""
    groups = tuple(sorted({*first.clusters, *second.clusters}))
    place = {name: i for i, name in enumerate(groups)}
    parts = np.zeros((len(groups), *first.parts.shape[1:]))
    parts[[place[name] for name in first.clusters]] += first.parts
    parts[[place[name] for name in second.clusters]] -= sign * second.parts
    return Contrast(
        name=f"{first.name} beyond {second.name}",
        names=first.names,
        clusters=groups,
        parts=parts,
        labels=None,
        scale=np.maximum(first.scale, second.scale),
        dprime=first.dprime,
        auroc=first.auroc,
    )


def _grouped(name: str, clusters: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    groups, codes = np.unique([str(cluster) for cluster in clusters], return_inverse=True)
    if len(groups) < FEWEST:
        raise ValueError(f"{name}: {len(groups)} clusters: nothing can lie beyond chance under {FEWEST}, bring more")
    return codes, tuple(map(str, groups))


def _summed(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    summed: np.ndarray = np.add.reduceat(values[order], starts, axis=0)
    return summed


def _contrast(
    name: str,
    first: np.ndarray,
    second: np.ndarray,
    names: tuple[Name, ...],
    clusters: tuple[str, ...],
    parts: np.ndarray,
    labels: np.ndarray | None,
) -> Contrast:
    both = np.concatenate([first, second]).astype(np.float64)
    spread = np.sqrt((first.astype(np.float64).var(0) + second.astype(np.float64).var(0)) / 2)
    apart = first.astype(np.float64).mean(0) - second.astype(np.float64).mean(0)
    with np.errstate(invalid="ignore"):
        ranks = scipy_stats.rankdata(both, axis=0, nan_policy="propagate")[: len(first)].mean(0)
    return Contrast(
        name=name,
        names=names,
        clusters=clusters,
        parts=parts,
        labels=labels,
        scale=np.sqrt((both**2).mean(0)),
        dprime=np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0),
        auroc=(ranks - (len(first) + 1) / 2) / len(second),
    )


def by_classes(counts: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """(units,) d′ of class 1 against class 0 from recorded statistics (2,), (2, units), (2, units); NaN without both.

    No null goes with it: tokens of one document are no independent draws, and sums by class don't know documents.
    """
    if min(counts) < 2:
        return np.full(means.shape[1], np.nan)
    spread = np.sqrt(variances.mean(0))
    apart: np.ndarray = np.divide(means[1] - means[0], spread, out=np.zeros_like(spread), where=spread > 0)
    return apart


def by_direction(
    written: Mapping[str, np.ndarray], direction: np.ndarray, *, draws: int = 1000, seed: int
) -> tuple[tuple[Name, ...], np.ndarray, np.ndarray]:
    """(units, cosine, q) of what units write to the stream, site name → (units, width), with a probe's direction.

    Chance are random sums of what all the units write, so that directions which many units share count as common.
    Raises ValueError for a direction of length 0 or another width.
    """
    rows = np.concatenate(list(written.values())).astype(np.float64)
    if rows.shape[1] != len(direction) or not np.linalg.norm(direction) > 0:
        raise ValueError(f"a direction {np.shape(direction)}, units {rows.shape[1]} wide: it must fit, not be 0")
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    drawn = np.random.default_rng([seed, 67]).standard_normal((draws, len(rows))) @ rows
    null = np.sort(np.abs(drawn / np.linalg.norm(drawn, axis=1, keepdims=True) @ rows.T), axis=None)
    cosine = rows @ direction / np.linalg.norm(direction)
    p = (1 + len(null) - np.searchsorted(null, np.abs(cosine))) / (1 + len(null))
    return _names({name: len(value) for name, value in written.items()}), cosine, benjamini_hochberg(p)


def written_by(model: LocalModel) -> dict[str, np.ndarray]:
    """Site name → (neurons, width) float32, what each neuron adds to the stream per unit of activation."""
    found = {}
    for site in neurons(model):
        part = body_of(model).get_submodule(site.module)
        weight = part.get_parameter("weight").detach().float().cpu().numpy()
        found[site.name] = weight.T if isinstance(part, nn.Linear) else weight  # GPT-2's Conv1D lies the other way
    return found


def by_text(query: str, texts: Mapping[Name, str], *, most: int = 20) -> tuple[tuple[Name, float], ...]:
    """Units whose explanation goes with a query, best first, by BM25 (Robertson and Zaragoza 2009, k₁ 1.2, b .75)."""
    words = re.compile(r"\w+|[^\w\s]")
    bags = {name: Counter(words.findall(text.lower())) for name, text in texts.items()}
    length = {name: sum(bag.values()) for name, bag in bags.items()}
    usual = max(1.0, float(np.mean(list(length.values()))) if length else 1.0)
    scores: dict[Name, float] = {}
    for word in set(words.findall(query.lower())):
        holding = [name for name, bag in bags.items() if bag[word]]
        rare = float(np.log(1 + (len(bags) - len(holding) + 0.5) / (len(holding) + 0.5)))
        for name in holding:
            often = bags[name][word]
            gain = rare * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * length[name] / usual))
            scores[name] = scores.get(name, 0.0) + gain
    return tuple(sorted(scores.items(), key=lambda each: (-each[1], each[0]))[:most])


def _names(sizes: Mapping[str, int]) -> tuple[Name, ...]:
    return tuple(Name(site, unit) for site, units in sizes.items() for unit in range(units))
