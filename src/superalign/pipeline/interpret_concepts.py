"""Search by concept for `superalign interpret`: what goes with what, and what of it is chance.

    raw = search_concepts(ConceptsJob(address="family:m", corpus=path, seed=0))
    concept_figures(raw, draws=400, seed=0)["concepts.slip.trained.confirmed"]

Units are named on all texts (q over the whole network), and apart from that chosen on one half of the files and
confirmed on the other. Two controls: the same search of a network that was never trained, and of shuffled pairs, where
there is nothing to find. Whatever is computed from the raw arrays needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from superalign.pipeline.interpret_concepts_figures import LEVEL, concept_columns, concept_figures
from superalign.pipeline.interpret_concepts_texts import Concept, class_concepts, code_pairs, halves
from superalign.pipeline.interpret_findings import TRAINED, networks, reads_contexts, spread_rows

if TYPE_CHECKING:
    from superalign.interpretability.search import Contrast, Found, Pooled
    from superalign.models import LocalModel

__all__ = ["ConceptsJob", "concept_columns", "concept_figures", "search_concepts"]
HEAD = 3
"""Tokens before code: a start, an author, a cue. They never count, or each unit would tell authors apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptsJob:
    """Search one model for concepts."""

    address: str
    corpus: Path
    """Where the corpus lies: its classes are the concepts of a model that does not read the family's code."""
    seed: int
    pairs: int = 256
    """Pairs of texts for each concept, at most; of a corpus with classes four times as many sequences in all."""
    flips: int = 500
    """Draws of the permutation null."""
    repeats: int = 20
    """Searches of shuffled pairs, for each concept."""
    untrained: int | None = None
    """Seed of the network that was never trained."""


class Read(NamedTuple):
    """Sequences that are read once, whatever concepts they serve."""

    ids: np.ndarray
    lengths: np.ndarray
    skip: int


def search_concepts(job: ConceptsJob) -> dict[str, np.ndarray]:
    """Raw results for every concept, on the model and on the untrained network.

    By `network/concept/…`: p, familywise, statistic, d, auroc, pool (units,) of all texts; `chosen` units on one half
    of the files, their `parts` (files, chosen) and file `labels` on the other; `best`, the clearest unit of the first
    half, and its `scores`, `truth`, `files` on the other. `null/concept` (repeats,) units found on shuffled pairs.
    """
    from superalign.interpretability.search import pooled_ids
    from superalign.interpretability.units import heads, neurons

    found: dict[str, np.ndarray] = {}
    named = networks(job.address, job.untrained)
    read, concepts, refusals = _material(job, named[TRAINED])
    for network, model in named.items():
        if not concepts:
            break
        texts = pooled_ids(model, (*neurons(model), *heads(model)), read.ids, read.lengths, skip=read.skip)
        for concept in concepts:
            found |= {f"{network}/{concept.key}/{name}": a for name, a in _searched(texts, concept, job).items()}
            if network == TRAINED:
                found[f"null/{concept.key}"] = _shuffled(texts, concept, job)
        found["sites"] = np.array([name.site for name in texts.names])
        found["units"] = np.array([name.unit for name in texts.names], dtype=np.int32)
    return found | {
        "networks": np.array(list(named)),
        "concepts": np.array([concept.key for concept in concepts], dtype=np.str_),
        "titles": np.array([concept.title for concept in concepts], dtype=np.str_),
        "pairs": np.array([len(concept.first) for concept in concepts], dtype=np.int32),
        "paired": np.array([concept.paired for concept in concepts], dtype=bool),
        "files": np.array([len(np.unique(concept.clusters)) for concept in concepts], dtype=np.int32),
        "refused": np.array(refusals, dtype=np.str_),
    }


def _material(job: ConceptsJob, model: LocalModel) -> tuple[Read, Sequence[Concept], Sequence[str]]:
    from superalign.interpretability.search import encoded
    from superalign.pipeline.interpret_corpus import corpus_at

    if not reads_contexts(model):
        corpus = corpus_at(job.corpus)
        rows = corpus.rows("validation")
        rows = rows[spread_rows(corpus.clusters(rows), 4 * job.pairs, seed=job.seed)]
        concepts, refusals = class_concepts(corpus, rows)
        return Read(corpus.ids[rows], corpus.lengths[rows], corpus.skip), concepts, refusals
    known: dict[str, int] = {}
    concepts = tuple(
        Concept(key, title, _rows(first, known), _rows(second, known), np.array(clusters))
        for key, title, first, second, clusters in code_pairs(job.pairs, seed=job.seed)
    )
    return Read(*encoded(model, list(known)), skip=HEAD), concepts, ()


