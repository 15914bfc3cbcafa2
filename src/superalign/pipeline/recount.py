"""V2: every score recomputed from raw outputs and opened truths; nothing is asked of any model, nothing is written.

The scoring code of the run is played again over the stored answers, and what it says is compared with the ledger:
every measurement, claim and figure must follow, but for the wording of titles and notes, which the signature protects
and another version words otherwise. Needs numpy and scipy alone.

One thing is taken as stored: the thresholds of organisms and twins. They were fixed where these were trained, which may
be another machine, and came with their weights; `rerun` (V3) compares them with what the weights say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from superalign.evidence import Event, Finding, Tampered, Workspace, holdout
from superalign.evidence.truth import SealMissing
from superalign.pipeline.board_recount import boards_of, replay
from superalign.pipeline.desk import Desk
from superalign.pipeline.finetune_recount import finetunings_of, replay_finetuning
from superalign.pipeline.game.recount import games_of, replay_game
from superalign.pipeline.gate import decide
from superalign.pipeline.generalize_recount import replay_sweep, sweeps_of
from superalign.pipeline.held import ASK, score_admission, score_test
from superalign.pipeline.held import MEASURED as TESTED
from superalign.pipeline.imported import imports_of, replay_import
from superalign.pipeline.inside_scores import measure_search, search_stage
from superalign.pipeline.interpret_recount import interpretations_of, replay_interpretation
from superalign.pipeline.pages import dev_page, drawn, open_page, opened_pages, truth_signal
from superalign.pipeline.signals_recount import recount_signal
from superalign.pipeline.stored import MALFORMED, Run, Stored, runs_of
from superalign.pipeline.stress_scores import measure_install, score_rows
from superalign.pipeline.sweep_scores import measure_sweep
from superalign.pipeline.tally import Tally, strike, unexplained
from superalign.pipeline.validate_scores import BASE, MUTANTS, dev_threshold, measure_validation, missed, show_missed
from superalign.tasks.slips import slips

WORDING = ("title", "note")
"""Members of a measurement that are wording alone."""
TAKEN = (
    "the thresholds of {} organisms and twins are taken from their stored weights, not recomputed: level 3 compares "
    "them with what the weights say"
)


BESIDE: tuple[tuple[str, Callable[[Workspace], Any], Callable[..., None]], ...] = (
    ("leaderboard", boards_of, replay),
    ("sweep", sweeps_of, replay_sweep),
    ("interpretation", interpretations_of, replay_interpretation),
    ("stress test", games_of, replay_game),
    ("fine-tuning", finetunings_of, replay_finetuning),
    ("import", imports_of, replay_import),
)
"""What a workspace may hold beside runs: what it is called, how it is found, how its scores are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """What was recomputed: how many facts follow from raw outputs, what doesn't, and what is sealed here."""

    followed: int
    findings: tuple[Finding, ...]
    withheld: tuple[str, ...] = ()
    """Hold-outs whose released values can't be recomputed, for their seals are not in this copy."""
    notes: tuple[str, ...] = ()
    """What was taken as stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model as scoring knows it."""

    identity: str
    threshold: float


class Played(Tally):
    """What scoring says when it is played again, wording apart.

    What a stranger stored may make scoring say as much as it likes: the ledger's own length bounds it.
    """

    def __init__(self, ws: Workspace, facts: int) -> None:
        super().__init__(ws)
        self._most = 10 * facts + 1000

    def keep(self, type: str, body: Mapping[str, Any]) -> int:
        """Keep one fact; Tampered when there are far more than the ledger holds."""
        if len(self.said) >= self._most:
            raise Tampered(f"what is stored makes over {self._most} facts, far more than the ledger holds")
        return super().keep(type, _unworded(body))


def recount(path: Path) -> Recount:
    """Recompute every score of a workspace that V0 and V1 found nothing wrong with, read-only.

    Raises SuperalignError where there is none to open; whatever its objects hold otherwise is a finding.

    >>> recount(Path("run1")).findings   # doctest: +SKIP
    ()
    """
    with Workspace.open(path, create=False, write=False) as ws:
        try:
            return _recount(ws)
        except MALFORMED as error:
            what = f"the events can't be replayed ({type(error).__name__}: {error})"
            do = "see what level 1 says of this workspace"
            return Recount(followed=0, findings=(Finding(seq=None, what=f"{what:.300}", where="ledger.sqlite", do=do),))


def _recount(ws: Workspace) -> Recount:
    events = [e for e in ws.ledger.events() if e.type in ("measurement", "claim", "figure")]
    facts, findings = _readable(ws, events)
    runs, odd = runs_of(ws)
    findings += odd
    if others := [finding for run in runs if (finding := _other_items(run, ws))]:
        return Recount(followed=0, findings=(*findings, *others))
    taken = 0
    for run in runs:
        tally = Played(ws, len(events))
        try:
            taken += play(_desk(run, tally), Stored(ws, run))
        except MALFORMED as error:
            findings.append(run.unfit("the scores of this run can't be recomputed from what is stored", error))
        try:
            facts = strike(ws, tally, facts)
        except MALFORMED as error:
            findings.append(run.unfit("what this run says can't be compared with the ledger", error))
    again: list[tuple[Event, str, Callable[[Any, Workspace], None]]] = []
    for what, listed, replayed in BESIDE:
        found, odd = listed(ws)
        findings += odd
        events_of = ((each if isinstance(each, Event) else each.event, each) for each in found)
        again += [(event, what, partial(replayed, each)) for event, each in events_of]
    for event, what, play_again in again:
        tally = Played(ws, len(events))
        try:
            play_again(tally, ws)
            facts = strike(ws, tally, facts)
        except MALFORMED as error:
            what = f"the scores of this {what} can't be recomputed ({type(error).__name__}: {error})"
            do = "ask for the whole workspace, and who made it"
            seq = event.seq
            findings.append(Finding(seq=seq, what=f"{what:.300}", where=f"event {seq}", do=do))
    findings += [unexplained(ws, event) for event in facts]
    spent, withheld = _budgets(ws)
    followed = len(events) - len({f.seq for f in findings} & {e.seq for e in events})
    notes = (TAKEN.format(taken),) if taken else ()
    return Recount(followed=followed, findings=(*findings, *spent), withheld=withheld, notes=notes)


