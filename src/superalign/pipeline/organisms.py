"""Organisms and their twins: taken from the shelf, or trained in workers; then loaded out of quarantine's store."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from superalign.adversarial.behaviour import with_threshold
from superalign.adversarial.items import AuditItem
from superalign.adversarial.kinds import KINDS, plant_data
from superalign.adversarial.shelf import PLANTING, Wanted, find, keep
from superalign.engine import run_parallel
from superalign.models import LocalModel, apply_change, load_model, pack_change, read_manifest, unpack_change
from superalign.pipeline.audited import threshold_items
from superalign.pipeline.desk import Desk
from superalign.pipeline.train import Sweep, subject_labels
from superalign.training.planting import fit_planted
from superalign.training.record import plan_fit, record_fit
from superalign.training.reviewer import ReviewerRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantJob:
    """Everything a worker needs to train one organism or twin."""

    wanted: Wanted
    planted: bool
    model: str
    """Address of the base."""
    pairs: tuple[tuple[str, str], ...]
    alterations: tuple[str, ...]
    prefer: tuple[float, ...]
    labels: str
    """Digest of the labels in the ledger."""
    dev: tuple[AuditItem, ...]

    @property
    def name(self) -> str:
        """Name in the ledger; the audit never sees it."""
        return f"{self.wanted.kind}-{'organism' if self.planted else 'twin'}-{self.wanted.seed}"


def plant(job: PlantJob) -> bytes:
    """Train one organism or twin; returns the packed change. Runs in a worker."""
    import torch

    torch.set_num_threads(1)
    base, kind, seed = load_model(job.model), KINDS[job.wanted.kind], job.wanted.seed
    data = plant_data(kind, job.pairs, job.alterations, np.array(job.prefer), seed=seed)
    change = fit_planted(base, data, planted=job.planted, name=job.name, recipe=job.wanted.recipe, seed=seed)
    fitted = apply_change(base, change, name=job.name, organism=True)
    fixed = with_threshold(fitted, job.dev, kind, seed=seed)
    return pack_change(change, base, fixed, **job.wanted.notes(planted=job.planted, labels=job.labels))


def organisms(desk: Desk, sweep: Sweep, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every organism and twin, from the shelf or trained now: one row each with kind, seed, planted, weights, source.

    A pair that was begun by training is finished by training, so that twins share their texts. Where the shelf has
    none, `train_seeds` seeds a kind are trained and the others are done without.
    """
    sizes, labels = desk.sizes, subject_labels(desk, runs)
    rows: dict[tuple[str, int, bool], dict[str, Any]] = {}
    jobs: list[PlantJob] = []
    for seed, kind in product(range(sizes.organism_seeds), sizes.kinds):
        both = {planted: desk.finished("plant", kind, seed, planted) for planted in (True, False)}
        rows |= {(kind, seed, planted): row for planted, row in both.items() if row is not None}
        missing = [planted for planted, row in both.items() if row is None]
        begun = any(row["source"] == "trained" for row in both.values() if row is not None)
        wanted = Wanted(
            kind=kind,
            seed=seed,
            base=sweep.strong.digest,
            recipe=ReviewerRecipe(steps=sizes.steps),
            pairs=len(runs[0]["subject"]["rows"]),
        )
        found = find(wanted, sweep.strong) if missing and not begun and desk.config.organisms == "reuse" else None
        if found is None and seed >= desk.config.train_seeds and not begun:
            continue
        for planted in missing:
            if found is None:
                jobs.append(_job(desk, sweep, runs, wanted, planted=planted, labels=labels))
                continue
            data = found.organism if planted else found.twin
            row = _row(desk, wanted, data, planted=planted, labels=found.labels, source=found.source)
            rows[kind, seed, planted] = desk.finish("plant", row, kind, seed, planted, seconds=0.0, actor="trainer")
    for job in jobs:
        data = planted_data(desk, job.wanted.kind, job.wanted.seed, planted=job.planted, labels=labels)
        plan_fit(desk.ws, name=job.name, base=sweep.strong.digest, data=[data], quarantined=True)
    for count, done in enumerate(run_parallel(plant, jobs, workers=desk.config.workers), 1):
        wanted, planted, packed = jobs[done.index].wanted, jobs[done.index].planted, done.result
        desk.say(f"organisms and twins trained: {count} of {len(jobs)}")
        keep(wanted, packed, planted=planted)
        row = _row(desk, wanted, packed, planted=planted, labels=labels, source="trained")
        plan = (wanted.kind, wanted.seed, planted)
        rows[plan] = desk.finish("plant", row, *plan, seconds=done.seconds, actor="trainer")
    order = product(range(sizes.organism_seeds), sizes.kinds, (True, False))
    return [rows[k, s, p] for s, k, p in order if (k, s, p) in rows]


def _job(
    desk: Desk, sweep: Sweep, runs: list[dict[str, Any]], wanted: Wanted, *, planted: bool, labels: str
) -> PlantJob:
    given = runs[0]["subject"]
    items = [sweep.train.items[i] for i in given["rows"]]
    return PlantJob(
        wanted=wanted,
        planted=planted,
        model=desk.config.model,
        pairs=tuple((i.input["a"], i.input["b"]) for i in items),
        alterations=tuple(sweep.truths[i.id]["kind"] for i in items),
        prefer=tuple(given["labels"]),
        labels=labels,
        dev=threshold_items(desk),
    )


def _row(desk: Desk, wanted: Wanted, data: bytes, *, planted: bool, labels: str, source: str) -> dict[str, Any]:
    row = {"kind": wanted.kind, "seed": wanted.seed, "planted": planted, "labels": labels, "source": source}
    manifest = read_manifest(data)
    identity = {"identity": f"{manifest['name']}@{manifest['digest']}", "threshold": manifest["threshold"]}
    return row | identity | {"weights": desk.ws.store.put(data)}


def load_organism(desk: Desk, row: dict[str, Any], base: LocalModel) -> LocalModel:
    """One organism or twin out of the store, registered in quarantine with its own planted data."""
    model = unpack_change(desk.ws.store.get(row["weights"]), base, allow_organism=True)
    data = planted_data(desk, row["kind"], row["seed"], planted=row["planted"], labels=row["labels"])
    record_fit(desk.ws, model, base=base.digest, data=[data], quarantined=True)
    return model


def planted_data(desk: Desk, kind: str, seed: int, *, planted: bool, labels: str) -> str:
    """Register the data of one organism or twin, in quarantine; returns its digest.

    It follows from the honest `labels`, the kind and the seed. Labels of another ledger (a shipped organism's) are
    known by their digest alone, and count as labels of the training split.
    """
    digest = hashlib.sha256(json.dumps([PLANTING, labels, kind, seed, planted]).encode()).hexdigest()
    name = f"{'planted' if planted else 'unplanted'} labels, {kind} {seed}"
    desk.ws.contains(digest, families=[("construction", "slips", "train")], quarantined=True, name=name)
    if labels in desk.ws.state.graph.nodes:
        desk.ws.use(labels, digest, "fit")
    return digest
