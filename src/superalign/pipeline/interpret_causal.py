"""What units do to what the model says, for `superalign interpret`: attribution, exact patching, ablation, steering.

    raw = causal_effects(CausalJob(address="family:m", corpus=path, seed=0))
    causal_figures(raw, draws=400, seed=0)["causal.agreement.first"]

Every unit gets an estimate, from two forwards and a backward over pairs of texts. Those that rank first and as many
drawn from the rest are patched exactly, and replaced by their mean: that says what the estimates are worth, and how
many units they miss. A few of both are steered, with what that does to text that has nothing to do with it.
Whatever is computed from the raw arrays needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from superalign.pipeline.interpret_causal_figures import causal_columns, causal_figures
from superalign.pipeline.interpret_findings import TRAINED, networks, reads_contexts, spread_rows

if TYPE_CHECKING:
    from superalign.interpretability.corpus import Corpus
    from superalign.interpretability.units import Site
    from superalign.models import LocalModel

__all__ = ["CausalJob", "causal_columns", "causal_effects", "causal_figures"]
DOSES = (-4.0, -2.0, 2.0, 4.0)
"""In standard deviations of a unit."""
REFERENCE = 64
"""Sequences whose mean takes a unit's place."""
RESAMPLED = 0.15
"""Share of a text's counted tokens that are drawn anew where there are no slips to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalJob:
    """Measure effects of one model's units."""

    address: str
    corpus: Path
    """Where the corpus lies: ablation is of its text, which is unrelated to what is steered, too."""
    seed: int
    pairs: int = 256
    """Pairs of texts for estimates,"""
    patched: int = 64
    """the first of them for exact patching and steering."""
    exact: int = 32
    """Units that are patched and replaced: so many first ones, so many others."""
    windows: int = 48
    """Sequences of the corpus on which units are replaced."""
    steered: int = 3
    """Units that are steered: so many first ones, so many others."""
    untrained: int | None = None
    """Seed of the network that was never trained."""


class Pairs(NamedTuple):
    """Sequences of equal length, token by token."""

    clean: np.ndarray
    other: np.ndarray
    lengths: np.ndarray
    clusters: np.ndarray


def causal_effects(job: CausalJob) -> dict[str, np.ndarray]:
    """Raw effects, in nats a token.

    `trained/effects`, `untrained/effects` (pairs, units) estimates by attribution patching, `…/dropped` (units,) with
    GradDrop; `files` (pairs,). `chosen` rows of units, `first` (chosen,) of those that rank first, `exact` (patched
    pairs, chosen). `divergence`, `loss` (chosen, windows) with the unit at its mean; `documents` (windows,). `steered`
    (some,) places in `chosen`, `doses`, `change` (steered, doses, patched pairs), `aside` (steered, doses, windows).
    """
    from superalign.interpretability.attribution import attributed, loss_score
    from superalign.interpretability.units import heads, neurons
    from superalign.pipeline.interpret_corpus import corpus_at

    named = networks(job.address, job.untrained)
    model, corpus = named[TRAINED], corpus_at(job.corpus)
    sites = (*neurons(model), *heads(model))
    slips = reads_contexts(model)
    pairs = slip_pairs(model, job) if slips else resampled_pairs(corpus, job)
    found = {
        "sites": np.repeat([site.name for site in sites], [site.units for site in sites]),
        "units": np.concatenate([np.arange(site.units) for site in sites]).astype(np.int32),
        "files": np.unique(pairs.clusters, return_inverse=True)[1].astype(np.int32),
        "pairs": np.array(["code with a slip" if slips else "text with tokens drawn anew"]),
        "networks": np.array(list(named)),
    }
    for name, network in named.items():
        told = attributed(network, sites, pairs.clean, pairs.other, pairs.lengths, loss_score)
        found[f"{name}/effects"] = np.concatenate([each.effects for each in told], axis=1).astype(np.float32)
        if all(each.dropped is not None for each in told):
            found[f"{name}/dropped"] = np.concatenate([each.dropped for each in told]).astype(np.float32)
    chosen, first = ranked(np.abs(found[f"{TRAINED}/effects"]).mean(0), job.exact, seed=job.seed)
    found |= {"chosen": chosen.astype(np.int32), "first": first}
    few = Pairs(*(part[: job.patched] for part in pairs))
    found |= _exact(model, sites, chosen, few)
    found |= _replaced(model, corpus, sites, chosen, job)
    return found | _steered(model, corpus, sites, found, few, job)


