"""Hold-outs as the pipeline uses them: what validates is admitted before it measures, and test says one number, once.

Admission needs three models that know nothing and must score nothing: *null* prefers neither text, *constant* always
the first, *garbage* throws a coin. Test is asked about the subject alone, for the plan that was sealed at the start;
then the family is burned, and another run in the same workspace gets no second number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from superalign.evidence import Answers, FirewallError, holdout
from superalign.pipeline.desk import Desk, Named, measured
from superalign.pipeline.pages import Opened, opened_pages, opened_test, truth_signal
from superalign.stats import proportion_interval

CONTROLS = {
    "null": "it prefers neither text",
    "constant": "it always prefers the first text",
    "garbage": "it prefers one text at random",
}
DESIGN_EFFECT = 2.0
"""Assumed, since a family is admitted before anything is known of it; the intervals of paired accuracy on slips in
docs/benchmarks.md give .9 to 1.7."""
SURE = 0.999
"""Level of the controls' intervals: a coin that knows nothing looks better than chance once in two thousand times."""
FAMILIES = {"slips": "pairs", "traces": "calculations", "mutants": "mutants"}
"""Task → its pairs among the pages that are opened for validation."""
ASK, MEASURED = "ask the subject about test files, once", "test, asked once"


def admit_validation(desk: Desk) -> None:
    """Measure the controls on every validation family and admit it; a refusal is written down, and nothing stops."""
    with desk.together("validation, admitted") as new:
        if new:
            pages = opened_pages(desk)
            for task, page in FAMILIES.items():
                _admit(desk, pages[page], task, "validation")


def measure_controls(desk: Desk, page: Opened, task: str, split: str) -> dict[str, int]:
    """Paired accuracy of the three models that know nothing; control → the measurement's number."""
    rng = np.random.default_rng([desk.config.seed, 71])
    right = {
        "null": np.full(len(page.truths), 0.5),
        "constant": (page.answers == 0).astype(float),
        "garbage": (rng.integers(2, size=len(page.truths)) == page.answers).astype(float),
    }
    return {
        name: measured(
            desk,
            f"control.{name}.{task}.{split}",
            f"A model that knows nothing, on {task}/{split}: {what}",
            proportion_interval(right[name], clusters=page.clusters, level=SURE),
            subject=f"control-{name}@{_digest(name)}",
            signals=(truth_signal(desk, task, split),),
            inputs=(page.digest,),
            role="dev",
            tags={"stage": "validate", "figure": "control", "task": task, "split": split, "control": name},
        )
        for name, what in CONTROLS.items()
    }


def ask_once(desk: Desk, said: Mapping[str, Any], subject: Named) -> None:
    """Admit test, open its budget of one, ask it about the subject, and measure what was released.

    Where the family was burned by an earlier run, nothing is measured, and a note says so.
    """
    with desk.together(MEASURED, subject.identity.rpartition("@")[2]) as new:
        if not new:
            return
        if desk.ws.state.queries.get("construction/slips/test"):
            _note(desk, "construction/slips/test was asked before and is burned: this run has no test number")
            return
        page, signal = opened_test(desk), truth_signal(desk, "slips", "test")
        if not _admit(desk, page, "slips", "test"):
            return
        holdout.open_budget(desk.ws, "construction/slips/test", mechanism="single-shot")
        sealed = desk.ws.ledger.events("plan")[0].digest
        holdout.ask(desk.ws, signal, subject.identity, answers_of(page, said), plan=sealed)
        measure_test(desk, page, said, subject)


def score_admission(desk: Desk) -> None:
    """The controls of every validation family, again."""
    pages = opened_pages(desk)
    for task, page in FAMILIES.items():
        measure_controls(desk, pages[page], task, "validation")


def score_test(desk: Desk, said: Mapping[str, Any], subject: Named) -> None:
    """Test's controls and its number, again; of a family that an earlier run burned there is nothing to score."""
    asked = [query["subject"] for query in desk.ws.state.queries.get("construction/slips/test", ())]
    if asked and subject.identity not in asked:
        return
    page = opened_test(desk)
    measure_controls(desk, page, "slips", "test")
    if asked:
        measure_test(desk, page, said, subject)


def answers_of(page: Opened, said: Mapping[str, Any]) -> Answers:
    """Right (1), tied (½) or wrong (0) on every pair."""
    rewards, rows = np.array(said["rewards"]).reshape(-1, 2), np.arange(len(page.truths))
    sound, altered = rewards[rows, page.answers], rewards[rows, 1 - page.answers]
    right = np.where(sound == altered, 0.5, sound > altered)
    return Answers(values=tuple(map(float, right)), clusters=tuple(page.clusters.tolist()))


def measure_test(desk: Desk, page: Opened, said: Mapping[str, Any], subject: Named) -> None:
    """The one number of test, as it was released."""
    answers = answers_of(page, said)
    found = proportion_interval(answers.values, clusters=np.array(answers.clusters))
    measured(
        desk,
        "accuracy.test",
        "Paired accuracy on test files: asked once, for the plan sealed before",
        replace(found, value=answers.mean),
        subject=subject.identity,
        signals=(truth_signal(desk, "slips", "test"),),
        inputs=(page.digest, desk.ws.store.put_json(dict(said))),
        role="test",
        tags={"stage": "validate", "figure": "accuracy", "view": "pair", "alteration": "test (asked once)"},
    )


def _admit(desk: Desk, page: Opened, task: str, split: str) -> bool:
    for name, what in CONTROLS.items():
        desk.ws.node(kind="model", digest=_digest(name), name=f"control-{name}", actor="evaluator")
        desk.ws.base(_digest(name), reason=f"a model that knows nothing: {what}")
    controls = measure_controls(desk, page, task, split)
    signal, n = truth_signal(desk, task, split), int(len(page.truths) / DESIGN_EFFECT)
    try:
        holdout.admit(desk.ws, signal, chance=0.5, baseline=0.5, n=n, controls=controls)
    except FirewallError as error:
        _note(desk, f"{task}/{split} is not admitted: {error.message}")
        return False
    return True


def _note(desk: Desk, text: str) -> None:
    desk.ws.ledger.append("note", {"text": text}, actor="evaluator")


def _digest(control: str) -> str:
    return hashlib.sha256(f"a model that knows nothing: {CONTROLS[control]}".encode()).hexdigest()
