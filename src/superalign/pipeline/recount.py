"""V2: every score recomputed from raw outputs and opened truths; nothing is asked of any model, nothing is written.

The scoring code of the run is played again over the stored answers, and what it says is compared with the ledger:
every measurement, claim and figure must follow. Needs numpy and scipy alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from superalign.evidence import Finding, SealBroken, SuperalignError, Tampered, Workspace, holdout
from superalign.pipeline.config import RunConfig, Sizes
from superalign.pipeline.desk import Desk
from superalign.pipeline.gate import decide
from superalign.pipeline.pages import dev_page, open_page, opened_pages, truth_signal
from superalign.pipeline.stress_scores import measure_install, score_rows
from superalign.pipeline.sweep_scores import measure_sweep
from superalign.pipeline.tally import Tally, strike, unexplained
from superalign.pipeline.validate_scores import BASE, MUTANTS, dev_threshold, measure_validation, missed, show_missed
from superalign.tasks.slips import slips

MALFORMED = (SuperalignError, KeyError, ValueError, IndexError, TypeError, AttributeError)
"""What scoring raises on a stranger's objects that are not what a run stores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """What was recomputed: how many facts follow from raw outputs, what doesn't, and what is sealed here."""

    followed: int
    findings: tuple[Finding, ...]
    withheld: tuple[str, ...] = ()
    """Hold-outs whose released values can't be recomputed, for their seals are not in this copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model as scoring knows it."""

    identity: str
    threshold: float


class Stored:
    """What one run stored, stage by stage."""

    def __init__(self, ws: Workspace, desk: Desk) -> None:
        mine = desk.key("run")
        self._ws = ws
        self._stages = [e.body for e in ws.ledger.events("stage") if e.body.get("run") == mine]

    def all(self, name: str) -> list[Any]:
        """Every result of stages of that name, oldest first."""
        return [self._ws.store.get_json(body["result"]) for body in self._stages if body["stage"] == name]

    def __call__(self, name: str) -> Any:
        """The last result of that stage; None when it wasn't reached."""
        found = self.all(name)
        return found[-1] if found else None


def recount(path: Path) -> Recount:
    """Recompute every score of a workspace, read-only. Raises SuperalignError where there is none to open.

    >>> recount(Path("run1")).findings   # doctest: +SKIP
    ()
    """
    with Workspace.open(path, create=False, write=False) as ws:
        open_events = [e for e in ws.ledger.events() if e.type in ("measurement", "claim", "figure")]
        findings: list[Finding] = []
        followed = len(open_events)
        for config, sizes in runs_of(ws):
            tally = Tally(ws)
            desk = Desk(ws=tally, config=config, sizes=sizes, say=lambda text: None)  # type: ignore[arg-type]
            try:
                play(desk, Stored(ws, desk))
            except MALFORMED as error:
                what = f"the scores of a run can't be recomputed from what is stored: {error!r:.300}"
                findings.append(Finding(seq=None, what=what, where="objects", do="ask for the whole workspace"))
            open_events = strike(ws, tally, open_events)
        findings += [unexplained(ws, event) for event in open_events]
        spent, withheld = _budgets(ws)
        return Recount(followed=followed - len(open_events), findings=(*findings, *spent), withheld=withheld)


def runs_of(ws: Workspace) -> Iterator[tuple[RunConfig, Sizes]]:
    """The configurations that a workspace was run with."""
    for event in ws.ledger.events("run"):
        config, sizes = event.body.get("config"), event.body.get("sizes")
        if not isinstance(config, dict) or not isinstance(sizes, dict):
            continue  # another program's run: its measurements stay unexplained
        chosen = {k: config[k] for k in ("preset", "model", "weak", "organisms")}
        chosen["train_seeds"] = int(config["train_seeds"])
        kept = {f.name: sizes[f.name] for f in fields(Sizes) if f.name in sizes}
        yield (
            RunConfig(workspace=ws.path, seed=int(config["seed"]), **chosen),
            Sizes(**{k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}),
        )


