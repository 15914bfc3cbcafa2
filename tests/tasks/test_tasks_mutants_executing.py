from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from superalign.sandbox import SandboxUnavailable, best_isolation
from superalign.tasks import executing, mutants_build
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
from superalign.tasks.subjects import subjects

try:
    best_isolation()
    BOXED = True
except SandboxUnavailable:
    BOXED = False
boxed = pytest.mark.skipif(not BOXED, reason="no sandbox stands on this machine")
BISECT = next(s for s in subjects("dev") if s.path == "bisect.py")


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
