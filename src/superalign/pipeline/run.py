"""`superalign run`: the pipeline end to end, ending in `dossier.html`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import superalign
from superalign.evidence import Workspace
from superalign.pipeline.config import RunConfig, Sizes, sizes
from superalign.pipeline.desk import Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Where the ledger stands when the pipeline is done, and what the gate said."""

    workspace: Path
    verdicts: dict[str, str]
    head: str
    events: int
    seconds: float


def run(config: RunConfig, *, say: Callable[[str], None] = lambda text: None) -> RunResult:
    """Train, validate, stress-test and gate; everything is in the workspace's ledger afterwards.

    What an earlier, stopped run finished is not done again. Raises SuperalignError for a workspace that cannot be used
    and for models that cannot be loaded, before anything is written.
    """
    import torch

    from superalign.models import load_model
    from superalign.pipeline.gate import gate, plan
    from superalign.pipeline.stress import stress
    from superalign.pipeline.train import Sweep, declare_bases, fit_subject, sweep_pgr
    from superalign.pipeline.validate import fix_threshold, validate

    began = time.monotonic()
    weak, strong = load_model(config.weak), load_model(config.model)
    with Workspace.open(config.workspace, create=True) as ws:
        desk = Desk(ws=ws, config=config, sizes=sizes(config.preset), say=say)
        body = {
            "config": {k: str(v) for k, v in asdict(config).items() if k != "workspace"},
            "sizes": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(desk.sizes).items()},
            "version": superalign.__version__,
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
        declare_bases(desk, weak, strong)
        sweep = Sweep(desk, weak, strong)
        runs = sweep_pgr(desk, sweep)
        subject, _ = fit_subject(desk, sweep, runs)
        subject = fix_threshold(desk, subject)
        validate(desk, subject)
        rows = stress(desk, sweep, runs, subject)
        verdicts = gate(desk, rows, subject)
        head, events = ws.ledger.head, len(ws.ledger.events())
    return RunResult(
        workspace=config.workspace,
        verdicts=verdicts,
        head=head,
        events=events,
        seconds=round(time.monotonic() - began, 1),
    )


def expected_steps(shape: Sizes) -> int:
    """How many times `say` will be called in a run from scratch: what a progress bar counts to."""
    models = 2 * len(shape.kinds) * shape.organism_seeds
    return 6 + shape.seeds + 4 + 3 * models + 1