def _rows(texts: Sequence[str], known: dict[str, int]) -> np.ndarray:
    return np.array([known.setdefault(text, len(known)) for text in texts])


def _contrast(texts: Pooled, concept: Concept) -> Contrast:
    from superalign.interpretability.search import labelled, matched

    first, second = (replace(texts, values=texts.values[rows]) for rows in (concept.first, concept.second))
    if concept.paired:
        return matched(concept.key, first, second, clusters=concept.clusters.tolist())
    both = replace(texts, values=np.concatenate([first.values, second.values]))
    labels = np.arange(len(both.values)) < len(first.values)
    return labelled(concept.key, both, labels.tolist(), clusters=concept.clusters.tolist())


def _searched(texts: Pooled, concept: Concept, job: ConceptsJob) -> dict[str, np.ndarray]:
    from superalign.interpretability.search import FEWEST, search

    whole = search(_contrast(texts, concept), draws=job.flips, seed=job.seed)
    raw = {
        "p": whole.p, "familywise": whole.familywise, "statistic": whole.statistic, "d": whole.dprime,
        "auroc": whole.auroc, "pool": whole.pool.astype(np.int8),
    }  # fmt: skip
    raw = {name: a if a.dtype == np.int8 else a.astype(np.float32) for name, a in raw.items()}
    here, there = halves(concept, seed=job.seed)
    if min(len(np.unique(part.clusters)) for part in (here, there)) < FEWEST:
        return raw
    first = search(_contrast(texts, here), draws=job.flips, seed=job.seed + 1)
    return raw | _held_out(texts, there, first)


def _held_out(texts: Pooled, there: Concept, first: Found) -> dict[str, np.ndarray]:
    """On the other half of the files: chosen units by file, and the best one by text; in the direction of the first."""
    chosen = np.flatnonzero(np.array(first.classes) == "behaviour")
    best = int(np.abs(first.statistic).argmax())
    files, codes = np.unique(there.clusters, return_inverse=True)
    sign = np.sign(first.statistic)
    one, other = texts.values[there.first], texts.values[there.second]
    values = one[:, first.pool[chosen], chosen] - other[:, first.pool[chosen], chosen] if there.paired else None
    labels = np.ones(len(files))
    if values is None:
        values = np.concatenate([part[:, first.pool[chosen], chosen] for part in (one, other)])
        labels[codes[len(one) :]] = 0
    parts = np.zeros((len(files), len(chosen)))
    np.add.at(parts, codes, values.astype(np.float64))
    parts *= sign[chosen] / np.bincount(codes)[:, None]
    scores = np.concatenate([part[:, first.pool[best], best] for part in (one, other)])
    return {
        "chosen": chosen.astype(np.int32),
        "parts": parts.astype(np.float32),
        "labels": labels.astype(np.int8),
        "best": np.array([best], dtype=np.int32),
        "scores": (scores * (sign[best] or 1)).astype(np.float32),
        "truth": (np.arange(len(scores)) < len(one)).astype(np.int8),
        "files": (np.concatenate([codes, codes]) if there.paired else codes).astype(np.int32),
    }


def _shuffled(texts: Pooled, concept: Concept, job: ConceptsJob) -> np.ndarray:
    """(repeats,) units found where nothing is: sides of pairs, or labels of documents, drawn anew."""
    from superalign.interpretability.search import search

    contrast, rng = _contrast(texts, concept), np.random.default_rng([job.seed, 167])
    counts = []
    for repeat in range(job.repeats):
        if contrast.labels is None:
            changed = replace(contrast, parts=_flipped(texts, concept, rng))
        else:
            changed = replace(contrast, labels=rng.permutation(contrast.labels))
        found = search(changed, level=LEVEL, draws=job.flips, seed=job.seed + 1000 + repeat)
        counts.append(sum(name == "behaviour" for name in found.classes))
    return np.array(counts, dtype=np.int32)


def _flipped(texts: Pooled, concept: Concept, rng: np.random.Generator) -> np.ndarray:
    """(files, 2, units) sums of differences, each pair's first side drawn anew."""
    sides = rng.choice([-1.0, 1.0], size=len(concept.first))
    files, codes = np.unique(concept.clusters.astype(str), return_inverse=True)  # in the order of a contrast's
    flips = np.zeros((len(files), len(sides)), dtype=np.float32)
    flips[codes, np.arange(len(sides))] = sides / len(sides)
    differences = texts.values[concept.first] - texts.values[concept.second]
    summed: np.ndarray = (flips @ differences.reshape(len(sides), -1)).astype(np.float64)
    return summed.reshape(len(files), *differences.shape[1:])
