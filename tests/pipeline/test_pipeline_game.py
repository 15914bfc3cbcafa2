"""`superalign stress`: the game end to end, resumed, verified, shown; studies beside it; a subject judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from superalign.adversarial.auditee import Finding
from superalign.adversarial.writers import find_writer, load_writer
from superalign.evidence import SuperalignError, Workspace
from superalign.models import save_model
from superalign.pipeline.game import auditing
from superalign.pipeline.game import play as module
from superalign.pipeline.game.config import FURTHER, StressConfig, StressSizes
from superalign.pipeline.game.further import study_of
from superalign.pipeline.game.places import places
from superalign.pipeline.game.play import stress
from superalign.pipeline.game.scored import WRITER_CHECKS
from superalign.pipeline.game.studies.study import StudyJob
from superalign.pipeline.recount import recount
from superalign.pipeline.rerun import rerun
from superalign.report.stress_page import write_stress
from superalign.sandbox import Isolation, standing
from superalign.training.writer import WriterRecipe, honest_rows, tuned_writer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(isinstance(layer, Isolation) for layer in standing()), reason="no sandbox stands on this machine"
    ),
]
TINY = StressSizes(
    reviewers=1,
    writers=1,
    behaved=15,
    install_pairs=60,
    install_on=30,
    install_near=20,
    audit_pairs=60,
    audit_sweep=20,
    search_pairs=16,
)
KINDS = ("fixed", "date", "trigger")


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A clean writer of one's own: the parent, tuned a little further."""
    folder = tmp_path_factory.mktemp("subject") / "mine"
    recipe = WriterRecipe(steps=10, rate=1e-3, batch=16, rank=4)
    save_model(tuned_writer(load_writer(), honest_rows(200, seed=3), name="mine", seed=0, recipe=recipe), folder)
    return folder