def play(desk: Desk, done: Stored) -> None:
    """The scoring of a run, as far as that run got."""
    first = desk.config.seed
    runs = [done(f"weak to strong, seed {s}") for s in range(first, first + desk.sizes.seeds)]
    if done("weak to strong, measured") is None:
        return
    test = open_page(desk, slips(split="validation", view="pair", n=desk.sizes.test_pairs))
    signal = truth_signal(desk, "slips", "validation")
    strong = str(done("the bases, declared")["bases"][1])
    measure_sweep(desk, runs, test.truths, test.clusters, signal=signal, subject=strong, items=test.digest)
    if done("validation, measured") is None:
        return
    subject = _validated(desk, done)
    if done("stress, measured") is None:
        return
    rows = _stressed(desk, done, subject)
    if done("gate") is not None:
        decide(desk, rows, subject)


def the_subject(desk: Desk, done: Stored) -> Subject:
    """The subject with the threshold that follows from what it said about dev."""
    threshold = dev_threshold(done("ask the subject about dev files"), open_page(desk, dev_page(desk)))
    return Subject(identity=done("the subject, its threshold fixed")["identity"], threshold=threshold)


def _validated(desk: Desk, done: Stored) -> Subject:
    subject, pages = the_subject(desk, done), opened_pages(desk)
    stages = (
        "ask the subject about held-out files",
        "probe the subject's activations",
        "name the wrong step of calculations",
        MUTANTS,
    )
    said = {stage: done(stage) for stage in (*stages, BASE)}
    measure_validation(desk, pages, said, subject)
    repairs = done("ask for repairs of what it missed")
    if done("what it missed, shown") is not None:
        show_missed(desk, missed(desk, pages["pairs"], said), repairs, subject)
    return subject


def planted_rows(desk: Desk, done: Stored) -> list[dict[str, Any]]:
    """Every organism's and twin's row, in the order of the run."""
    rows = {(row["kind"], row["seed"], row["planted"]): row for row in done.all("plant")}
    order = product(range(desk.sizes.organism_seeds), desk.sizes.kinds, (True, False))
    return [rows[kind, seed, planted] for seed, kind, planted in order if (kind, seed, planted) in rows]


def _stressed(desk: Desk, done: Stored, subject: Subject) -> list[dict[str, Any]]:
    mine = {"kind": "subject", "seed": desk.config.seed, "planted": None}
    rows = [*planted_rows(desk, done), mine | {"identity": subject.identity, "threshold": subject.threshold}]
    names = aliases_of(desk, rows)
    said = {stage: done(stage) for name in names for stage in (f"blind audit of {name}", f"behaviour of {name}")}
    scored = score_rows(desk, rows, names, said)
    measure_install(desk, scored)
    return scored


def aliases_of(desk: Desk, rows: list[dict[str, Any]]) -> list[str]:
    """The alias of each row, by what was unsealed."""
    by_subject = {subject: alias for alias, subject in desk.ws.state.aliases.items()}
    return [by_subject[row["identity"]] for row in rows]


def _budgets(ws: Workspace) -> tuple[list[Finding], tuple[str, ...]]:
    """Released values that don't follow from the sealed answers and noise, and the hold-outs that stay sealed here."""
    findings, withheld = [], []
    for family in sorted(ws.state.budgets):
        try:
            pairs = holdout.recount(ws, family)
        except SealBroken:
            withheld.append(family)
            continue
        except Tampered as error:
            pairs, what = [], str(error)
            findings.append(Finding(seq=None, what=what, where=family, do="don't rely on this hold-out"))
        for at, (said, again) in enumerate(pairs):
            if abs(said - again) > 1e-9:
                what = f"query {at} released {said}, and {again} follows from the sealed answers and noise"
                findings.append(Finding(seq=None, what=what, where=family, do="don't rely on this hold-out"))
    return findings, tuple(withheld)
