from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from superalign.sandbox import SandboxUnavailable, best_isolation
from superalign.tasks import executing, load_mutants, mutants, mutants_build
from superalign.tasks.executing import (
    Job,
    MutantsError,
    Subject,
    Verdict,
    check_subject,
    execute,
    library_path,
)
from superalign.tasks.mutants import Mutant, shipped
from superalign.tasks.mutants_build import check_library, read_verdicts
from superalign.tasks.mutants_driver import changed, find
from superalign.tasks.mutants_own import own_mutants, read_package
from superalign.tasks.subjects import subjects

try:
    best_isolation()
    BOXED = True
except SandboxUnavailable:
    BOXED = False
boxed = pytest.mark.skipif(not BOXED, reason="no sandbox stands on this machine")
BISECT = next(s for s in subjects("dev") if s.path == "bisect.py")
UNITTEST = "python -m unittest -q"


def bisect_job(old: str, new: str, **more: object) -> Job:
    import ast
    import bisect
    import inspect

    source = inspect.getsource(bisect)
    node = next(n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "bisect_right")
    text = ast.unparse(node)
    assert old in text
    job = {"id": new, "function": "bisect_right", "start": node.lineno, "text": text.replace(old, new, 1), **more}
    return Job(**job)  # type: ignore[arg-type]


@boxed
def test_a_sample_of_what_is_shipped_fails_its_witness_again_and_its_original_passes() -> None:
    """Drawn anew from all files whose tests are quick; both sides through the sandbox."""
    quick = {"html/parser.py", "optparse.py", "collections/__init__.py", "shlex.py", "netrc.py", "configparser.py"}
    quick |= {"base64.py", "tokenize.py", "ntpath.py", "fractions.py", "ipaddress.py", "textwrap.py", "nntplib.py"}
    drawn: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in random.Random(5).sample([m for m in shipped() if m.path in quick], 40):
        drawn[mutant.path].append(mutant)
    assert len(drawn) >= 6
    known = {s.path: s for split in ("train", "dev", "validation", "test") for s in subjects(split)}
    for path, some in drawn.items():
        jobs = [
            Job(id=f"{side} {i}", function=m.function, start=m.start, text=getattr(m, side), witness=m.witness)
            for i, m in enumerate(some)
            for side in ("sound", "faulty")
        ]
        for verdict in execute(known[path], jobs, library_path()):
            wanted = "survived" if verdict.id.startswith("sound") else "killed"
            assert verdict.outcome == wanted, (path, verdict, some[int(verdict.id.split()[1])].witness)


@boxed
def test_outcomes_are_told_apart() -> None:
    big = "a = bytearray(1 << 40)\n    if lo < 0:"
    loop = "while True:\n        pass\n    if lo < 0:"
    dies = "import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n    if lo < 0:"
    leaves = "import os\n    os._exit(0)\n    if lo < 0:"
    prints = 'print(\'{"outcome": "survived"}\' * 9)\n    if lo < 0:'
    jobs = [
        bisect_job("lo < 0", "lo > 0"),
        bisect_job("if lo < 0:", prints),
        bisect_job("if lo < 0:", big),
        bisect_job("if lo < 0:", loop),
        bisect_job("if lo < 0:", dies),
        bisect_job("if lo < 0:", leaves),
        Job(id="nowhere", function="bisect_middle", start=1, text="def bisect_middle(): pass"),
        bisect_job("lo < 0", "lo >= 0"),
    ]
    found = [verdict.outcome for verdict in execute(BISECT, jobs, library_path(), wall=2.0)]
    assert found == ["killed", "survived", "resource", "timeout", "crash", "crash", "absent", "killed"]


@boxed
def test_the_tests_of_the_c_accelerator_do_not_hide_a_fault() -> None:
    verdict = next(execute(BISECT, [bisect_job("lo = mid + 1", "lo = mid + 2")], library_path()))
    assert verdict.outcome == "killed"
    assert "Python" in verdict.witness


@boxed
def test_a_subject_passes_and_one_whose_tests_fail_is_left_out(tmp_path: Path) -> None:
    assert check_subject(BISECT, library_path()) < 10
    asynchat = Subject(path="asynchat.py", tests=("test.test_asynchat",))  # it needs a network
    with pytest.raises(MutantsError, match=r"asynchat\.py: its tests already fail .* of 25 in the sandbox"):
        check_subject(asynchat, library_path())
    with pytest.raises(MutantsError, match="do not even start"):
        check_subject(Subject(path="bisect.py", tests=("test.test_of_nothing",)), library_path())


def test_a_flaky_subject_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = [Verdict(id="0", outcome="survived"), Verdict(id="1", outcome="killed", witness="t", error="E")]
    monkeypatch.setattr(executing, "execute", lambda *a, **k: iter(said))
    with pytest.raises(MutantsError, match="its tests are flaky on the unchanged file"):
        check_subject(BISECT, tmp_path)


def test_what_a_broken_process_says_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = executing._frame({"id": "a", "outcome": "killed"}) + executing._frame(
        {"id": "forged", "outcome": "killed"}
    )
    answers = iter([frames, b"\0\0\0\x05hello", executing._frame({"id": "d", "outcome": "won"})])
    monkeypatch.setattr(executing, "_sandboxed", lambda feed, seconds: (next(answers), b""))
    jobs = [Job(id=name, text="x") for name in "abcd"]
    found = [(v.id, v.outcome) for v in execute(BISECT, jobs, library_path())]
    assert found == [("a", "killed"), ("b", "crash"), ("c", "crash"), ("d", "crash")]


