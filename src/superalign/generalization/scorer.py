"""A scorer that can't be gamed: it takes models, never predictions, for seeds declared beforehand, within a budget.

    declare(ws, signal, "tempered", seeds=(0, 1, 2))                  # before anything was asked about them
    scored = submit(ws, signal, exam, {0: head_to_bytes(head), …}, name="tempered")
    scored.release.value                                              # all that the submitter hears

What was tried on other scorers, and why it fails here (docs/results/generalization.md): *flipping* single answers to
read off labels, for what is released is rounded to a standard error (`evidence.budgets`, the ladder); *picking seeds*,
for all declared seeds count, a missing one refuses the whole, and every further submission has to beat the best by more
than noise; *shortcuts* over order or frequency, for every pair is asked in both orders and a question counts as
right only as far as both are; executing or memorising the exam, for it is never handed out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from superalign.evidence import Answers, Release, SuperalignError, Workspace, holdout
from superalign.generalization.lesson import HeadStudent, Student
from superalign.generalization.material import Material, score
from superalign.generalization.reading import Reading
from superalign.training.heads import LinearHead

MOST_BYTES = 4 << 20
"""Of one head: a head is a few thousand numbers."""
PARTS = ("weight", "scale", "centre", "offset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What came of one submission."""

    release: Release
    subject: str
    """`name@digest` of all its heads."""
    tried: int
    """Subjects that were asked about before and with this one: of the best of many the value says less."""


def head_to_bytes(head: LinearHead) -> bytes:
    """A head as safetensors, float64: equal heads have equal bytes."""
    from safetensors.numpy import save

    width = len(head.weight)
    arrays = {part: np.broadcast_to(getattr(head, part), (1,) if part == "offset" else (width,)) for part in PARTS}
    return save({part: np.ascontiguousarray(array, dtype=np.float64) for part, array in arrays.items()})


def head_from_bytes(data: bytes, *, features: int, paired: bool) -> LinearHead:
    """A submitted head. Raises SuperalignError for anything that isn't one over so many features.

    A head for pairs has no centre and no offset: with either, it would answer by the order in which texts stand.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if len(data) > MOST_BYTES:
        raise SuperalignError(f"a head of {len(data):,} bytes: submit a linear head, {MOST_BYTES:,} bytes at most")
    try:
        held = load(data)
    except SafetensorError as error:
        raise SuperalignError(f"not a head in safetensors: {error}; write it with head_to_bytes") from error
    shapes = {part: tuple(array.shape) for part, array in held.items()}
    wanted = {part: (1,) if part == "offset" else (features,) for part in PARTS}
    if shapes != wanted:
        raise SuperalignError(f"a head with {shapes}: this exam is read with {features} features, so {wanted}")
    if not all(np.isfinite(array).all() for array in held.values()) or (held["scale"] <= 0).any():
        raise SuperalignError("a head with NaN, infinity, or a scale that is not above 0: fit it again")
    if paired and (held["centre"].any() or held["offset"].any()):
        raise SuperalignError("a head for pairs with a centre or an offset answers by their order: fit it without")
    return LinearHead(
        weight=held["weight"], scale=held["scale"], centre=held["centre"], offset=float(held["offset"][0])
    )


def declare(ws: Workspace, signal: str, name: str, seeds: Sequence[int]) -> None:
    """Say which seeds a submission will have; twice changes nothing. Raises SuperalignError for none, or others."""
    body = {"entry": name, "signal": signal, "seeds": sorted(int(seed) for seed in seeds)}
    if not body["seeds"] or len(set(seeds)) < len(body["seeds"]):
        raise SuperalignError(f"{name}: declare one seed or more, each once")
    known = declared(ws, signal, name)
    if known is not None and known != tuple(body["seeds"]):
        raise SuperalignError(f"{name} was declared with the seeds {known}: a new set of seeds needs a new name")
    if known is None:
        ws.ledger.append("plan", body, actor="evaluator")


def declared(ws: Workspace, signal: str, name: str) -> tuple[int, ...] | None:
    """The seeds that were declared under that name, None where none were."""
    for event in ws.ledger.events("plan"):
        if event.body.get("entry") == name and event.body.get("signal") == signal:
            return tuple(event.body["seeds"])
    return None


def submit(
    ws: Workspace,
    signal: str,
    exam: Material,
    heads: Mapping[int, bytes],
    *,
    name: str,
    fitted_to: Sequence[str],
    reading: str = "strong",
) -> Scored:
    """Run a submission on the exam and ask the hold-out about it; its budget has to be open (`holdout.open_budget`).

    `heads`: seed → `head_to_bytes`. `fitted_to`: digests of the model whose features they read and of the data they
    were fitted to, both in the ledger: who comes from nowhere counts as tainted by everything.
    Raises SuperalignError for seeds that were not declared, or are missing, and for heads that are none; FirewallError
    where they come from nowhere (R5) or the budget is spent.
    """
    wanted = declared(ws, signal, name)
    if wanted is None or set(heads) != set(wanted):
        raise SuperalignError(
            f"{name} comes with the seeds {sorted(heads)}, and declared are {wanted or 'none'}: submit each of those"
        )
    read = exam.readings[reading]
    students = [
        HeadStudent(head=head_from_bytes(heads[seed], features=read.x.shape[1], paired=read.paired)) for seed in wanted
    ]
    values = np.mean([right(student, read, exam.truth) for student in students], axis=0)
    digest = hashlib.sha256(b"".join(hashlib.sha256(heads[seed]).digest() for seed in wanted)).hexdigest()
    answers = Answers(values=tuple(map(float, values)), clusters=tuple(map(str, exam.clusters)))
    subject = f"{name}@{digest}"
    ws.node(kind="model", digest=digest, name=name)
    for source in fitted_to:
        ws.use(source, digest, "fit")
    release = holdout.ask(ws, signal, subject, answers)
    family = ws.state.signals[signal].family
    return Scored(release=release, subject=subject, tried=len({q["subject"] for q in ws.state.queries.get(family, ())}))


def right(student: Student, reading: Reading, truth: np.ndarray) -> np.ndarray:
    """(n,) how far a student is right, pairs asked in both orders and each order counted half."""
    straight = score(student.logits(reading), truth)
    if reading.second is None:
        return straight
    turned = replace(reading, first=reading.second, second=reading.first, belief=1 - reading.belief)
    return (straight + score(student.logits(turned), ~truth)) / 2