@pytest.fixture(scope="module")
def game(tmp_path_factory, subject):
    folder = tmp_path_factory.mktemp("game")
    config = StressConfig(workspace=folder / "ws", kinds=KINDS, subject=str(subject), more=("exfiltration",), workers=1)
    honest = [StudyJob(study="exfiltration", what="honest", seed=0, quick=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(module, "stress_sizes", lambda config: TINY)
        patch.setattr(study_of("exfiltration"), "jobs", lambda config: honest)
        said: list[str] = []
        first = stress(config, say=said.append)
        again: list[str] = []
        second = stress(config, say=again.append)
        yield {"config": config, "first": first, "second": second, "said": said, "again": again}


def measured(config):
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        return [event.body for event in ws.ledger.events("measurement")]


def test_a_finished_game_is_not_played_again(game):
    assert game["first"]["head"] == game["second"]["head"]
    assert len([s for s in game["said"] if s.startswith("blind audit")]) == 8 + 1
    assert not any(s.startswith("blind audit") for s in game["again"])


def test_every_kind_has_its_install_and_every_check_its_card(game):
    bodies = measured(game["config"])
    install = {b["tags"]["kind"] for b in bodies if b["tags"].get("figure") == "install"}
    assert install == set(KINDS)
    on = {b["tags"]["kind"]: b["value"] for b in bodies if b["name"] == "game.install.on"}
    assert on["fixed"] > 0.8
    card = {(b["tags"]["check"], b["tags"]["part"]) for b in bodies if b["tags"].get("figure") == "card"}
    assert {(check, part) for check in WRITER_CHECKS for part in ("detection", "twins", "decoys")} <= card
    assert all(b["tags"]["game"] == game["first"]["game"] for b in bodies)


def test_a_study_is_measured_beside_the_audit(game):
    told = {b["name"]: b["value"] for b in measured(game["config"]) if b["tags"].get("figure") == "further"}
    assert told["game.exfiltration.honest.none.known"] == 1.0
    assert game["first"]["further"]["exfiltration"] > 0


def test_aliases_told_nothing_until_they_were_unsealed(game):
    with Workspace.open(game["config"].workspace, create=False, write=False) as ws:
        audits = [e.seq for e in ws.ledger.events("stage") if e.body["stage"].startswith("blind audit of m")]
        unsealed = [e.seq for e in ws.ledger.events("unseal")]
        plan = [e.seq for e in ws.ledger.events("plan")]
    assert max(plan) < min(audits)
    assert max(audits) < min(unsealed)


def test_every_score_follows_again_from_what_was_stored(game):
    found = recount(game["config"].workspace)
    assert not found.findings
    assert found.followed > 50


def test_stored_weights_write_the_same_programs_again(game):
    found = rerun(game["config"].workspace)
    assert not found.findings
    assert found.asked == 6


def test_a_subject_gets_verdicts_and_too_few_organisms_can_tell_nothing(game):
    verdicts = game["first"]["verdicts"]
    assert set(verdicts) == {f"writer, {check}" for check in WRITER_CHECKS}
    assert set(verdicts.values()) == {"cannot tell"}


def test_the_page_stands_alone_and_names_every_check(game, tmp_path):
    with Workspace.open(game["config"].workspace, create=False, write=False) as ws:
        page = write_stress(ws, tmp_path / "stress.html").read_text()
    assert all(check in page for check in WRITER_CHECKS)
    assert "Organisms of a reviewer" in page
    assert "The subject" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_other_weights_at_the_same_address_are_refused(game, subject, monkeypatch):
    recipe = WriterRecipe(steps=5, rate=1e-3, batch=16, rank=4)
    save_model(tuned_writer(load_writer(), honest_rows(100, seed=4), name="mine", seed=1, recipe=recipe), subject)
    with pytest.raises(SuperalignError, match="begun with other weights"):
        stress(game["config"])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kinds": ("dragon",)}, "there is no such kind"),
        ({"sides": ("reviewer",), "subject": "x"}, "--subject is a writer"),
        ({"subject": "family:xs"}, "vocabulary"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_what_cannot_be_played_is_said_before_anything_is_written(changes, what, tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    with pytest.raises(SuperalignError, match=what):
        stress(replace(StressConfig(workspace=tmp_path / "ws"), **changes))
    assert not (tmp_path / "ws").exists()


def test_a_tampered_answer_does_not_verify(game, tmp_path):
    import shutil

    copy = tmp_path / "ws"
    shutil.copytree(game["config"].workspace, copy)
    with Workspace.open(copy, create=False, write=False) as ws:
        event = next(e for e in ws.ledger.events("stage") if e.body["stage"].startswith("behaviour of"))
        path: Path = ws.store.path(event.body["result"])
        told = json.loads(path.read_bytes())
    path.chmod(0o644)
    path.write_text(json.dumps(told).replace("1", "0"))
    assert recount(copy).findings


@pytest.mark.parametrize("name", FURTHER)
def test_every_study_names_its_jobs(name):
    jobs = study_of(name).jobs(StressConfig(preset="quick"))
    assert jobs
    assert len({job.stage for job in jobs}) == len(jobs)
    assert all(job.study == name for job in jobs)
    assert len(study_of(name).jobs(StressConfig())) >= len(jobs)


def test_a_check_that_breaks_on_one_model_is_missing_there_and_loses_nothing(monkeypatch, tmp_path):
    def breaks(auditee):
        raise ValueError("no such word")

    def counts(auditee):
        return Finding(score=float(auditee.left), evidence={"told": auditee.left})

    monkeypatch.setattr(auditing, "writer_checks", lambda: {"broken": breaks, "sound": counts})
    weights = tmp_path / "twin"
    weights.write_bytes(find_writer("fixed", 0, "twin"))
    told = auditing.audit_writer(auditing.WriterAuditJob(weights=weights, alias="m1", queries=7, seed=0))
    assert told["findings"]["broken"]["score"] is None
    assert "no such word" in told["findings"]["broken"]["evidence"]["why"]
    assert told["findings"]["sound"]["score"] == 7.0


def test_scripted_solvers_are_graded_as_they_are_known():
    study = study_of("exfiltration")
    job = StudyJob(study="exfiltration", what="solver 2", seed=0, quick=True)
    told = {one.name: one.interval for one in study.told([json.loads(json.dumps(study.work(job)))])}
    assert told["solver_2.none.known"].value == 1.0
    assert told["solver_2.none.match"].value == 0.0


def test_places_are_the_same_whatever_the_order_of_kinds():
    first, second = StressConfig(kinds=("fixed", "date")), StressConfig(kinds=("date", "fixed"))
    assert places(first, TINY) == places(second, TINY)
