"""What workers do for `superalign interpret`: explain every unit of one site, and keep what scores are made of.

Sums by document are kept, not scores: an auditor makes the same numbers from them without a model. Explanations are
made of `train`, chosen and refined on `dev`, and meet `validation` only where they are scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from superalign.engine.threads import one_thread
from superalign.evidence.store import ObjectStore
from superalign.interpretability.calibration import percentile
from superalign.interpretability.causal import to_simulation
from superalign.interpretability.compiled import heard, spoken
from superalign.interpretability.conditions import lexicon
from superalign.interpretability.context import context
from superalign.interpretability.controls import all_and_only, shuffled, untrained
from superalign.interpretability.correlations import Sums, pearson
from superalign.interpretability.dictionaries import features, load_dictionary
from superalign.interpretability.explanation import Explainer, Sample, drawn, read_sample
from superalign.interpretability.judging import detection, fuzzing, predicted, shown_windows
from superalign.interpretability.modes import modes
from superalign.interpretability.patterns import Patterns, patterns
from superalign.interpretability.refine import refine
from superalign.interpretability.rules import rules
from superalign.interpretability.scores import agreement_on
from superalign.interpretability.tables import shorter, top_tokens, trigram
from superalign.interpretability.trees import trees
from superalign.interpretability.units import Site, heads, neurons
from superalign.interpretability.windows import (
    Windows,
    agreement_in,
    random_windows,
    top_windows,
)
from superalign.models import LocalModel, load_model
from superalign.pipeline.arrays import arrays_to_bytes
from superalign.pipeline.interpret_corpus import corpus_at
from superalign.pipeline.interpret_described import asked_here, described, understood
from superalign.pipeline.interpret_families import DESCRIBED, REFINED, UNIGRAM, chosen
from superalign.pipeline.interpret_paged import paged, quantiles
from superalign.pipeline.interpret_said import said_about

EXEMPLARS, TOPMOST = 20, 10
"""Windows of each unit: those that modes are made of, and those of the score over top and random ones, 1:1."""
SIMULATED_ROWS, CALIBRATED_ROWS = 64, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteJob:
    """One site of one network."""

    objects: Path
    """Folder of the store."""
    address: str
    corpus: Path
    recording: Path
    site: str
    seed: int
    train: int
    dev: int
    held: int
    """Tokens."""
    untrained: int | None = None
    """Seed of a fresh network of the same shape, which then takes the model's place."""
    simulated: int = 0
    patterned: int = 0
    """Units that are explained by patterns, too."""
    dictionaries: tuple[str, ...] = ()
    explainer: str = ""
    described: int = 0
    said: Mapping[str, Any] = field(default_factory=dict)
    """What the explainer said before, as `interpret_asked.answers` has it: then nobody is asked here."""


def sites_of(model: LocalModel, dictionaries: Sequence[str] = ()) -> tuple[Site, ...]:
    """Every neuron and head, and the features of dictionaries, each as BLOCK:FILE.

    Raises ValueError for blocks without an MLP or attention that can be found, and dictionaries that don't fit.
    """
    found = [*neurons(model), *heads(model)]
    for number, told in enumerate(dictionaries):
        block, _, path = told.partition(":")
        if not block.isdecimal() or not path:
            raise ValueError(f"--dictionaries {told}: write BLOCK:FILE.safetensors, as in 3:sae.safetensors")
        found.append(features(model, int(block), load_dictionary(Path(path)), tag="" if not number else str(number)))
    return tuple(found)


