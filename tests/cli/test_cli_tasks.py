from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from superalign.cli import main
from superalign.sandbox import SandboxUnavailable, best_isolation
from superalign.tasks import load_mutants
from superalign.tasks.mutants import as_lines, shipped

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "data"


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str, str]:
    """Exit code (None: it returned), standard output and error of one call."""
    code: object = None
    try:
        main([str(a) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


def test_list_names_the_shipped_mutants(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys.modules["superalign.tasks.slips"], "draw", lambda split: ()
    )  # drawing all slips takes seconds
    _, out, _ = said(capsys, "tasks", "list", "--json")
    counts = json.loads(out)["mutants"]
    assert set(counts) == {"train", "dev", "validation", "test"}
    assert sum(counts.values()) == len(shipped()) >= 2000
    assert json.loads(out)["rules"] == "any number"
    assert sum(json.loads(out)["pixels"].values()) == 1797


@pytest.mark.parametrize(("task", "attackers"), [("rules", ["metadata", "words"]), ("pixels", ["metadata"])])
def test_tasks_for_judges_are_audited(task: str, attackers: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    n = () if task == "pixels" else ("--n", "2000")
    code, out, _ = said(capsys, "tasks", "audit", "--task", task, *n, "--json")
    assert code == 0
    assert [json.loads(line)["attacker"] for line in out.splitlines()] == attackers


def test_questions_are_exported_as_preferences(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    said(capsys, "tasks", "export", "--task", "rules", "--split", "train", "--n", "20", "--out", out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {(row["chosen"], row["rejected"]) for row in rows} == {("yes", "no"), ("no", "yes")}
    assert all("is" in row["prompt"] and row["prompt"].endswith("?") for row in rows)
    assert {row["split"] for row in rows} == {"train"}, "a file that is trained on elsewhere says what it may be for"


@pytest.mark.parametrize("form", ["source", "words"])
def test_the_audit_of_mutants_in_json(capsys: pytest.CaptureFixture[str], form: str) -> None:
    code, out, _ = said(capsys, "tasks", "audit", "--task", "mutants", "--form", form, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["attacker"] for row in rows] == ["metadata", "edit-lookup", "edit-logistic", "edit-order"]
    assert all(row["passed"] for row in rows)


def test_mutants_of_a_file_are_exported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(as_lines(shipped()[:12]), encoding="utf-8")
    out = tmp_path / "rows.jsonl"
    arguments = ("tasks", "export", "--task", "mutants", "--made", tmp_path / "own.jsonl", "--out", out, "--json")
    _, text, _ = said(capsys, *arguments)
    assert json.loads(text) == {"out": str(out), "rows": 12}
    assert {"prompt", "chosen", "rejected", "split"} == set(json.loads(out.read_text(encoding="utf-8").splitlines()[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mutants", "--from", "."), "--from and --tests go together"),
        (("mutants", "--tests", "true"), "--from and --tests go together"),
        (("mutants", "--from", "nowhere", "--tests", "true"), "nowhere is no folder"),
        (("audit", "--task", "mutants", "--made", "nothing.jsonl"), "there is no such file"),
        (("audit", "--task", "mutants", "--n", "1000000"), "1000000 were asked for"),
        (("audit", "--task", "mutants", "--made", "."), "cannot be read: Is a directory"),
        (("audit", "--task", "slips", "--n", "0"), "--n 0: ask for 1 item or more"),
        (("export", "--task", "traces", "--n", "-2"), "--n -2: ask for 1 item or more"),
        (("mutants", "--from", ".", "--tests", "true", "--n", "0"), "--n 0: ask for 1 item or more"),
        (("mutants", "--from", ".", "--tests", "true", "--out", "no/where.jsonl"), "there is no folder no"),
        (("check",), "no file to check: superalign tasks check FILE"),
        (("check", "nothing.jsonl"), "nothing.jsonl: there is no such file or folder"),
        (("list", "nothing.jsonl"), "list reads no file, and nothing.jsonl was given"),
        (("audit", str(EXAMPLES / "label.jsonl"), "--n", "999"), "holds 1 rows, 999 were asked for"),
        (("export", str(EXAMPLES / "label.jsonl"), "--split", "test"), "may not become training data"),
        (("export", "--task", "traces", "--n", "2", "--format", "preference", "--view", "single"), "have no pair"),
        (("export", "--task", "traces", "--n", "2", "--out", "no/where.jsonl"), "there is no folder no"),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = said(capsys, "tasks", *arguments)
    assert message in str(code)
    assert out == ""


def test_a_package_of_your_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    try:
        best_isolation()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    package = tmp_path / "package"
    package.mkdir()
    (package / "half.py").write_text("def half(x):\n    y = x // 2\n    return y\n", encoding="utf-8")
    (package / "bad.py").write_text("def f(:\n", encoding="utf-8")
    test = "import unittest, half\nclass T(unittest.TestCase):\n    def test(self):\n        assert half.half(9) == 4\n"
    (package / "test_half.py").write_text(test, encoding="utf-8")
    out = tmp_path / "out.jsonl"
    arguments = ["tasks", "mutants", "--from", package, "--tests", "python -m unittest -q", "--out", out, "--n", "4"]
    code, text, _ = said(capsys, *arguments, "--json")
    row = json.loads(text)
    assert code is None
    assert row["tried"] == sum(row["outcomes"].values()) == 4
    assert row["mutants"] == len(load_mutants(out)) >= 1
    assert row["left_out"] == ["bad.py, line 1: invalid syntax"]
    _, text, err = said(capsys, *arguments)
    assert "of 4 faults are seen by the tests" in text
    assert "left out: bad.py, line 1" in err


def test_a_file_of_your_own_is_checked_and_exported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = said(capsys, "tasks", "check", EXAMPLES / "choice.jsonl", "--json")
    told = json.loads(out)
    assert code is None
    assert (told["form"], told["rows"], told["clusters"]) == ("choice", 24, 8)
    assert {split: there["rows"] for split, there in told["splits"].items()} == {
        "train": 9, "dev": 6, "validation": 6, "test": 3,
    }  # fmt: skip
    _, text, _ = said(capsys, "tasks", "check", EXAMPLES / "choice.jsonl")
    assert "24 rows of choice in 8 clusters" in text
    out_file = tmp_path / "rows.jsonl"
    arguments = ("tasks", "export", EXAMPLES / "choice.jsonl", "--split", "train", "--format", "unpaired", "--n", "4")
    _, out, _ = said(capsys, *arguments, "--out", out_file, "--json")
    assert json.loads(out) == {"out": str(out_file), "rows": 4}
    assert [json.loads(line)["label"] for line in out_file.read_text().splitlines()] == [True, False] * 2


@pytest.mark.parametrize("buffered", ["", "1"])
def test_output_that_nobody_reads_is_a_quiet_end(buffered: str) -> None:
    """As `superalign tasks check FILE | head -1`, where `head` ends first."""
    code = "from superalign.cli import main; main()"
    command = [sys.executable, "-c", code, "tasks", "check", str(EXAMPLES / "choice.jsonl")]
    read, write = os.pipe()
    os.close(read)
    env = os.environ | {"PYTHONUNBUFFERED": buffered}
    found = subprocess.run(command, env=env, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (found.returncode, found.stderr) == (141, "")


def test_another_pipe_that_breaks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: object) -> None:
        raise BrokenPipeError("a worker's")

    monkeypatch.setattr("superalign.cli.tasks._check", broken)
    command = ["tasks", "check", str(EXAMPLES / "choice.jsonl")]
    with open(os.devnull, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        with pytest.raises(BrokenPipeError, match="a worker's"):
            main(command)


def test_a_broken_file_is_an_exit_of_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "x", "label": 1}\n{"text": "y"}\n{"text": "\\u202e", "label": []}\n', encoding="utf-8")
    code, out, _ = said(capsys, "tasks", "check", path, "--json")
    assert code == 1
    told = json.loads(out)
    assert (told["form"], told["rows"], told["broken"]) == ("label", 3, 2)
    assert told["first"][0] == {"where": f"{path}, line 2", "why": "no 'label': give every row text and label"}
    code, out, _ = said(capsys, "tasks", "check", path)
    assert "2 of 3 rows can't be used" in str(code)
    assert out == ""


def test_a_file_of_your_own_is_audited(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [{"question": f"{i}?", "options": [f"{i} a b c", f"{i} d"], "answer": 0, "split": "dev"} for i in range(60)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, out, _ = said(capsys, "tasks", "audit", path, "--json")
    assert code == 1
    assert [(row["attacker"], row["passed"]) for row in map(json.loads, out.splitlines())] == [
        ("metadata", False),
        ("answers", False),
    ]
    (tmp_path / "mutants.jsonl").write_text(as_lines(shipped()[:40]), encoding="utf-8")
    code, out, _ = said(capsys, "tasks", "audit", tmp_path / "mutants.jsonl", "--split", shipped()[0].split, "--json")
    assert "edit-lookup" in {json.loads(line)["attacker"] for line in out.splitlines()}
