"""The studies that `--more` names: each a set of stages, then its numbers in one; played again by V2."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from superalign.pipeline.desk import Desk, measured
from superalign.pipeline.game.config import Further, StressConfig
from superalign.pipeline.game.studies.study import Study, StudyJob
from superalign.pipeline.pages import truth_signal


def study_of(name: Further) -> Study:
    """The module of a study, loaded when it is asked for."""
    return import_module(f"superalign.pipeline.game.studies.{name}")  # type: ignore[return-value]


def done_by(job: StudyJob) -> dict[str, Any]:
    """One job of any study; runs in a worker."""
    import torch

    torch.set_num_threads(1)
    return study_of(job.study).work(job)  # type: ignore[arg-type]


def study(desk: Desk, name: Further, subject: str) -> float:
    """Do one study, or find it done; returns the seconds that its jobs took, one after the other.

    `subject` is whom its numbers are about: the identity of the parent that writers descend from.
    """
    config: StressConfig = desk.config  # type: ignore[assignment]
    jobs = study_of(name).jobs(config)
    done = desk.stages(done_by, {job.stage: (job, "") for job in jobs})
    with desk.together(measured_stage(name)) as new:
        if new:
            told(desk, name, subject, {job.stage: done[job.stage] for job in jobs})
    stages, run = {job.stage for job in jobs}, desk.key("run")
    mine = [e.body for e in desk.ws.ledger.events("stage") if e.body["run"] == run and e.body["stage"] in stages]
    return round(sum(body["seconds"] for body in mine), 1)


def measured_stage(name: str) -> str:
    """The stage in which a study's numbers were written."""
    return f"{name}, measured"


def told(desk: Desk, name: Further, subject: str, done: Mapping[str, Any]) -> None:
    """Every number of a study as a measurement; what it rests on are the raw answers of its jobs."""
    signal = truth_signal(desk, "functions", "validation")
    inputs = tuple(desk.ws.store.put_json(raw) for raw in done.values())
    tags = {"stage": "game", "figure": "further", "game": desk.key("run"), "study": name}
    for one in study_of(name).told(list(done.values())):
        measured(
            desk,
            f"game.{name}.{one.name}",
            one.title,
            one.interval,
            subject=subject,
            signals=(signal,),
            inputs=inputs,
            tags=tags | {"what": one.name},
        )


def replay_further(desk: Desk, done: Any, config: StressConfig, subject: str) -> None:
    """The numbers of every finished study again, from stored answers."""
    for name in dict.fromkeys(config.more):
        if done(measured_stage(name)) is not None:
            told(desk, name, subject, {job.stage: done(job.stage) for job in study_of(name).jobs(config)})
