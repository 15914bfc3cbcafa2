"""`superalign doctor`: one object for programs, a table for people, and an exit status that says whether it holds."""

import json

import pytest

from superalign.cli import doctor
from superalign.sandbox import layers


def ask(capsys, **options):
    with pytest.raises(SystemExit) as ended:
        doctor.main(doctor.DoctorConfig(**options))
    return ended.value.code, capsys.readouterr().out


def test_json_without_the_matrix(capsys):
    code, out = ask(capsys, matrix=False, json=True)
    found = json.loads(out)
    assert code == (0 if found["ok"] else 1)
    assert {layer["name"] for layer in found["layers"]} == {"bwrap", "landlock"}
    assert found["machine"]["python"].startswith("3.")
    assert found["extras"]["local"]["torch"]


def test_no_sandbox_is_status_one_and_says_what_is_skipped(capsys, monkeypatch):
    absent = tuple(layers.Absent(name=n, why="not here", do="do this") for n in ("bwrap", "landlock"))
    monkeypatch.setattr("superalign.sandbox.standing", lambda: absent)
    code, out = ask(capsys, matrix=True)
    assert code == 1
    assert "bwrap        does not stand: not here; do this" in out
    assert "skipped without a sandbox: tasks mutants" in out


def test_the_table(capsys, monkeypatch):
    from superalign.sandbox.selftest import Tried

    fields = {"title": "write into system folders", "group": "files", "layer": "bwrap", "outside": None}
    bad = Tried(probe="write-system", held=False, how="GOT", **fields)
    good = Tried(probe="other", held=True, how="EPERM", **fields)
    stands = (layers.Isolation(name="bwrap", enforces=("rlimits",)),)
    monkeypatch.setattr("superalign.sandbox.standing", lambda: stands)
    monkeypatch.setattr(doctor, "_matrix", lambda found, *, quiet: [bad, good])
    code, out = ask(capsys)
    assert code == 1
    assert "NOT HELD (GOT)" in out
    assert "held (EPERM)" in out
