"""Stress-test: organisms and twins are shown to carry their behaviour, then audited blind beside the subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from superalign.models import LocalModel, pack, read_manifest
from superalign.models.change import repacked
from superalign.pipeline.asking import AuditJob, BehaviourJob, SearchJob, answer
from superalign.pipeline.audited import audited_items, behaviour_items
from superalign.pipeline.belief import fit_belief
from superalign.pipeline.desk import Desk
from superalign.pipeline.inside_scores import BELIEF, CIRCUMSTANCE, measure_search, search_stage
from superalign.pipeline.organisms import load_organism, organisms
from superalign.pipeline.stress_scores import measure_install, score_rows
from superalign.pipeline.train import Sweep


def aliases(desk: Desk, subjects: Sequence[LocalModel]) -> list[str]:
    """An opaque alias for each model, in an order that only a sealed commitment knows."""
    order = np.random.default_rng([desk.config.seed, 97]).permutation(len(subjects))
    names = [f"m{place:02d}" for place in np.argsort(order)]
    for name, model in sorted(zip(names, subjects, strict=True), key=lambda pair: pair[0]):
        desk.ws.alias(name, model.identity)
    return names


def stress(desk: Desk, sweep: Sweep, runs: list[dict[str, Any]], subject: LocalModel) -> list[dict[str, Any]]:
    """Plant, audit blind, then unseal; returns one row per audited model, truth and suspicions side by side."""
    rows = organisms(desk, sweep, runs)
    everyone = [*(load_organism(desk, row, sweep.strong) for row in rows), subject]
    names = aliases(desk, everyone)
    packed = desk.stage(
        "the subject, packed", lambda: {"weights": desk.ws.store.put(_packed(desk, subject))}, subject.digest
    )
    stored = [*(row["weights"] for row in rows), packed["weights"]]
    digests = [model.digest for model in everyone]
    belief = desk.stage(BELIEF, lambda: fit_belief(sweep.strong, behaviour_items(desk)), sweep.strong.digest)
    audited = audit_jobs(desk, digests, names, stored, belief)
    behaved, searched = behaviour_jobs(desk, digests, names, rows), search_jobs(desk, digests, names, rows)
    done = desk.stages(answer, audited | behaved | searched)
    mine = {"kind": "subject", "seed": desk.config.seed, "planted": None, "identity": subject.identity}
    asked = [*rows, mine | {"threshold": subject.threshold}]
    scored = score_rows(desk, asked, names, done)
    with desk.together("stress, measured") as new:
        if new:
            for name in names:
                desk.ws.unseal(name)
            measure_install(desk, scored)
            measure_search(desk, scored, done)
    return scored


def _packed(desk: Desk, subject: LocalModel) -> bytes:
    """The subject with its threshold, stored as it was when it was fitted: whole, or what changed in its base."""
    fitted = desk.finished("fit the subject")
    data = desk.ws.store.get(fitted["weights"]) if fitted else b""
    return repacked(data, subject) if data and "base" in read_manifest(data) else pack(subject)


Jobs = dict[str, tuple[Any, str]]
"""Stage name → (job, digest of the model it is about)."""


def audit_jobs(
    desk: Desk, digests: list[str], names: list[str], stored: list[str], belief: dict[str, Any] | None
) -> Jobs:
    """A blind audit of every alias, in the order of the aliases; from inside too where there are probes (`belief`)."""
    items = audited_items(desk)
    lines = None if belief is None else tuple(tuple(line) for line in belief["lines"])
    return {
        f"blind audit of {name}": (
            AuditJob(
                weights=desk.ws.store.path(weights),
                base=desk.config.model,
                alias=name,
                items=items,
                sweep=desk.sizes.audit_sweep,
                seed=desk.config.seed,
                searched=desk.sizes.search_pairs,
                lines=lines,
            ),
            digest,
        )
        for name, weights, digest in sorted(zip(names, stored, digests, strict=True))
    }


def behaviour_jobs(desk: Desk, digests: list[str], names: list[str], rows: list[dict[str, Any]]) -> Jobs:
    """A look at each organism and twin on, near and off its circumstance."""
    held = behaviour_items(desk)
    return {
        f"behaviour of {name}": (
            BehaviourJob(
                weights=desk.ws.store.path(row["weights"]),
                base=desk.config.model,
                kind=row["kind"],
                seed=row["seed"],
                held=held,
                counts={"on": desk.sizes.install_on, "near": desk.sizes.install_near, "off": desk.sizes.install_pairs},
            ),
            digest,
        )
        for row, digest, name in zip(rows, digests, names, strict=False)
    }


def search_jobs(desk: Desk, digests: list[str], names: list[str], rows: list[dict[str, Any]]) -> Jobs:
    """A search for the behaviour of each organism that acts by its context, its twin beside it."""
    items, path = audited_items(desk)[desk.sizes.audit_sweep :], desk.ws.store.path
    twins = {(row["kind"], row["seed"]): row for row in rows if not row["planted"]}
    return {
        search_stage(name): (
            SearchJob(
                weights=path(row["weights"]),
                twin=path(twins[row["kind"], row["seed"]]["weights"]),
                base=desk.config.model,
                where=CIRCUMSTANCE[row["kind"]],
                items=items,
                searched=desk.sizes.search_pairs,
                seed=desk.config.seed,
            ),
            digest,
        )
        for row, digest, name in zip(rows, digests, names, strict=False)
        if row["planted"] and row["kind"] in CIRCUMSTANCE
    }
