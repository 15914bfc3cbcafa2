"""What workers do for `superalign interpret`: explain every unit of one site, and keep what scores are made of.

Sums by document are kept, not scores: an auditor makes the same numbers from them without a model. Explanations are
made of `train`, chosen and refined on `dev`, and meet `validation` only where they are scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from superalign.interpretability.recording import Recording
from superalign.interpretability.refine import refine
from superalign.interpretability.rules import rules
from superalign.interpretability.scores import agreement_on
from superalign.interpretability.tables import shorter, top_tokens, trigram
from superalign.interpretability.trees import trees
from superalign.interpretability.units import Site, heads, neurons
from superalign.interpretability.windows import (
    RADIUS,
    Windows,
    agreement_in,
    gathered,
    random_windows,
    teller,
    top_windows,
)
from superalign.models import LocalModel, load_model
from superalign.pipeline.arrays import arrays_to_bytes
from superalign.pipeline.interpret_corpus import corpus_at
from superalign.pipeline.interpret_described import described, understood
from superalign.pipeline.interpret_families import DESCRIBED, REFINED, UNIGRAM, chosen

EXEMPLARS, TOPMOST = 20, 10
"""Windows of each unit: those that modes are made of, and those of the score over top and random ones, 1:1."""
PAGED, LONGEST = 2, 64
"""Held-out sequences that a unit's page shows, and tokens of each."""
SIMULATED_ROWS, CALIBRATED_ROWS = 64, 256
SHARES = (0.75, 0.5, 0.25)
"""Where in a unit's octaves its page looks, besides at its highest and lowest."""


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
    dictionaries: tuple[str, ...] = ()
    explainer: str = ""
    described: int = 0


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
    made = families(samples) if job.untrained is None else few_families(samples)
    told: Mapping[str, np.ndarray] = {}
    if job.explainer and job.untrained is None:
        spoken_by, told = described(job.explainer, train, dev, most=job.described, seed=job.seed)
        made += [] if spoken_by is None else [spoken_by]
    kept, windows = scored(job, made, samples)
    if job.untrained is None:
        for more in (closer, paged, quantiles):
            arrays, looked = more(job, model, made, samples, kept)
            kept, windows = kept | arrays, windows + looked
    store = ObjectStore(job.objects, job.objects.parent / "tmp")
    return {
        "kept": store.put(arrays_to_bytes(kept | dict(told))),
        "windows": windows,
        "tokens": int(held.counted.sum()),
    }


def families(samples: Samples) -> list[Explainer]:
    """Every way to explain, all of a site's units at once."""
    train, dev = samples.train, samples.dev
    table, exemplars = trigram(train), top_windows(train, EXEMPLARS)
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
        modes(train, exemplars)[0],
        heard(compiled_texts, dev),
    ]


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
    return found | simulations(job, model, made, samples, kept), looked


