"""Two lists aligned: every place accounted for, and in time that repeated or reordered contents can't stretch."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.evidence import alignment
from superalign.evidence.alignment import opcodes

TEXTS = st.text("abcdefgh", max_size=12)


@pytest.mark.parametrize("work", [alignment.MAX_WORK, 0], ids=["difflib", "linear"])
@settings(max_examples=300, deadline=None)
@given(first=TEXTS, second=TEXTS)
def test_every_place_is_in_exactly_one_code(work, first, second):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "MAX_WORK", work)
        codes = opcodes(first, second)
    assert "".join(first[c.a : c.b] for c in codes) == first
    assert "".join(second[c.c : c.d] for c in codes) == second
    for code in codes:
        assert (code.tag == "equal") == (first[code.a : code.b] == second[code.c : code.d])
        assert (code.tag == "insert") == (code.a == code.b)
        assert (code.tag == "delete") == (code.c == code.d)


@pytest.mark.parametrize("work", [alignment.MAX_WORK, 0], ids=["difflib", "linear"])
@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("abXdefghij", [("replace", 2, 3, 2, 3)]),
        ("abdefghij", [("delete", 2, 3, 2, 2)]),
        ("abXcdefghij", [("insert", 2, 2, 2, 3)]),
        ("abXdefghijkl", [("replace", 2, 3, 2, 3), ("insert", 10, 10, 10, 12)]),
        ("bcdefghija", [("delete", 0, 1, 0, 0), ("insert", 10, 10, 9, 10)]),
    ],
)
def test_what_changed_is_named_by_place(monkeypatch, work, second, said):
    monkeypatch.setattr(alignment, "MAX_WORK", work)
    assert [tuple(c) for c in opcodes("abcdefghij", second) if c.tag != "equal"] == said


N = 20_000
HOSTILE = {
    "alternating": ([str(i % 2) for i in range(N)], ["z", *(str(i // 2 % 2) for i in range(N - 1))]),
    "all the same": (["s"] * N, ["x", *["s"] * (N - 2), "y"]),
    "reversed": ([str(i) for i in range(N)], [str(i) for i in reversed(range(N))]),
    "shuffled": ([str(i) for i in range(N)], random.Random(1).sample([str(i) for i in range(N)], N)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nobody_can_stretch_it(name):
    began = time.process_time()
    codes = opcodes(*HOSTILE[name])
    assert sum(c.b - c.a for c in codes) == N
    assert time.process_time() - began < 5