def network_of(address: str, fresh: int | None) -> LocalModel:
    """The model at an address, or an untrained network of its shape."""
    model = load_model(address)
    return model if fresh is None else untrained(model, seed=fresh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What one site does on three splits."""

    train: Sample
    dev: Sample
    held: Sample


@one_thread()
def explain_site(job: SiteJob) -> dict[str, Any]:
    """Digest of the arrays that were kept, and how many held-out windows were looked at.

    Of F families, U units, D documents: `families` (F,), `text` and `bits` (F, U), `parts` (F, D, 6, U), `shift`
    (F, 2, U), `documents` (D,), `dev` (F, U) r on dev, `best` (U,) the family that is shown. Of the model itself
    besides `top …`, `judged …`, `simulation …`, `page …` and, with a language model, `described …`.
    """
    model, corpus = network_of(job.address, job.untrained), corpus_at(job.corpus)
    site = {site.name: site for site in sites_of(model, job.dictionaries)}[job.site]
    parts = (("train", job.train), ("dev", job.dev), ("validation", job.held))
    train, dev, held = (
        read_sample(model, corpus, site, drawn(corpus, split, tokens=tokens, seed=job.seed))  # type: ignore[arg-type]
        for split, tokens in parts
    )
    samples = Samples(train=train, dev=dev, held=held)
    made = families(model, samples, patterned=job.patterned) if job.untrained is None else few_families(samples)
    told: Mapping[str, np.ndarray] = {}
    store = ObjectStore(job.objects, job.objects.parent / "tmp")
    if job.explainer and job.untrained is None:
        if job.said:
            said = said_about(store, job.said, job.site)
        else:
            said = asked_here(job.explainer, train, most=job.described, seed=job.seed)
        spoken_by, told = described(said, train, dev)
        made += [] if spoken_by is None else [spoken_by]
    kept, windows = scored(job, made, samples)
    if job.untrained is None:
        for arrays, looked in (
            closer(job, model, made, samples, kept),
            paged(job.seed, made, held, kept["best"]),
            (quantiles(model, corpus, site, job.recording), 0),
        ):
            kept, windows = kept | arrays, windows + looked
    return {
        "kept": store.put(arrays_to_bytes(kept | dict(told))),
        "windows": windows,
        "tokens": int(held.counted.sum()),
    }


def families(model: LocalModel, samples: Samples, *, patterned: int) -> list[Explainer]:
    """Every way to explain, all of a site's units at once; patterns of those `patterned` that vary most."""
    train, dev = samples.train, samples.dev
    table = trigram(train)
    typical, places = modes(train, top_windows(train, EXEMPLARS))
    unigram, found = shorter(table, 1), rules(train)
    texts = [found.explanation(unit).text for unit in range(train.site.units)]
    words = lexicon(train)
    compiled_texts = spoken([text if understood(text, words) else "" for text in texts], words)
    return [
        unigram,
        top_tokens(unigram, 5),
        shorter(table, 2),
        table,
        context(train, over=table),
        found,
        refine(found, train, dev)[0],
        trees(train),
        typical,
        heard(compiled_texts, dev),
        *some_patterns(model, train, typical, places, patterned),
    ]


def some_patterns(
    model: LocalModel, train: Sample, typical: Patterns, places: Windows, most: int
) -> Iterator[Patterns]:
    """Patterns that the model's own answers pruned and widened, of the units that vary most; others have no score."""
    if not most:
        return
    units = np.argsort(-np.nan_to_num(train.values.std(0)), kind="stable")[:most].tolist()
    found = patterns(model, train, typical, places, units)
    silent = np.isin(np.arange(train.site.units), units, invert=True)
    yield replace(found, base=np.where(silent, np.nan, found.base).astype(np.float32))


def few_families(samples: Samples) -> list[Explainer]:
    """Those that an untrained network is explained by."""
    table = trigram(samples.train)
    return [shorter(table, 1), shorter(table, 2), table, context(samples.train, over=table), rules(samples.train)]


def scored(job: SiteJob, made: Sequence[Explainer], samples: Samples) -> tuple[dict[str, np.ndarray], int]:
    """Sums over random held-out windows of every family, and of the controls that are told by another unit's text."""
    units = samples.held.site.units
    controls = [shuffled(each, units, seed=job.seed) for each in made if each.name in (UNIGRAM, REFINED) and units > 1]
    sums = agreement_on([*made, *controls], samples.held)
    on_dev = agreement_on(list(made), samples.dev)
    r = np.stack([pearson(on_dev[each.name].parts.sum(0)) for each in made])
    said = [[each.explanation(unit) for unit in range(units)] for each in made]
    bits = np.array([[one.bits for one in row] for row in said])
    names = [each.name for each in made]
    kept = {
        "families": np.array(list(sums)),
        "made": np.array(len(made)),
        "text": np.array([[one.text for one in row] for row in said]),
        "bits": bits,
        "dev": r,
        "best": chosen(names, r, bits),
        **packed_sums("", list(sums.values())),
    }
    return kept, sum(each.windows for each in sums.values())


def packed_sums(prefix: str, sums: Sequence[Sums]) -> dict[str, np.ndarray]:
    """Arrays of several explainers' sums over the same documents."""
    return {
        f"{prefix}parts": np.stack([each.parts for each in sums]),
        f"{prefix}shift": np.stack([each.shift for each in sums]),
        f"{prefix}documents": sums[0].documents.astype(np.int32),
        f"{prefix}windows": np.array([each.windows for each in sums]),
        f"{prefix}tokens": np.array([each.tokens for each in sums]),
    }


def closer(
    job: SiteJob, model: LocalModel, made: Sequence[Explainer], samples: Samples, kept: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], int]:
    """Top and random windows, detection, fuzzing, all-and-only, and the explanation put in the unit's place."""
    held, corpus, site = samples.held, samples.held.corpus, samples.held.site
    some = [each for each in made if each.name in (UNIGRAM, REFINED, DESCRIBED)]
    windows = top_windows(held, TOPMOST).joined(random_windows(held, TOPMOST, seed=job.seed))
    top = [agreement_in(windows, each, model, corpus, site) for each in some]
    shown = shown_windows(held, seed=job.seed)
    found = {"top families": np.array([each.name for each in some]), **packed_sums("top ", top)}
    looked, judged = sum(each.windows for each in top), dict[str, list[np.ndarray]]()
    for each in some:
        told = predicted(shown, each, held)
        areas = {"detection": detection(shown, told), "fuzzing": fuzzing(shown, told, seed=job.seed)}
        for name, area in areas.items():
            judged.setdefault(name, []).append(np.stack([area.value, area.low, area.high]))
            looked += area.windows
        only = all_and_only(each, samples.dev, held, seed=job.seed)
        judged.setdefault("all and only", []).append(np.stack([only.value, only.low, only.high]))
        looked += only.windows
    found |= {f"judged {name}": np.stack(values) for name, values in judged.items()}
    simulated, more = simulations(job, model, made, samples, kept)
    return found | simulated, looked + more


