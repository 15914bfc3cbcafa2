"""The command line stopped at any moment, and with workspaces and models that cannot be used: as a user meets it."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from superalign.evidence import Workspace, verify

TINY = Path(__file__).with_name("tiny_cli.py")
DO = ("run", "delete", "move", "use", "make", "free", "restore", "save", "fetch", "choose", "pass", "close", "upgrade")


@pytest.fixture
def env(tmp_path):
    return os.environ | {"SUPERALIGN_KEYS": str(tmp_path / "keys"), "SUPERALIGN_CACHE": str(tmp_path / "cache")}


def _start(env, *arguments):
    """The command line as from a terminal: a shell that starts these tests in the background has Ctrl-C ignored."""
    command, pipe = [sys.executable, str(TINY), *map(str, arguments)], subprocess.PIPE
    return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, preexec_fn=_heeds_interrupts)


def _heeds_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _until(process, word):
    """Read progress from stderr until a line begins with `word`."""
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith(word):
            return
    raise AssertionError(f"{word!r} was never said: {''.join(seen)}")


def _values(workspace):
    with Workspace.open(workspace, create=False, write=False) as ws:
        return [(e.body["name"], e.body["value"]) for e in ws.ledger.events("measurement")]


@pytest.mark.slow
def test_stopped_killed_and_finished(env, tmp_path):
    """Ctrl-C in the sweep, SIGKILL among the organisms' workers: the third run finishes, as one never stopped would.

    The one that is never stopped does all work in its own process, and measures the same.
    """
    ws = tmp_path / "ws"
    options = ("--model", "family:s", "--json", "--workspace")
    with _start(env, "run", *options, ws) as first:
        _until(first, "weak to strong, seed 1")
        first.send_signal(signal.SIGINT)
        rest = first.stderr.read()
    assert first.returncode == 130
    assert "run the same command again" in rest
    assert "Traceback" not in rest
    with _start(env, "run", *options, ws) as second:
        _until(second, "organisms and twins trained: 1 of 4")
        second.kill()
    assert second.returncode == -signal.SIGKILL
    third = _start(env, "run", *options, ws)
    out, err = third.communicate(timeout=200)
    assert third.returncode == 0, err
    assert "weak to strong, seed 0" not in err.splitlines(), "done before"
    answer = json.loads(out)
    assert answer["verdicts"].items() >= {"context": "cannot tell", "concealment": "cannot tell"}.items()
    assert Path(answer["dossier"]).stat().st_size > 10_000
    report = verify(ws)
    assert report.ok, report.findings

    whole = _start(
        env | {"SUPERALIGN_CACHE": str(tmp_path / "other")}, "run", *options, tmp_path / "whole", "--workers", "1"
    )
    _, err = whole.communicate(timeout=200)
    assert whole.returncode == 0, err
    assert _values(tmp_path / "whole") == _values(ws)


@pytest.mark.slow
def test_stages_alone_then_the_rest(env, tmp_path):
    """`train`, then `validate` in one workspace: each prints what it measured, none does it twice."""
    options = ("--model", "family:xs", "--workspace", tmp_path / "ws", "--workers", "1", "--json")
    for verb, figure in (("train", "pgr"), ("validate", "gap")):
        process = _start(env, verb, *options)
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        answer = json.loads(out)
        assert answer["stage"] == verb
        assert figure in {row["tags"]["figure"] for row in answer["measurements"]}
        if verb != "train":
            assert "fit the subject" not in err.splitlines()
    assert not (tmp_path / "ws" / "dossier.html").exists()


def _refused(env, *arguments):
    process = _start(env, *arguments)
    out, err = process.communicate(timeout=100)
    assert process.returncode not in (0, None)
    assert out == ""
    assert "Traceback" not in err, err
    assert err.startswith("superalign: ")
    assert len(err.splitlines()) <= 3
    assert any(word in err for word in DO), f"what is to be done? {err}"
    return err


@pytest.fixture
def model(tmp_path):
    """family:xs as a folder of one's own."""
    from superalign.models import family_path

    return Path(shutil.copytree(family_path("xs"), tmp_path / "mine"))


def test_weights_with_nan(env, tmp_path, model):
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    next(iter(tensors.values())).view(-1)[3] = torch.nan
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    assert "NaN" in _refused(env, "run", "--model", f"hf:{model}", "--workspace", tmp_path / "ws")
    assert not (tmp_path / "ws").exists()


def test_a_folder_without_weights(env, tmp_path, model):
    (model / "model.safetensors").unlink()
    assert "safetensors" in _refused(env, "run", "--model", f"hf:{model}", "--workspace", tmp_path / "ws")


def test_weights_cut_short(env, tmp_path, model):
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert str(model) in _refused(env, "run", "--model", f"hf:{model}", "--workspace", tmp_path / "ws")


@pytest.fixture
def workspace(env, tmp_path, monkeypatch):
    """A workspace with a few events in it."""
    monkeypatch.setenv("SUPERALIGN_KEYS", env["SUPERALIGN_KEYS"])
    with Workspace.open(tmp_path / "ws", create=True) as ws:
        ws.ledger.append("run", {"config": {}, "sizes": {}, "version": "0", "machine": {}}, actor="notary")
    return tmp_path / "ws"


def test_a_newer_workspace(env, workspace):
    ledger = sqlite3.connect(workspace / "ledger.sqlite")
    ledger.execute("PRAGMA user_version = 99")
    ledger.close()
    for verb in ("run", "verify", "view"):
        assert "newer" in _refused(env, verb, "--workspace", workspace)


def test_a_workspace_in_use(env, workspace, monkeypatch):
    with Workspace.open(workspace):
        err = _refused(env, "run", "--workspace", workspace)
    assert str(workspace) in err


def test_a_tampered_ledger(env, workspace):
    """One word of an old event changed in the file: run refuses to write on, verify names the event."""
    path = workspace / "ledger.sqlite"
    data = path.read_bytes()
    assert data.count(b'"version":"0"') >= 1
    path.write_bytes(data.replace(b'"version":"0"', b'"version":"9"'))
    err = _refused(env, "run", "--model", "family:xs", "--workspace", workspace)
    assert str(workspace) in err
    process = _start(env, "verify", "--workspace", workspace, "--json")
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert not json.loads(out)["ok"]
    assert json.loads(out)["findings"]


def test_a_full_disk(env, tmp_path):
    """A limit on file size stands for the full disk: what was written before is whole, and a later run goes on."""
    ws = tmp_path / "ws"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (180_000, resource.RLIM_INFINITY))

    command = [sys.executable, str(TINY), "run", "--model", "family:xs", "--workspace", str(ws)]
    done = subprocess.run(
        command, env=env, preexec_fn=limited, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode not in (0, -signal.SIGXFSZ)
    assert "Traceback" not in done.stderr
    assert "space" in done.stderr.splitlines()[-1] or "disk is full" in done.stderr.splitlines()[-1]
    assert verify(ws).ok
