"""`superalign run`: the pipeline end to end, ending in `dossier.html`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import superalign
from superalign.evidence import Workspace
from superalign.pipeline.config import RunConfig, Sizes, sizes
from superalign.pipeline.desk import Desk, stated
from superalign.pipeline.inside_scores import CIRCUMSTANCE

if TYPE_CHECKING:
    from superalign.models import LocalModel


Stage = Literal["train", "validate", "stress", "gate"]
STAGES: tuple[Stage, ...] = ("train", "validate", "stress", "gate")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Where the ledger stands when the pipeline is done, and what the gate said (nothing before it was reached)."""

    workspace: Path
    verdicts: dict[str, str]
    head: str
    events: int
    seconds: float


def run(config: RunConfig, *, until: Stage = "gate", say: Callable[[str], None] = lambda text: None) -> RunResult:
    """Train, validate, stress-test and gate, or only `until` one of these; all is in the workspace's ledger then.

    What an earlier, stopped or shorter run finished is not done again. Raises SuperalignError for a workspace that
    cannot be used, for models that cannot be loaded and for those whose context is too short for the run's texts,
    before anything is written.
    """
    import torch

    from superalign.models import load_model
    from superalign.pipeline.gate import plan
    from superalign.pipeline.pages import drawn
    from superalign.pipeline.room import check_room
    from superalign.pipeline.signals import check_signal
    from superalign.pipeline.train import check_method

    check_signal(config.signal)
    check_method(config.method)
    began, shape = time.monotonic(), sizes(config.preset)
    weak, strong = load_model(config.weak), load_model(config.model)
    check_room(shape, weak, strong)
    with Workspace.open(config.workspace, create=True) as ws:
        desk = Desk(ws=ws, config=config, sizes=shape, say=say)
        body = {
            "config": stated(config),
            "sizes": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(desk.sizes).items()},
            "version": superalign.__version__,
            "items": drawn(desk),
            "machine": {
                "cpus": os.cpu_count(),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "system": platform.system(),
            },
        }
        if not any(event.body == body for event in ws.ledger.events("run")):
            ws.ledger.append("run", body, actor="notary")
        plan(desk)
        verdicts = _play(desk, weak, strong, STAGES.index(until))
        head, events = ws.ledger.head, len(ws.ledger.events())
    return RunResult(
        workspace=config.workspace,
        verdicts=verdicts,
        head=head,
        events=events,
        seconds=round(time.monotonic() - began, 1),
    )


def _play(desk: Desk, weak: LocalModel, strong: LocalModel, last: int) -> dict[str, str]:
    from superalign.pipeline.gate import gate
    from superalign.pipeline.held import admit_validation
    from superalign.pipeline.pages import fingerprint
    from superalign.pipeline.stress import stress
    from superalign.pipeline.train import Sweep, declare_bases, fit_subject, sweep_pgr
    from superalign.pipeline.validate import fix_threshold, validate

    declare_bases(desk, weak, strong, addresses=(desk.config.weak, desk.config.model))
    fingerprint(desk)
    admit_validation(desk)
    sweep = Sweep(desk, weak, strong)
    runs = sweep_pgr(desk, sweep)
    subject, _ = fit_subject(desk, sweep, runs)
    if last < STAGES.index("validate"):
        return {}
    subject = fix_threshold(desk, subject)
    validate(desk, subject, strong)
    if last < STAGES.index("stress"):
        return {}
    rows = stress(desk, sweep, runs, subject)
    return gate(desk, rows, subject) if last == STAGES.index("gate") else {}


def expected_steps(shape: Sizes, *, until: Stage = "gate") -> int:
    """How many times `say` will be called at most in a run from scratch: what a progress bar counts to."""
    models = 2 * len(shape.kinds) * shape.organism_seeds
    searched = shape.organism_seeds * len(CIRCUMSTANCE.keys() & set(shape.kinds))
    steps = [6 + shape.seeds + 1, 9, 3 * models + searched + 2, 0]
    return sum(steps[: STAGES.index(until) + 1])