def simulations(
    job: SiteJob, model: LocalModel, made: Sequence[Explainer], samples: Samples, kept: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """1 − JSD ratio of units told by their rules instead of reading: those told best, others at random, all at once."""
    units, corpus = samples.held.site.units, samples.held.corpus
    explainer = next(each for each in made if each.name == REFINED)
    r = np.nan_to_num(kept["dev"][[each.name for each in made].index(REFINED)])
    best = np.argsort(-r, kind="stable")[: job.simulated]
    rest = np.setdiff1d(np.arange(units), best)
    others = np.random.default_rng([job.seed, 211]).permutation(rest)[: job.simulated]
    groups = [[int(unit)] for unit in (*best, *np.sort(others))] + [list(range(units))]
    found = to_simulation(
        model,
        corpus,
        samples.held.site,
        percentile(explainer, samples.dev),
        groups,
        rows=samples.held.rows[:: max(1, len(samples.held.rows) // SIMULATED_ROWS)][:SIMULATED_ROWS],
        calibration=samples.dev.rows[:CALIBRATED_ROWS],
        seed=job.seed,
    )
    ends = [[each.score.value, each.score.low, each.score.high] for each in found]
    effects = [[each.mean_effect.value, each.mean_effect.low, each.mean_effect.high] for each in found]
    return {
        "simulation units": np.array([-1 if len(group) > 1 else group[0] for group in groups]),
        "simulation best": np.arange(len(groups)) < len(best),
        "simulation score": np.array(ends, dtype=float),
        "simulation effect": np.array(effects, dtype=float),
        "simulation clusters": np.array([each.score.clusters for each in found]),
    }


def paged(
    job: SiteJob, model: LocalModel, made: Sequence[Explainer], samples: Samples, kept: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], int]:
    """For pages: real and predicted values on held-out sequences, and around each unit's highest place there."""
    held, corpus = samples.held, samples.held.corpus
    rows = np.random.default_rng([job.seed, 223]).choice(held.rows, min(PAGED, len(held.rows)), replace=False)
    peaks = top_windows(held, 1)
    real, counted = gathered(peaks, corpus, _recalled(held))
    told = np.zeros_like(real)
    shown = np.zeros((len(rows), corpus.length, held.site.units), dtype=np.float32)
    for number, each in enumerate(made):
        mine = kept["best"] == number
        if mine.any():
            told[..., mine] = gathered(peaks, corpus, teller(each, corpus))[0][..., mine]
            shown[..., mine] = each.predict(corpus.ids[rows], corpus.lengths[rows])[..., mine]
    arrays = {
        "page rows": rows,
        "page real": _recalled(held)(np.sort(rows))[np.argsort(np.argsort(rows)), :LONGEST].astype(np.float16),
        "page told": shown[:, :LONGEST].astype(np.float16),
        "page peak rows": peaks.rows[0],
        "page peak places": peaks.places[0],
        "page peak real": np.where(counted, real, np.nan)[0].astype(np.float16),
        "page peak told": np.where(counted, told, np.nan)[0].astype(np.float16),
        "page radius": np.array(RADIUS),
    }
    return arrays, len(rows) * held.site.units + held.site.units


def quantiles(
    job: SiteJob, model: LocalModel, made: Sequence[Explainer], samples: Samples, kept: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], int]:
    """For pages: what each unit does on sequences where it is less high, drawn at random from octaves of its own.

    The recording's stratified sample says which; they are of `train`, and no score looks at them.
    """
    corpus, site = samples.train.corpus, samples.train.site
    strata = Recording.load(job.recording).sketch(site.name, "train").strata
    if strata is None:
        return {}, 0
    rows = strata.rows[:, :, 0]
    there = rows >= 0
    picked = np.full((len(SHARES), site.units), -1)
    for unit in range(site.units):
        octaves = np.flatnonzero(there[unit])
        if len(octaves):
            picked[:, unit] = rows[unit, octaves[[int(share * (len(octaves) - 1)) for share in SHARES]]]
    if not (picked >= 0).any():
        return {}, 0
    sample = read_sample(model, corpus, site, np.unique(picked[picked >= 0]))
    windows = Windows(rows=picked, places=highest_places(sample, picked))
    values, counted = gathered(windows, corpus, _recalled(sample))
    return {
        "page octave rows": picked,
        "page octave places": windows.places,
        "page octave real": np.where(counted, values, np.nan).astype(np.float16),
    }, 0


def highest_places(sample: Sample, rows: np.ndarray) -> np.ndarray:
    """(k, units) where each unit is highest in its own sequences, (k, units) numbers of the corpus; 0 for none."""
    read, places = _recalled(sample), np.zeros(rows.shape, dtype=np.int64)
    for row, counted in zip(sample.rows, sample.counted, strict=True):
        k, unit = np.nonzero(rows == row)
        at = np.flatnonzero(counted)
        places[k, unit] = at[np.argmax(np.nan_to_num(read(np.array([row]))[0][at][:, unit], nan=-np.inf), axis=0)]
    return places


def _recalled(sample: Sample) -> Any:
    """Reads sequences of a sample from memory: rows → (rows, length, units)."""
    ends = np.r_[0, np.cumsum(sample.counted.sum(1))]

    def read(rows: np.ndarray) -> np.ndarray:
        found = np.zeros((len(rows), sample.corpus.length, sample.site.units), dtype=np.float32)
        for i, at in enumerate(np.searchsorted(sample.rows, rows)):
            found[i, sample.counted[at]] = sample.values[ends[at] : ends[at + 1]]
        return found

    return read
