from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from superalign.sandbox import Limits, Outcome, SandboxUnavailable, best_isolation
from superalign.tasks import load_mutants, mutants, mutants_trial
from superalign.tasks.executing import MutantsError
from superalign.tasks.mutants_own import OwnReport, own_mutants
from superalign.tasks.mutants_package import raising, read_package, unparsed, with_fault
from superalign.tasks.mutants_trial import exception

try:
    best_isolation()
    BOXED = True
except SandboxUnavailable:
    BOXED = False
boxed = pytest.mark.skipif(not BOXED, reason="no sandbox stands on this machine")
UNITTEST = "python -m unittest -q"
CODE = """def clamp(x, low, high):
    if x < low:
        return low
    if x > high:
        return high
    return x


def total(values):
    found = 0
    for value in values:
        found = found + value
    return found
"""
TESTS = """import unittest
from calc import clamp, total


class Calc(unittest.TestCase):
    def test_clamp(self):
        self.assertEqual([clamp(x, 2, 5) for x in (1, 2, 3, 5, 6)], [2, 2, 3, 5, 5])

    def test_total(self):
        self.assertEqual(total([1, 2, 6]), 9)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "calc.py").write_text(CODE, encoding="utf-8")
    (folder / "test_calc.py").write_text(TESTS, encoding="utf-8")
    return folder


# ---- in the sandbox


@boxed
def test_mutants_of_your_own_package(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "mutants.jsonl"
    (package / "broken.py").write_text("x = 1\ndef f(:\n    pass\n", encoding="utf-8")
    seen: list[tuple[int, int]] = []
    report = own_mutants(package, UNITTEST, out, n=6, progress=lambda done, total: seen.append((done, total)))
    assert report.tried == 6 == seen[-1][0]
    assert report.outcomes["killed"] == len(report.made) >= 3
    assert report.left_out == ("broken.py, line 2: invalid syntax",)
    assert load_mutants(out) == report.made
    assert {m.path for m in report.made} == {"calc.py"}
    assert all("test_" in m.witness for m in report.made)
    assert {"clamp", "total"} >= {m.function for m in report.made}
    page = mutants(split="dev", made=load_mutants(out), view="single")
    assert len(page.items) == len(report.made)
    # a kill in the middle of a line: the same command goes on, and nothing is run twice
    part = out.with_name("mutants.jsonl.part")
    lines = part.read_text(encoding="utf-8").splitlines(keepends=True)
    part.write_text("".join(lines[:5]) + lines[5][:10], encoding="utf-8")
    assert own_mutants(package, UNITTEST, out, n=6) == report
    assert part.read_text(encoding="utf-8").splitlines(keepends=True) == lines


DELETES = "import shutil, os; shutil.rmtree(os.getcwd(), ignore_errors=True)"
CHECKS = "import calc; assert calc.clamp(1, 2, 5) == 2; assert calc.total([1]) == 1; " + DELETES
FORKS = """import os, sys, time
for _ in range(5000):
    try:
        os.fork() or time.sleep(60)
    except OSError:
        sys.exit(1)"""


@boxed
@pytest.mark.parametrize(
    ("command", "message", "seconds"),
    [
        ("python -c 'while True: pass'", "does not end within 2 s", 2.0),
        ("python -c 'import sys; sys.exit(3)'", r"already fails \(exited 3\)", 60.0),
        ("python -m pytest_of_nothing", "already fails", 60.0),
        ("no-such-command --really", "there is no command 'no-such-command' in the sandbox", 60.0),
        ("python -c 'import os; os.abort()'", r"already fails \(signalled 6\)", 60.0),
        (f'python -c "{FORKS}"', "already fails|does not end", 2.0),
        ("python -c 'print(\"x\" * 10**8)'", r"already fails \(output", 60.0),
        ("python -c 'print(0)'", "the tests do not run this copy", 60.0),
    ],
)
def test_commands_that_hang_fork_fail_or_test_nothing_are_told(
    package: Path, tmp_path: Path, command: str, message: str, seconds: float
) -> None:
    with pytest.raises(MutantsError, match=message):
        own_mutants(package, command, tmp_path / "out.jsonl", n=1, seconds=seconds)
    assert (package / "calc.py").read_text(encoding="utf-8") == CODE


@boxed
def test_a_command_that_deletes_its_folder_deletes_a_copy(package: Path, tmp_path: Path) -> None:
    report = own_mutants(package, f'python -c "{CHECKS}"', tmp_path / "out.jsonl", n=2)
    assert report.tried == 2
    assert (package / "calc.py").read_text(encoding="utf-8") == CODE


# ---- without it: what each run of the command says is scripted

PASS = (0, "")
FAIL = (1, "FAIL: test_clamp (test_calc.Calc)\nAssertionError: 3 != 2\n")
OTHER = (1, "ERROR: test_total (test_calc.Calc)\nTypeError: no\n")
LATE, CPU, FULL, DEAD = ((code, "") for code in (-1, -2, -3, -4))
KILLED = {-1: ("timeout", 9), -2: ("signalled", 24), -3: ("memory", 9), -4: ("signalled", 6)}
BEFORE = [PASS, PASS, PASS, FAIL]
"""Unchanged, unchanged again, unparsed; and every function raises."""


@pytest.fixture
def scripted(package: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OwnReport]:
    """`scripted(runs, out, n=1)`: own_mutants with the runs answering in turn; all of them must be used up."""

    def call(runs: Sequence[tuple[int, str]], out: Path, **options: object) -> OwnReport:
        left = list(runs)

        def answer(words: Sequence[str], files: Mapping[str, bytes], limits: Limits) -> Outcome:
            code, text = left.pop(0)
            kind, code = KILLED.get(code, ("exited", code))
            return Outcome(kind=kind, code=code, stdout=text.encode(), stderr=b"", wall=0, cpu=0, isolation="none")

        monkeypatch.setattr(mutants_trial, "_run", answer)
        try:
            return own_mutants(package, UNITTEST, out, **{"n": 1, **options})  # type: ignore[arg-type]
        finally:
            assert not left

    return call


@pytest.mark.parametrize(
    ("runs", "outcome"),
    [
        ([PASS], "survived"),
        ([LATE], "timeout"),
        ([FAIL, FAIL], "killed"),
        ([FAIL, OTHER], "unconfirmed"),
        ([FAIL, PASS], "unconfirmed"),
        ([FAIL, LATE], "unconfirmed"),
        ([(1, "MemoryError: \n")], "resource"),
        ([(130, "")], "crash"),
        ([CPU], "timeout"),
        ([FULL], "resource"),
        ([DEAD], "crash"),
    ],
)
def test_a_failure_counts_when_it_happens_again(
    scripted: Callable[..., OwnReport], tmp_path: Path, runs: list[tuple[int, str]], outcome: str
) -> None:
    report = scripted([*BEFORE, *runs, PASS], tmp_path / "out.jsonl")
    assert report.outcomes == {outcome: 1}
    assert [(m.witness, m.error) for m in report.made] == (
        [("test_clamp (test_calc.Calc)", "AssertionError")] if outcome == "killed" else []
    )


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([FAIL], r"unchanged package already fails \(exited 1\)"),
        ([PASS, OTHER], r"the tests are flaky: .* at once again it does not \(exited 1; test_total \(test_calc.Calc\)"),
        ([PASS, LATE], r"the tests are flaky: .* \(no end within 60 s; it names no test\)"),
        ([PASS, PASS, FAIL], "unchanged, unparsed package already fails"),
        ([PASS, PASS, PASS, PASS], "the tests do not run this copy: every function of the package raised"),
    ],
)
def test_what_proves_nothing_is_told_before_a_fault_is_tried(
    scripted: Callable[..., OwnReport], tmp_path: Path, runs: list[tuple[int, str]], message: str
) -> None:
    with pytest.raises(MutantsError, match=message):
        scripted(runs, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_tests_that_fail_when_all_is_done_are_flaky_and_the_verdicts_stay(
    scripted: Callable[..., OwnReport], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("of an earlier run\n", encoding="utf-8")
    message = r"flaky: .* when all faults were tried it does not \(exited 1; test_total .*stay in .*out\.jsonl\.part"
    with pytest.raises(MutantsError, match=message):
        scripted([*BEFORE, FAIL, FAIL, OTHER], out)
    assert out.read_text(encoding="utf-8") == "of an earlier run\n"
    with pytest.raises(MutantsError, match="flaky"):  # no way around: the check is due until it passes
        scripted([OTHER], out)
    assert scripted([PASS], out).outcomes == {"killed": 1}
    assert scripted([], out).outcomes == {"killed": 1}
    assert {path.name for path in tmp_path.iterdir()} == {"package", "out.jsonl", "out.jsonl.part"}


def test_a_result_inside_of_the_package_is_no_part_of_it(
    scripted: Callable[..., OwnReport], package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(package)
    first = scripted([*BEFORE, FAIL, FAIL, PASS], Path("mutants.jsonl"))
    assert (package / "mutants.jsonl").exists()
    assert scripted([], Path("mutants.jsonl")) == first
    assert scripted([*BEFORE, PASS, PASS], Path("mutants.jsonl"), n=2).outcomes == {"killed": 1, "survived": 1}
    outs = {package / name for name in ("mutants.jsonl", "mutants.jsonl.part", "mutants.jsonl.new")}
    for folder in (package, Path(".")):
        assert set(read_package(folder, leave_out=outs).files) == {"calc.py", "test_calc.py"}


def test_what_ran_out_of_time_is_tried_again_under_a_larger_limit(
    scripted: Callable[..., OwnReport], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert scripted([*BEFORE, LATE, PASS], out, seconds=2.0).outcomes == {"timeout": 1}
    assert scripted([], out, seconds=2.0).outcomes == {"timeout": 1}
    assert scripted([], out, seconds=1.0).outcomes == {"timeout": 1}
    assert scripted([*BEFORE, FAIL, FAIL, PASS], out, seconds=5.0).outcomes == {"killed": 1}
    assert scripted([], out, seconds=9.0).outcomes == {"killed": 1}


def test_a_package_that_changed_is_told(scripted: Callable[..., OwnReport], package: Path, tmp_path: Path) -> None:
    scripted([*BEFORE, PASS, PASS], tmp_path / "out.jsonl")
    (package / "calc.py").write_text(CODE + "\n\n", encoding="utf-8")
    with pytest.raises(MutantsError, match="belongs to another package or command"):
        scripted([], tmp_path / "out.jsonl")


VERDICT = {"id": "a", "outcome": "killed", "witness": "t", "error": "E", "seconds": 60.0}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "line 2: no JSON"),
        (b"[" * 200_000, "line 2: no JSON"),
        (b"[1]", "line 2: no JSON object"),
        (b"7", "line 2: no JSON object"),
        (b'"\xff"', "line 2: no UTF-8"),
        (b"", "line 2: no JSON"),
        (b"{}", "line 2: no verdict, for want of a proper `id`"),
        *(
            (json.dumps({k: v for k, v in VERDICT.items() if k != name}).encode(), f"want of a proper `{name}`")
            for name in VERDICT
        ),
        (json.dumps({**VERDICT, "witness": None}).encode(), "want of a proper `witness`"),
        (json.dumps({**VERDICT, "seconds": True}).encode(), "want of a proper `seconds`"),
        (json.dumps({**VERDICT, "outcome": "won\ud800"}).encode(), r"no outcome is called 'won\\ud800'"),
    ],
)
def test_a_broken_line_of_verdicts_is_named(
    scripted: Callable[..., OwnReport], tmp_path: Path, line: bytes, message: str
) -> None:
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    scripted([*BEFORE, PASS, PASS], out)
    head = part.read_bytes().split(b"\n")[0]
    part.write_bytes(head + b"\n" + line + b"\n")
    with pytest.raises(MutantsError, match=message):
        scripted([], out)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/out.jsonl", "there is no folder .*nowhere: make it first"),
        ("folder", "folder exists and is no file"),
        ("taken", "taken.part exists and is no file"),
        ("calc.py/out.jsonl", "there is no folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_first_run(
    scripted: Callable[..., OwnReport], tmp_path: Path, out: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken.part").mkdir()
    (tmp_path / "calc.py").write_text(CODE, encoding="utf-8")
    with pytest.raises(MutantsError, match=message):
        scripted([], tmp_path / out)


@pytest.mark.parametrize("n", [0, -3])
def test_less_than_one_fault_is_refused(scripted: Callable[..., OwnReport], tmp_path: Path, n: int) -> None:
    with pytest.raises(MutantsError, match=f"--n {n}: .* ask for 1 or more"):
        scripted([], tmp_path / "out.jsonl", n=n)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("E       assert 3 == 4\nE        +  where 3 = half(9)\n", "AssertionError"),
        ("E       AssertionError: three\nE       assert 3 == 4\n", "AssertionError"),
        ("E   ValueError: no\n", "ValueError"),
        ("E   pkg.Boom: no\n", "pkg.Boom"),
        ("E   zlib.error: Error -3\n", "zlib.error"),
        ("E   Boom\n", "Boom"),
        ("E   Failed: DID NOT RAISE <class 'ValueError'>\n", "Failed"),
        ("E   fixture 'x' not found\n", "Failed"),
        ('E     File "a.py", line 1\nE       def f(:\nE   SyntaxError: invalid syntax\n', "SyntaxError"),
        ("FAILED test_a.py::test - assert 3 == 4\n", "AssertionError"),
        ("ERROR test_a.py - pkg.Boom: no\n", "pkg.Boom"),
        ("FAIL: test (t.T)\nTraceback:\n  File x\nKeyError: 3\n", "KeyError"),
        ("it is broken\n", "exit 7"),
        ("", "exit 7"),
    ],
)
def test_the_exception_is_read_from_what_the_command_prints(text: str, error: str) -> None:
    assert exception(text, 7) == error


# ---- the package in memory


def _runs(files: Mapping[str, bytes]) -> Iterator[object]:
    space: dict[str, Callable[..., object]] = {}
    exec(files["calc.py"], space)
    yield space["clamp"](1, 2, 5)
    yield space["total"]([1, 2])


def test_copies_are_unparsed_raise_or_hold_one_fault(package: Path) -> None:
    (package / "calc.py").write_text("# a comment\n" + CODE, encoding="utf-8")
    read = read_package(package)
    assert b"comment" not in unparsed(read)["calc.py"]
    assert list(_runs(unparsed(read))) == [2, 3]
    copy = raising(read)
    for name, arguments in (("clamp", (1, 2, 5)), ("total", ([],))):
        space: dict[str, Callable[..., object]] = {}
        exec(copy["calc.py"], space)
        with pytest.raises(BaseException, match="a test runs this copy"):
            space[name](*arguments)
    path, fault = read.faults[0]
    changed = with_fault(read, path, fault)
    assert changed is not None
    assert changed["calc.py"] not in (unparsed(read)["calc.py"], read.files["calc.py"])
    assert all(found["test_calc.py"] == read.files["test_calc.py"] for found in (copy, changed))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no function of three lines or more"),
        ({"a.py": "x = 1\n"}, "holds no function"),
        ({"test_a.py": CODE}, "holds no function"),
        ({"a.py": "def f(:\n"}, r"left out: a\.py, line 1: invalid syntax"),
        ({"a.py": "\0"}, r"left out: a\.py"),
        ({"a.py": "x = " + "-" * 20_000 + "1"}, r"left out: a\.py: nested too deeply"),
    ],
)
def test_a_folder_without_functions_is_told(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(MutantsError, match=message):
        read_package(tmp_path)


def test_no_folder_and_no_command_are_told(package: Path, tmp_path: Path) -> None:
    with pytest.raises(MutantsError, match="is no folder"):
        read_package(tmp_path / "nowhere")
    for command, message in (("", "--tests is empty"), ("python 'x", "cannot be read as a command")):
        with pytest.raises(MutantsError, match=message):
            own_mutants(package, command, tmp_path / "out.jsonl")


def test_what_is_no_source_stays_out_of_the_copy(package: Path) -> None:
    for name in (".git/config", "__pycache__/x.pyc", "pkg.egg-info/PKG-INFO"):
        (package / name).parent.mkdir()
        (package / name).write_text("x", encoding="utf-8")
    (package / "link.py").symlink_to("/etc/hostname")
    assert set(read_package(package).files) == {"calc.py", "test_calc.py"}
