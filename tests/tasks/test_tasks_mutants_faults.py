from __future__ import annotations

import ast
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.tasks import Fault, synthetic_faults
from superalign.tasks.faults import KINDS, functions
from superalign.tasks.lexer import lex
from superalign.tasks.stdlib import source_files
from superalign.tasks.subjects import subjects


def made(source: str, kind: str, seed: int = 0) -> list[Fault]:
    return list(synthetic_faults(source, np.random.default_rng(seed), kinds=[kind], lines=1))


# kind, function body, a line that must come out of it, its key
CASES = [
    ("comparison", "if a < b:\n    return 1\nreturn 2", "    if a <= b:", ("<", "<=")),
    ("comparison", "return a is not b", "    return a is b", ("is not", "is")),
    ("comparison", "return a in b", "    return a not in b", ("in", "not in")),
    ("arithmetic", "return a + b", "    return a - b", ("+", "-")),
    ("arithmetic", "a += b\nreturn a", "    a -= b", ("+=", "-=")),
    ("swapped", "return g(a, b)", "    return g(b, a)", ("ID , ID", "ID , ID")),
    ("swapped", "return a - b", "    return b - a", ("ID - ID", "ID - ID")),
    ("variable", "return a + a", "    return b + a", ("ID 3:1", "ID 2:2")),
    ("attribute", "return a.left + a.right", "    return a.right + a.right", ("ID 1:1", "ID 2:0")),
    ("literal", "return 1", "    return 2", ("1", "2")),
    ("literal", "return True", "    return False", ("True", "False")),
    ("condition", "if a:\n    return b", "    if not a:", ("", "not")),
    ("condition", "if not a:\n    return b", "    if a:", ("not", "")),
    ("condition", "return a and b", "    return a or b", ("and", "or")),
    ("order", "a = 1\nb = a\nreturn b", "    b = a", ("ID = 1 ; ID = ID", "ID = ID ; ID = 1")),
    ("return", "if a:\n    return b\nreturn a", "        return a", ("return ID", "return ID")),
    ("call", "return g(a)", "    return a", ("ID()", "")),
    ("call", "return a.strip()", "    return a", (".ID()", "")),
    ("keyword", "return g(a, key=b)", "    return g(a)", ("ID = ID", "")),
    ("keyword", "g(a, key=b)\nreturn g(b)", "    return g(b, key=b)", ("", "ID = ID")),
    ("off-by-one", "return a[b]", "    return a[b + 1]", ("", "+ 1")),
    ("off-by-one", "return a + 1", "    return a", ("+ 1", "")),
    ("statement", "a = b\na.clear()\nreturn a", "    return a", ("Expr ID()", "")),
]


@pytest.mark.parametrize(("kind", "body", "line", "key"), CASES)
def test_each_kind_makes_its_edit(kind: str, body: str, line: str, key: tuple[str, str]) -> None:
    source = "def f(a, b):\n" + "".join(f"    {text}\n" for text in body.split("\n"))
    found = [fault for seed in range(6) for fault in made(source, kind, seed)]
    assert any(line in fault.faulty.split("\n") and fault.key == key for fault in found), [f.faulty for f in found]
    assert all(fault.sound == ast.unparse(ast.parse(source)) for fault in found)


def test_every_kind_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(KINDS)
    assert len(KINDS) >= 8


@pytest.mark.parametrize(
    "source",
    [
        'def f(a, b):\n    """1 < 2 and a"""\n    pass\n',
        'def f(a, b):\n    return f"{a < b and 1}"\n',
        "def f(a=1 < 2, *, b: 3 = 4):\n    pass\n",
        "@g(1 < 2)\ndef f():\n    pass\n",
        "class A:\n    x = 1 < 2\n",
    ],
)
def test_docstrings_f_strings_signatures_and_decorators_are_left_alone(source: str) -> None:
    assert list(synthetic_faults(source, np.random.default_rng(0), lines=1)) == []


def test_no_author_writes_not_around_a_comparison() -> None:
    found = made("def f(a, b):\n    if a < b and a == 1:\n        return a\n", "condition")
    assert not any("not a" in fault.faulty or "not (" in fault.faulty for fault in found)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["shlex.py", "bisect.py", "netrc.py", "chunk.py", "getpass.py"]))
def test_both_sides_parse_and_the_tree_is_left_as_it_was(seed: int, path: str) -> None:
    tree = ast.parse(source_files("dev")[path])
    before = ast.dump(tree, include_attributes=True)
    names = {(name, node.lineno) for name, node in functions(tree)}
    for fault in synthetic_faults(tree, np.random.default_rng(seed), per_function=3):
        sound, faulty = ast.parse(fault.sound).body[0], ast.parse(fault.faulty).body[0]
        assert ast.dump(sound) != ast.dump(faulty)
        assert ast.get_docstring(sound) == ast.get_docstring(faulty)  # type: ignore[arg-type]
        assert (fault.function, fault.start) in names
        assert fault.line >= fault.start
    assert ast.dump(tree, include_attributes=True) == before


def test_caps_seeds_and_unknown_kinds() -> None:
    source = source_files("dev")["shlex.py"]
    capped = list(synthetic_faults(source, np.random.default_rng(1), per_function=4, per_kind=1))
    by_function = Counter((fault.function, fault.start) for fault in capped)
    assert max(by_function.values()) == 4
    assert max(Counter((f.function, f.start, f.kind) for f in capped).values()) == 1
    assert capped == list(synthetic_faults(source, np.random.default_rng(1), per_function=4, per_kind=1))
    assert capped != list(synthetic_faults(source, np.random.default_rng(2), per_function=4, per_kind=1))
    with pytest.raises(ValueError, match="no kind of fault is called 'typo'"):
        next(synthetic_faults(source, np.random.default_rng(0), kinds=["typo"]))
    with pytest.raises(SyntaxError):
        next(synthetic_faults("def f(:\n", np.random.default_rng(0)))


def test_additions_and_removals_are_both_on_offer() -> None:
    keys: Counter[tuple[str, bool]] = Counter()
    for path in ("shlex.py", "doctest.py"):
        for fault in synthetic_faults(source_files("dev")[path], np.random.default_rng(0), per_function=30):
            keys[fault.kind, len(lex(fault.faulty).tokens) > len(lex(fault.sound).tokens)] += 1
    for kind in ("condition", "call", "keyword", "statement", "off-by-one"):
        assert keys[kind, True], kind
        assert keys[kind, False], kind


def test_a_thousand_functions_a_minute_at_least() -> None:
    began, count = time.process_time(), 0
    for source in list(source_files("train").values())[:6]:
        tree = ast.parse(source)
        count += sum(1 for _ in functions(tree))
        for _ in synthetic_faults(tree, np.random.default_rng(0), per_function=3):
            pass
    assert count > 50
    assert count / (time.process_time() - began) > 1000 / 60


def test_subjects_keep_to_their_splits() -> None:
    from superalign.tasks.stdlib import index

    home = {s.path: split for split in ("train", "dev", "validation", "test") for s in subjects(split)}
    for path, split in home.items():
        frozen = index()["files"][path]["split"]
        assert frozen == split or (frozen, split) == ("corpus", "train")
    assert sum(split != "train" for split in home.values()) >= 12