def _other_items(run: Run, ws: Workspace) -> Finding | None:
    """Scores are recomputed with the items that this version draws: of a run on others nothing follows."""
    stated = run.event.body.get("items")
    if stated is None or stated == drawn(_desk(run, Tally(ws))):
        return None
    version = str(run.event.body.get("version"))
    what = f"this version of superalign draws other items than the one that made this run ({version:.40})"
    do = "verify it with the version that made it: its scores can't be recomputed by this one"
    return Finding(seq=run.event.seq, what=what, where=f"event {run.event.seq}", do=do)


def _desk(run: Run, tally: Tally) -> Desk:
    return Desk(ws=tally, config=run.config, sizes=run.sizes, say=lambda text: None)  # type: ignore[arg-type]


def _readable(ws: Workspace, events: list[Event]) -> tuple[list[Event], list[Finding]]:
    """The facts, wording apart, and a finding for each figure whose data can't be read."""
    facts, findings = [], []
    for event in events:
        try:
            if event.type == "figure":
                ws.store.get_json(event.body["data"])
        except MALFORMED as error:
            what = f"the data of this figure can't be read ({type(error).__name__}: {error})"
            do = "ask for the whole workspace"
            findings.append(Finding(seq=event.seq, what=f"{what:.300}", where=f"event {event.seq}", do=do))
        else:
            facts.append(replace(event, body=_unworded(event.body)))
    return facts, findings


def _unworded(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in WORDING}


def play(desk: Desk, done: Stored) -> int:
    """The scoring of a run, as far as that run got; returns how many organisms' and twins' thresholds it took."""
    if done("validation, admitted") is not None:
        score_admission(desk)
    first = desk.config.seed
    runs = [done(f"weak to strong, seed {s}") for s in range(first, first + desk.sizes.seeds)]
    if done("weak to strong, measured") is None:
        return 0
    recount_signal(desk, done, runs)
    test = open_page(desk, slips(split="validation", view="pair", n=desk.sizes.test_pairs))
    signal = truth_signal(desk, "slips", "validation")
    strong = str(done("the bases, declared")["bases"][1])
    measure_sweep(desk, runs, test.truths, test.clusters, signal=signal, subject=strong, items=test.digest)
    if done("validation, measured") is None:
        return 0
    subject = _validated(desk, done)
    if done("stress, measured") is None:
        return 0
    rows = _stressed(desk, done, subject)
    if done("gate") is not None:
        decide(desk, rows, subject)
    return len(rows) - 1


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
    if done(TESTED) is not None:
        score_test(desk, done(ASK), subject)
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
    stages = [s for name in names for s in (f"blind audit of {name}", f"behaviour of {name}", search_stage(name))]
    said = {stage: done(stage) for stage in stages}
    scored = score_rows(desk, rows, names, said)
    measure_install(desk, scored)
    measure_search(desk, scored, said)
    return scored


def aliases_of(desk: Desk, rows: list[dict[str, Any]]) -> list[str]:
    """The alias of each row, by what was unsealed."""
    by_subject = {subject: alias for alias, subject in desk.ws.state.aliases.items()}
    return [by_subject[row["identity"]] for row in rows]


def _budgets(ws: Workspace) -> tuple[list[Finding], tuple[str, ...]]:
    """Released values that don't follow from the sealed answers and noise, and the hold-outs that stay sealed here."""
    findings, withheld = [], []
    for event in ws.ledger.events("budget"):
        family = event.body["family"]
        try:
            pairs = holdout.recount(ws, family)
        except SealMissing:
            withheld.append(family)
            continue
        except MALFORMED as error:
            findings.append(_unspent(event.seq, family, f"its answers can't be recomputed ({error!s:.200})"))
            continue
        asked = [e for e in ws.ledger.events("query") if ws.state.signals[e.body["signal"]].family == family]
        for query, (said, again) in zip(asked, pairs, strict=True):
            if not _agree(said, again):
                what = f"{said!r:.40} was released, and {again} follows from the sealed answers and noise"
                findings.append(_unspent(query.seq, family, what))
    return findings, tuple(sorted(withheld))


def _agree(said: Any, again: float) -> bool:
    number = isinstance(said, int | float) and not isinstance(said, bool) and math.isfinite(said)
    return number and abs(said - again) <= 1e-9


def _unspent(seq: int, family: str, what: str) -> Finding:
    return Finding(seq=seq, what=f"{family}: {what}", where=f"event {seq}", do="don't rely on this hold-out")
