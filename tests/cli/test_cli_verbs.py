"""Every verb as a user calls it: answers on stdout, one clear sentence and a non-zero exit on bad input."""

import json
import subprocess
import sys

import pytest

from superalign.cli import main


def _stopped(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    out = capsys.readouterr()
    return stopped.value.code, out.out, out.err


def test_help_is_light():
    code = "import sys, superalign.cli; assert not {'torch', 'transformers', 'sklearn'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_family_list(capsys):
    main(["family", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["size"] for row in rows} == {"xs", "s", "m", "l"}


def test_audit_prints_each_attacker(capsys):
    code, out, _ = _stopped(capsys, "tasks", "audit", "--n", "400")
    assert code == 0
    assert len(out.splitlines()) >= 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["family", "train", "--size", "huge"], "huge"),
        (["verify", "--workspace", "nowhere-at-all"], "nowhere-at-all"),
        (["run", "--model", "hf:/no/such/model", "--workspace", "WS"], "/no/such/model"),
        (["run", "--model", "family:huge", "--workspace", "WS"], "huge"),
        (["run", "--model", "gpt", "--workspace", "WS"], "gpt"),
        (["tasks", "export", "--split", "validation"], "validation"),
    ],
)
def test_bad_input_is_one_sentence(arguments, word, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.chdir(tmp_path)
    code, _, _ = _stopped(capsys, *[str(tmp_path / "ws") if a == "WS" else a for a in arguments])
    assert isinstance(code, str)
    assert word in code
    assert len(code.splitlines()) <= 3
    assert not (tmp_path / "ws").exists(), "nothing is half-written"


def test_unknown_options_are_errors(capsys):
    code, _, err = _stopped(capsys, "run", "--no-such-option")
    assert code == 2
    assert "no-such-option" in err
