"""Quarantine: organisms, twins and decoys of the game, off the shelf or trained now, each registered with its data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from superalign.adversarial.shelf import Wanted, find, keep
from superalign.adversarial.writers import find_writer, keep_writer, plant_writer
from superalign.engine import run_parallel
from superalign.models import LocalModel, read_manifest, unpack_change
from superalign.pipeline.audited import threshold_items
from superalign.pipeline.desk import Desk
from superalign.pipeline.game.config import StressConfig
from superalign.pipeline.game.places import Place, Row, places
from superalign.pipeline.organisms import PlantJob, plant, planted_data
from superalign.tasks.slips import slips
from superalign.training.record import plan_fit, record_fit
from superalign.training.reviewer import ReviewerRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantWriter:
    """A writer to be trained in a worker."""

    place: Place


def trained(job: PlantWriter | PlantJob) -> bytes:
    """Train one model; runs in a worker."""
    if isinstance(job, PlantJob):
        return plant(job)
    import torch

    torch.set_num_threads(1)
    return plant_writer(job.place.kind, job.place.seed, job.place.role)


def quartered(desk: Desk, reviewers: LocalModel | None, writers: LocalModel | None) -> list[Row]:
    """One row for every model of the game, in the order of `places`: from the store, the shelf, or trained now."""
    config: StressConfig = desk.config  # type: ignore[assignment]
    every = places(config, desk.sizes)  # type: ignore[arg-type]
    found = {place: desk.finished(place.name) for place in every}
    jobs: list[tuple[Place, PlantWriter | PlantJob]] = []
    for place in every:
        if found[place] is not None:
            continue
        data = None if config.organisms == "train" else _on_shelf(place, reviewers, writers)
        if data is not None:
            found[place] = desk.finish(place.name, _row(desk, place, *data), seconds=0.0, actor="trainer")
            continue
        jobs.append((place, _job(desk, place, reviewers)))
        plan_fit(
            desk.ws,
            name=place.name,
            base=(writers if place.side == "writer" else reviewers).digest,  # type: ignore[union-attr]
            data=[_data(desk, place, _labels(desk))],
            quarantined=True,
        )
    for count, done in enumerate(run_parallel(trained, [job for _, job in jobs], workers=config.workers), 1):
        place = jobs[done.index][0]
        desk.say(f"organisms, twins and decoys trained: {count} of {len(jobs)}")
        _keep(place, reviewers, done.result)
        row = _row(desk, place, done.result, "trained")
        found[place] = desk.finish(place.name, row, seconds=done.seconds, actor="trainer")
    return [found[place] for place in every]


def _wanted(place: Place, base: LocalModel) -> Wanted:
    return Wanted(kind=place.kind, seed=place.seed, base=base.digest, recipe=ReviewerRecipe(steps=400), pairs=0)


def _on_shelf(place: Place, reviewers: LocalModel | None, writers: LocalModel | None) -> tuple[bytes, str] | None:
    """Packed change and where it is from; None where no shelf has it."""
    if place.side == "writer":
        data = find_writer(place.kind, place.seed, place.role, writers)
        return None if data is None else (data, "shelf")
    assert reviewers is not None
    pair = find(_wanted(place, reviewers), reviewers)
    if pair is None:
        return None
    return (pair.organism if place.role == "organism" else pair.twin), pair.source


def _keep(place: Place, reviewers: LocalModel | None, data: bytes) -> None:
    if place.side == "writer":
        keep_writer(place.kind, place.seed, place.role, data)
    else:
        assert reviewers is not None
        keep(_wanted(place, reviewers), data, planted=place.role == "organism")


def _job(desk: Desk, place: Place, reviewers: LocalModel | None) -> PlantWriter | PlantJob:
    if place.side == "writer":
        return PlantWriter(place=place)
    assert reviewers is not None
    pairs, alterations, prefer = _taught(desk)
    return PlantJob(
        wanted=_wanted(place, reviewers),
        planted=place.role == "organism",
        model=desk.config.model,
        pairs=pairs,
        alterations=alterations,
        prefer=prefer,
        labels=_labels(desk),
        dev=threshold_items(desk),
    )


def _taught(desk: Desk) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...], tuple[float, ...]]:
    """Training pairs with their true labels: here nobody's oversight is under test but the auditor's."""
    page = slips(split="train", view="pair", n=desk.sizes.train_pairs)
    truths = [page.truths[item.id] for item in page.items]
    pairs = tuple((item.input["a"], item.input["b"]) for item in page.items)
    return pairs, tuple(t["kind"] for t in truths), tuple(float(t["answer"] == 0) for t in truths)


def _labels(desk: Desk) -> str:
    """Digest of the labels that reviewers are trained on here."""
    return hashlib.sha256(f"true labels of slips/train, {desk.sizes.train_pairs}".encode()).hexdigest()


def _row(desk: Desk, place: Place, data: bytes, source: str) -> Row:
    manifest = read_manifest(data)
    labels = manifest["notes"].get("labels", "") or _labels(desk)
    return {
        "side": place.side,
        "kind": place.kind,
        "seed": place.seed,
        "role": place.role,
        "planted": place.role == "organism",
        "source": source,
        "labels": labels,
        "identity": f"{manifest['name']}@{manifest['digest']}",
        "threshold": manifest["threshold"],
        "weights": desk.ws.store.put(data),
    }


def _data(desk: Desk, place: Place, labels: str) -> str:
    """Register the data of one model, in quarantine; returns its digest."""
    if place.side == "reviewer":
        return planted_data(desk, place.kind, place.seed, planted=place.role == "organism", labels=labels)
    digest = hashlib.sha256(json.dumps(["writer", place.kind, place.seed, place.role]).encode()).hexdigest()
    name = f"programs of {place.name}"
    desk.ws.contains(digest, families=[("construction", "functions", "train")], quarantined=True, name=name)
    return digest


def loaded(
    desk: Desk, rows: list[Row], reviewers: LocalModel | None, writers: LocalModel | None
) -> Iterator[LocalModel]:
    """Every model out of the store, registered in quarantine with its own data."""
    for row in rows:
        base = writers if row["side"] == "writer" else reviewers
        assert base is not None
        model = unpack_change(desk.ws.store.get(row["weights"]), base, allow_organism=True)
        place = Place(side=row["side"], kind=row["kind"], seed=row["seed"], role=row["role"])
        record_fit(desk.ws, model, base=base.digest, data=[_data(desk, place, row["labels"])], quarantined=True)
        yield model