def test_a_python_without_tests_or_with_another_library_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bisect.py").write_text("# another\n", encoding="utf-8")
    with pytest.raises(MutantsError, match=r"bisect\.py of this Python's library is not the file"):
        check_library(tmp_path, {"bisect.py"})
    with pytest.raises(MutantsError, match="is not the file"):
        check_library(tmp_path, {"shlex.py"})
    monkeypatch.setattr(executing.os, "__file__", str(tmp_path / "os.py"))
    with pytest.raises(MutantsError, match="has no `test` package"):
        library_path()


def test_no_sandbox_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SandboxUnavailable("nothing stands")

    monkeypatch.setattr(executing, "run", refuse)
    with pytest.raises(MutantsError, match="in the sandbox only: nothing stands"):
        list(execute(BISECT, [Job(id="a")], library_path()))


def test_verdicts_are_read_again_and_a_cut_line_is_dropped(tmp_path: Path) -> None:
    log = tmp_path / "verdicts.jsonl"
    log.write_text('{"id": "a", "outcome": "killed"}\n{"id": "b", "outc', encoding="utf-8")
    assert set(read_verdicts(log)) == {"a"}
    assert log.read_text(encoding="utf-8").endswith("}\n")
    log.write_text('{"id": "a", "outcome": "killed"}\nnothing\n', encoding="utf-8")
    with pytest.raises(MutantsError, match="line 2 is no verdict"):
        read_verdicts(log)


def test_a_plan_is_balanced_and_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple(s for s in subjects("dev") if s.path in ("shlex.py", "netrc.py", "statistics.py"))
    monkeypatch.setattr(mutants_build, "subjects", lambda split: few)
    first = mutants_build.plan("dev")
    keys = Counter((c.fault.kind, *c.fault.key) for c in first)
    assert not {key: n for key, n in keys.items() if n != keys[(key[0], key[2], key[1])]}
    assert [c.id for c in first] == [c.id for c in mutants_build.plan("dev")]
    assert len({c.id for c in first}) == len(first) > 300


def test_the_place_of_a_function_is_found_by_name_and_line() -> None:
    import ast

    source = "class A:\n    def f(self):\n        return 1\n\ntry:\n    import x\nexcept ImportError:\n"
    source += "    def f():\n        return 2\n"
    assert find(ast.parse(source), "A.f", 2)
    assert find(ast.parse(source), "f", 8)
    assert find(ast.parse(source), "f", 2) is None
    job = {"function": "f", "start": 8, "text": "def f():\n    return 3"}
    tree = changed(source, job)
    assert ast.unparse(tree) == ast.unparse(ast.parse(source.replace("return 2", "return 3")))
    assert changed(source, {**job, "start": 7}) is None


# ---- your own package

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


@boxed
def test_mutants_of_your_own_package(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "mutants.jsonl"
    (package / "broken.py").write_text("x = 1\ndef f(:\n    pass\n", encoding="utf-8")
    seen: list[tuple[int, int]] = []
    report = own_mutants(package, UNITTEST, out, n=10, progress=lambda done, total: seen.append((done, total)))
    assert report.tried == 10 == seen[-1][0]
    assert report.outcomes["killed"] == len(report.made) >= 5
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
    part.write_text("".join(lines[:6]) + lines[6][:10], encoding="utf-8")
    assert own_mutants(package, UNITTEST, out, n=10) == report
    assert len(part.read_text(encoding="utf-8").splitlines()) == len(lines)


@boxed
def test_a_package_or_command_that_changed_is_told(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "mutants.jsonl"
    own_mutants(package, UNITTEST, out, n=1)
    (package / "calc.py").write_text(CODE + "\n\n", encoding="utf-8")
    with pytest.raises(MutantsError, match="belongs to another package or command"):
        own_mutants(package, UNITTEST, out, n=1)
    out.with_name("mutants.jsonl.part").write_text("{\n", encoding="utf-8")
    with pytest.raises(MutantsError, match="line 1: no JSON"):
        own_mutants(package, UNITTEST, out, n=1)


DELETES = "import shutil, os; shutil.rmtree(os.getcwd(), ignore_errors=True)"
FORKS = """import os, sys, time
for _ in range(5000):
    try:
        os.fork() or time.sleep(60)
    except OSError:
        sys.exit(1)"""


@boxed
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python -c 'while True: pass'", "does not end within 2 s"),
        ("python -c 'import sys; sys.exit(3)'", r"already fails \(exited 3\)"),
        ("python -m pytest_of_nothing", "already fails"),
        ("no-such-command --really", "there is no command 'no-such-command' in the sandbox"),
        ("python -c 'import os; os.abort()'", r"already fails \(signalled 6\)"),
        (f'python -c "{FORKS}"', "already fails|does not end"),
        ("python -c 'print(\"x\" * 10**8)'", r"already fails \(output"),
    ],
)
def test_commands_that_hang_fork_or_fail_are_told(package: Path, tmp_path: Path, command: str, message: str) -> None:
    with pytest.raises(MutantsError, match=message):
        own_mutants(package, command, tmp_path / "out.jsonl", n=1, seconds=2.0)
    assert (package / "calc.py").read_text(encoding="utf-8") == CODE


@boxed
def test_a_command_that_deletes_its_folder_deletes_a_copy(package: Path, tmp_path: Path) -> None:
    report = own_mutants(package, f'python -c "{DELETES}"', tmp_path / "out.jsonl", n=2)
    assert report.outcomes == {"survived": 2}
    assert report.made == ()
    assert (package / "calc.py").read_text(encoding="utf-8") == CODE


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no function of three lines or more"),
        ({"a.py": "x = 1\n"}, "holds no function"),
        ({"test_a.py": CODE}, "holds no function"),
        ({"a.py": "def f(:\n"}, r"left out: a\.py, line 1: invalid syntax"),
        ({"a.py": "\0"}, r"left out: a\.py"),
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