def simulations(
    job: SiteJob, model: LocalModel, made: Sequence[Explainer], samples: Samples, kept: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], int]:
    """1 − JSD ratio of units told by their rules instead of reading: those told best, others at random, all at once."""
    units, corpus = samples.held.site.units, samples.held.corpus
    explainer = next(each for each in made if each.name == REFINED)
    r = np.nan_to_num(kept["dev"][[each.name for each in made].index(REFINED)])
    best = np.argsort(-r, kind="stable")[: job.simulated]
    rest = np.setdiff1d(np.arange(units), best)
    others = np.random.default_rng([job.seed, 211]).permutation(rest)[: job.simulated]
    groups = [[int(unit)] for unit in (*best, *np.sort(others))] + [list(range(units))]
    rows = samples.held.rows[:: max(1, len(samples.held.rows) // SIMULATED_ROWS)][:SIMULATED_ROWS]
    found = to_simulation(
        model,
        corpus,
        samples.held.site,
        percentile(explainer, samples.dev),
        groups,
        rows=rows,
        calibration=samples.dev.rows[:CALIBRATED_ROWS],
        seed=job.seed,
    )
    ends = [[each.score.value, each.score.low, each.score.high] for each in found]
    effects = [[each.mean_effect.value, each.mean_effect.low, each.mean_effect.high] for each in found]
    arrays = {
        "simulation units": np.array([-1 if len(group) > 1 else group[0] for group in groups]),
        "simulation best": np.arange(len(groups)) < len(best),
        "simulation score": np.array(ends, dtype=float),
        "simulation effect": np.array(effects, dtype=float),
        "simulation clusters": np.array([each.score.clusters for each in found]),
    }
    return arrays, len(rows) * len(groups)