def ranked(sizes: np.ndarray, most: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(units, of those that rank first?): the `most` largest, and as many drawn from the rest; fewer of few.

    Raises ValueError where there are under six units: three of each are wanted.
    """
    if len(sizes) < 6:
        raise ValueError(f"{len(sizes)} units: three that rank first and three others are wanted")
    most = min(most, len(sizes) // 2)
    order = np.argsort(-np.nan_to_num(sizes, nan=-1.0), kind="stable")
    drawn = np.random.default_rng([seed, 173]).permutation(order[most:])[:most]
    return np.concatenate([order[:most], drawn]), np.arange(2 * most) < most


def slip_pairs(model: LocalModel, job: CausalJob) -> Pairs:
    """Code as it is, and with a slip, of all kinds; spread over files, and shuffled."""
    from superalign.adversarial.kinds import context
    from superalign.interpretability.search import encoded
    from superalign.tasks.lexer import AUTHORS, CUES
    from superalign.tasks.slips import slips

    page = slips(split="validation", view="pair")
    files = np.array([item.cluster for item in page.items])
    rows = np.random.default_rng([job.seed, 179]).permutation(spread_rows(files, job.pairs, seed=job.seed))
    items = [page.items[i] for i in rows]
    right = [int(page.truths[item.id]["answer"]) for item in items]
    sides = [
        encoded(model, [context(AUTHORS[0], CUES[0], item.input[s[a]]) for item, a in zip(items, right, strict=True)])
        for s in ("ab", "ba")
    ]
    return Pairs(sides[0][0], sides[1][0], sides[0][1], files[rows])


def resampled_pairs(corpus: Corpus, job: CausalJob) -> Pairs:
    """Sequences of the validation split, and the same with some counted tokens drawn from the training split's."""
    rows, rng = corpus.rows("validation"), np.random.default_rng([job.seed, 181])
    rows = rng.permutation(rows[spread_rows(corpus.clusters(rows), job.pairs, seed=job.seed)])
    train = corpus.rows("train")
    known = corpus.ids[train][corpus.counted(train)]
    counted = corpus.counted(rows)
    swapped = counted & (rng.random(counted.shape) < RESAMPLED)
    last = corpus.lengths[rows] - 1
    swapped[np.arange(len(rows)), last] |= ~swapped.any(1)
    clean = corpus.ids[rows].astype(np.int64)
    other = np.where(swapped, rng.choice(known, size=clean.shape), clean)
    return Pairs(clean, other, corpus.lengths[rows].astype(np.int64), corpus.clusters(rows))


def _places(sites: tuple[Site, ...], chosen: np.ndarray) -> list[tuple[Site, np.ndarray, list[int]]]:
    """(site, places in `chosen` of its units, those units), for sites that have any."""
    starts = np.cumsum([0, *(site.units for site in sites)])
    found = []
    for site, start in zip(sites, starts, strict=False):
        at = np.flatnonzero((chosen >= start) & (chosen < start + site.units))
        if len(at):
            found.append((site, at, (chosen[at] - start).tolist()))
    return found


def _exact(model: LocalModel, sites: tuple[Site, ...], chosen: np.ndarray, pairs: Pairs) -> dict[str, np.ndarray]:
    from superalign.interpretability.attribution import exact_effects, loss_score

    exact = np.zeros((len(pairs.clean), len(chosen)), dtype=np.float32)
    for site, at, units in _places(sites, chosen):
        exact[:, at] = exact_effects(model, site, units, pairs.clean, pairs.other, pairs.lengths, loss_score)
    return {"exact": exact}


def _windows(corpus: Corpus, job: CausalJob) -> np.ndarray:
    rows = corpus.rows("validation")
    chosen: np.ndarray = rows[spread_rows(corpus.clusters(rows), job.windows, seed=job.seed)]
    return chosen


def _replaced(
    model: LocalModel, corpus: Corpus, sites: tuple[Site, ...], chosen: np.ndarray, job: CausalJob
) -> dict[str, np.ndarray]:
    """Each chosen unit at its mean on other documents."""
    import torch

    from superalign.interpretability.causal import raw_values, replaced

    rows, dev = _windows(corpus, job), corpus.rows("dev")
    reference = dev[spread_rows(corpus.clusters(dev), REFERENCE, seed=job.seed)]
    moved = np.zeros((2, len(chosen), len(rows)), dtype=np.float32)
    for site, at, units in _places(sites, chosen):
        mean = torch.from_numpy(raw_values(model, corpus, reference, site)).mean(0)

        def flat(batch: np.ndarray, raw: torch.Tensor, group: object, mean: torch.Tensor = mean) -> torch.Tensor:
            return mean[list(group)].to(raw.device).expand_as(raw)  # type: ignore[call-overload]

        moved[:, at] = replaced(model, corpus, rows, site, [[unit] for unit in units], flat)
    return {"divergence": moved[0], "loss": moved[1], "documents": corpus.clusters(rows).astype(np.int32)}


def _steered(
    model: LocalModel,
    corpus: Corpus,
    sites: tuple[Site, ...],
    found: dict[str, np.ndarray],
    pairs: Pairs,
    job: CausalJob,
) -> dict[str, np.ndarray]:
    """How much dearer the other text of a pair gets than the first when a unit is pushed; units that move only."""
    from superalign.interpretability.steering import side_effects, spread_of, steered

    rows = _windows(corpus, job)
    first = np.flatnonzero(found["first"])[: job.steered]
    rest = np.flatnonzero(~found["first"])[: job.steered]
    wanted = np.concatenate([first, rest])
    base = _dearer(model, pairs)
    told: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for site, at, units in _places(sites, found["chosen"][wanted]):
        spread = spread_of(model, corpus, rows, site)
        for place, unit in zip(wanted[at].tolist(), units, strict=True):
            if not (np.isfinite(spread[unit]) and spread[unit] > 0):
                continue
            change, aside = [], []
            for dose in DOSES:
                amounts = [dose * float(spread[unit])]
                with steered(model, site, [unit], amounts):
                    change.append(_dearer(model, pairs) - base)
                aside.append(side_effects(model, corpus, rows, site, [unit], amounts))
            told[place] = change, aside
    places, shape = sorted(told), (len(told), len(DOSES))
    return {
        "steered": np.array(places, dtype=np.int32),
        "doses": np.array(DOSES, dtype=np.float32),
        "change": np.array([told[place][0] for place in places], dtype=np.float32).reshape(*shape, len(base)),
        "aside": np.array([told[place][1] for place in places], dtype=np.float32).reshape(*shape, len(rows)),
    }


def _dearer(model: LocalModel, pairs: Pairs) -> np.ndarray:
    """(pairs,) loss of the other text minus that of the clean one, nats a token."""
    import torch

    from superalign.interpretability.attribution import loss_score, pair_batches

    with torch.inference_mode():
        found = [
            loss_score(model, other, mask) - loss_score(model, clean, mask)
            for clean, other, mask in pair_batches(pairs.clean, pairs.other, pairs.lengths, device=model.device)
        ]
    told: np.ndarray = torch.cat(found).cpu().double().numpy()
    return told
