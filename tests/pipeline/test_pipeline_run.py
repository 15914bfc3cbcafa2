"""The whole pipeline at a tiny size, on a model saved to disk: stopped half-way, resumed, verified, read."""

import dataclasses
import json
import runpy
import shutil
import zipfile
from pathlib import Path

import pytest

from superalign.cli import main
from superalign.evidence import FirewallError, Signal, Workspace, verify
from superalign.pipeline import run as run_module
from superalign.report import write_dossier


def test_a_stopped_run_goes_on_where_it_was(finished):
    _, _, said = finished
    assert "fit the subject" not in said
    assert "weak to strong, seed 0" not in said


def test_so_few_organisms_cannot_tell(finished):
    _, result, _ = finished
    assert result.verdicts["context"] == "cannot tell"
    assert result.verdicts["concealment"] == "cannot tell"


def test_the_ledger_verifies(finished):
    config, _, _ = finished
    report = verify(config.workspace)
    assert report.ok, report.findings


def test_every_stage_left_measurements(finished):
    config, _, _ = finished
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        bodies = [event.body for event in ws.ledger.events("measurement")]
    figures = {(b["tags"]["stage"], b["tags"]["figure"]) for b in bodies}
    assert figures >= {
        ("train", "pgr"),
        ("train", "accuracy"),
        ("train", "contrast"),
        ("validate", "gap"),
        ("validate", "robustness"),
        ("validate", "probe"),
        ("stress", "install"),
        ("stress", "power"),
        ("stress", "suspicion"),
    }
    names = [b["name"] for b in bodies]
    assert len(names) == len({(b["name"], b["subject"], str(sorted(b["tags"].items()))) for b in bodies}), (
        "measured twice"
    )


def test_running_again_measures_nothing_twice(finished):
    config, result, _ = finished

    def kinds():
        with Workspace.open(config.workspace, create=False, write=False) as ws:
            return [event.type for event in ws.ledger.events() if event.type != "read"]

    before = kinds()
    again = run_module.run(config)
    assert kinds() == before, "opening sealed truth is on record each time, nothing else is new"
    assert again.verdicts == result.verdicts


def test_the_example_of_your_own_model_runs(finished, monkeypatch, capsys):
    """`examples/your_own_model.py` on the model saved to disk; in a finished workspace it has nothing left to do."""
    config, result, _ = finished
    assert not Path(".superalign-mine").exists()
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "your_own_model.py"))
    example["main"](config.model.removeprefix("hf:"), str(config.workspace))
    assert capsys.readouterr().out.splitlines()[-1] == str(result.verdicts)


def test_the_subject_is_not_trained_on_validation(finished):
    config, _, _ = finished
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        subject = next(e.body["subject"] for e in ws.ledger.events("measurement") if e.body["name"] == "gap.gap")
        taint = ws.taint(subject.partition("@")[2])
    assert "construction/slips/train" in taint
    assert "construction/slips/validation" not in taint


def test_a_recipe_that_breaks_the_firewall_is_refused(finished, tmp_path):
    config, _, _ = finished
    shutil.copytree(config.workspace, tmp_path / "copy")
    with Workspace.open(tmp_path / "copy") as ws:
        subject = next(e.body["digest"] for e in ws.ledger.events("node") if e.body["name"] == "reviewer")
        signal = next(e.body["digest"] for e in ws.ledger.events("signal") if e.body["role"] == "validation")
        before = len(ws.ledger.events())
        with pytest.raises(FirewallError, match=r"R\d"):
            ws.use(signal, subject, "fit")
        assert len(ws.ledger.events()) == before
        assert isinstance(Signal, type)


def test_the_dossier_compiles_from_the_ledger(finished, tmp_path):
    config, _, _ = finished
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        page = write_dossier(ws, tmp_path / "dossier.html").read_text(encoding="utf-8")
    assert "cannot tell" in page
    assert "toy models" in page
    assert "<script" not in page


def test_view_writes_the_page_anew_and_exports(finished, tmp_path, capsys):
    config, _, _ = finished
    page = config.workspace / "dossier.html"
    page.unlink(missing_ok=True)
    main(["view", "--workspace", str(config.workspace), "--json"])
    assert json.loads(capsys.readouterr().out) == {"dossier": str(page)}
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    bundle = tmp_path / "run.zip"
    main(["view", "--workspace", str(config.workspace), "--export", str(bundle), "--json"])
    assert json.loads(capsys.readouterr().out) == {"bundle": str(bundle), "bytes": bundle.stat().st_size}
    assert {"ledger.sqlite", "public.json", "README.txt"} < set(zipfile.ZipFile(bundle).namelist())


def test_same_seed_same_measurements(finished, monkeypatch, tmp_path):
    """A second run in an empty workspace, organisms trained again, measures the same."""
    config, _, _ = finished
    monkeypatch.setenv("SUPERALIGN_CACHE", str(tmp_path / "cache"))
    again = dataclasses.replace(config, workspace=tmp_path / "again")
    run_module.run(again)

    def values(path):
        with Workspace.open(path, create=False, write=False) as ws:
            bodies = [event.body for event in ws.ledger.events("measurement")]
        return [(b["name"], b["subject"], b["value"], b["low"], b["high"]) for b in bodies]

    assert values(again.workspace) == values(config.workspace)
