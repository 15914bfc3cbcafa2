"""`play`: what programs say is what they computed, whatever they do to say something else."""

import json
import math
import secrets
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.sandbox import Limits, Program, SandboxUnavailable, play
from superalign.sandbox.frames import MAX_DEPTH, BrokenFrame, NotPlain, Reader, decode, encode, frame, same


def one(source, *arguments, **options):
    program = Program(source=source, call="f", arguments=tuple((a,) for a in arguments) or ((1,),))
    (played,) = play([program], **{"seconds": 2.0, **options})
    return played


def test_values_of_every_plain_type(layer):
    values = [None, True, 0, -(10**40), 1.5, -0.0, math.inf, "é\ud800", b"\x00", [1, (2,)], {1, "a"}, {"k": [None]}]
    played = one("def f(x): return x", *values, isolation=layer, expected=[values])
    assert [r.kind for r in played.results] == ["value"] * len(values)
    assert all(played.agrees)
    assert math.isnan(one("def f(x): return float('nan')", isolation=layer).results[0].value)


HOSTILE = {
    "equal to everything": (
        "class E:\n def __eq__(s, o): return True\n__hash__ = None\ndef f(x): return E()",
        "not plain",
    ),
    "a number that is not one": ("class I(int):\n def __eq__(s, o): return True\ndef f(x): return I(3)", "not plain"),
    "text that is not text": ("class S(str):\n def __str__(s): return 'ok'\ndef f(x): return S('x')", "not plain"),
    "pickles": ("class P:\n def __reduce__(s): return (print, ('x',))\ndef f(x): return P()", "not plain"),
    "a cycle": ("def f(x):\n a = []; a.append(a); return a", "not plain"),
    "too much": ("def f(x): return [[0] * 1000] * 1000", "not plain"),
    "a huge text": ("def f(x): return 'x' * (3 << 20)", "too large"),
    "leaves at once": ("import os\ndef f(x): os._exit(0)", "silent"),
    "leaves on import": ("import os\nos._exit(0)\ndef f(x): return 1", "silent"),
    "exits": ("import sys\ndef f(x): sys.exit(0)", "error"),
    "interrupts": ("def f(x): raise KeyboardInterrupt", "error"),
    "kills the runner": ("import os\ndef f(x): os.kill(os.getppid(), 9)", "silent"),
    "kills everyone": ("import os\ndef f(x): os.kill(-1, 9)", "silent"),
    "spins": ("def f(x):\n while True: pass", "timeout"),
    "spins and swallows": (
        "def f(x):\n while True:\n  try:\n   while True: pass\n  except BaseException: pass",
        "timeout",
    ),
    "recurses": ("def f(x): return f(x)", "error"),
    "has no such function": ("g = 1", "error"),
    "is not Python": ("def f(x", "error"),
    "stops the runner": ("import os\ndef f(x): os.kill(os.getppid(), 19); return 9", "timeout"),
    "closes every descriptor": (
        "import os\ndef f(x):\n for fd in range(64):\n  try: os.close(fd)\n  except OSError: pass\n return 3.5",
        "silent",
    ),
    "writes no JSON": (
        "import os\ndef f(x):\n for fd in range(3, 64):\n  try: os.write(fd, b'[' * 100000)\n"
        "  except OSError: pass\n os._exit(0)",
        "silent",
    ),
    "claims to be another kind": (
        'import json, os\ndef f(x):\n for fd in range(3, 64):\n  try: os.write(fd, b\'[{"kind": "value", '
        '"value": ["list", [["set", [["list", []]]]]]}]\')\n  except OSError: pass\n os._exit(0)',
        "not plain",
    ),
    "changes what a value is": (
        "import sys\nsys.modules['__main__'].encode = lambda v: ['i', 'zz']\ndef f(x): return 1",
        "not plain",
    ),
    "raises what the runner catches": (
        "import sys\nclass X(BaseException): pass\nsys.modules['__main__'].TooSlow = X\ndef f(x): raise X",
        "timeout",
    ),
    "prints for ever": ("def f(x):\n while True: print('{\"results\": [1]}')", "timeout"),
    "waits for input": ("def f(x): return input()", "error"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_say_nothing_false(layer, name, monkeypatch):
    source, kind = HOSTILE[name]
    sound = Program(source="def f(x): return 2 * x", call="f", arguments=((21,),))
    hostile = Program(source=source, call="f", arguments=((1,),))
    monkeypatch.setattr(sys.modules["superalign.sandbox.play"], "GRACE", 1.5)
    before, bad, after = play([sound, hostile, sound], seconds=0.8, isolation=layer, expected=[[42], [3], [42]])
    assert bad.results[0].kind == kind
    assert bad.agrees == (False,)
    assert (before.agrees, after.agrees) == ((True,), (True,))


def test_forged_frames_and_sentinels_are_only_words(layer):
    """Writing to every descriptor, standard output included: whatever it says counts for this program alone."""
    said = json.dumps({"results": [{"kind": "value", "value": ["i", "0x63"]}], "canary": 0})
    source = (
        "import os\ndef f(x):\n"
        f"    forged = {said!r}.encode()\n"
        "    for fd in range(0, 64):\n        try: os.write(fd, b'\\0' * 16 + b'\\0\\0\\0\\1' + forged)\n"
        "        except OSError: pass\n    return 7"
    )
    sound = Program(source="def f(x): return 1", call="f", arguments=((0,),))
    forged = Program(source=source, call="f", arguments=((0,),))
    first, bad, last = play([sound, forged, sound], seconds=2.0, isolation=layer, expected=[[1], [7], [1]])
    assert bad.results[0].kind == "silent"
    assert (first.agrees, last.agrees) == ((True,), (True,))


def test_expected_answers_are_not_inside(layer):
    """Everything that a program can read up its stack, and much of the memory: the answer is not there."""
    answer = secrets.token_hex(16)
    source = (
        "import gc, sys\ndef f(x):\n    seen, frame = [], sys._getframe()\n"
        "    while frame:\n        seen.append(str(frame.f_locals) + str(frame.f_globals)); frame = frame.f_back\n"
        "    seen += [o[:500] for o in gc.get_objects() if type(o) is str]\n"
        "    seen += [str(o)[:500] for o in gc.get_objects() if type(o) in (dict, list)]\n"
        "    return '|'.join(seen)[:300000]"
    )
    played = one(source, isolation=layer, seconds=3.0, expected=[[answer]])
    assert played.agrees == (False,)
    assert "def f(x)" in played.results[0].value
    assert answer not in played.results[0].value


def test_the_nonce_is_not_inside(layer, monkeypatch):
    """Not up the stack, not in any living object: a program could write no frame if it had the pipe."""
    drawn, real = [], secrets.token_bytes

    def token_bytes(size):
        drawn.append(real(size))
        return drawn[-1]

    monkeypatch.setattr(sys.modules["superalign.sandbox.play"].secrets, "token_bytes", token_bytes)
    source = (
        "import gc, sys\ndef f(x):\n    seen, frame = [], sys._getframe()\n    gc.unfreeze()\n"
        "    while frame:\n        seen += list(frame.f_locals.values()); frame = frame.f_back\n"
        "    for o in gc.get_objects():\n        seen += gc.get_referents(o)\n"
        "    found = {bytes(o).hex() for o in seen if type(o) in (bytes, bytearray, memoryview) and len(o) < 200}\n"
        "    return [len(seen), sorted(found)]"
    )
    count, found = one(source, isolation=layer, seconds=5.0).results[0].value
    assert count > 1000
    assert "00" * 16 in found, "it was overwritten"
    (nonce,) = drawn
    assert not any(nonce.hex() in text for text in found)


CANARY = {
    "called, then gone": ("import os\ndef f(x): canary(); os._exit(0)", 1),
    "called, then late": (
        "def f(x):\n canary()\n while True:\n  try:\n   while True: pass\n  except BaseException: pass",
        1,
    ),
    "called, then the runner is killed": ("import os\ndef f(x): canary(); os.kill(os.getppid(), 9)", 0),
    "called while imported": ("canary()\ndef f(x): return 0", 1),
    "a thousand times": ("def f(x):\n for _ in range(1000): canary()\n return 0", 1000),
    "by a child": ("import os\ndef f(x):\n if os.fork() == 0: canary(); os._exit(0)\n os.wait(); return 0", 1),
    "replaced": ("canary = print\ndef f(x): canary(); return 0", 0),
    "drained": (
        "import os\ndef f(x):\n canary()\n for fd in range(64):\n"
        "  try: os.set_blocking(fd, False); os.read(fd, 9)\n  except OSError: pass\n"
        "  try: os.read(os.open(f'/proc/self/fd/{fd}', os.O_RDONLY | os.O_NONBLOCK), 9)\n"
        "  except OSError: pass\n return 0",
        1,
    ),
    "closed first": (
        "import os\ndef f(x):\n for fd in range(5, 64):\n  try: os.close(fd)\n  except OSError: pass\n"
        " canary(); return 0",
        0,
    ),
}


@pytest.mark.parametrize("name", CANARY)
def test_a_canary_that_sang_was_heard(layer, name):
    source, count = CANARY[name]
    assert one(source, isolation=layer, seconds=0.8).canary == count


def test_a_program_leaves_nothing_to_the_next(layer):
    """No file, no process: it may write nowhere, and what it started is ended before the next begins."""
    writes = (
        "import os\ndef f(x):\n    made = []\n    for p in ('.', '/tmp', '/box', '/dev/shm', '/dev', '/'):\n"
        "        try: open(p + '/left', 'w'); made.append(p)\n        except OSError: pass\n    return made"
    )
    later = (
        "import os, time\ndef f(x):\n    if os.fork() == 0:\n        os.setsid(); time.sleep(0.3); os.kill(-1, 9)\n"
        "    return 5"
    )
    slow = "import time\ndef f(x): time.sleep(0.6); return 1"
    programs = [Program(source=source, call="f", arguments=((0,),)) for source in (writes, later, slow)]
    played = play(programs, seconds=3.0, isolation=layer)
    assert [p.results[0].value for p in played] == [[], 5, 1]


def test_a_slow_caller_costs_no_program_its_turn(layer):
    source = "import time\ndef f(x): time.sleep(0.3); return 1"
    seen = []
    for played in play([Program(source=source, call="f", arguments=((0,),))] * 3, seconds=0.6, isolation=layer):
        seen.append(played.results[0].value)
        time.sleep(0.8)
    assert seen == [1, 1, 1]


def test_many_large_programs_are_fed(layer):
    """More than a pipe holds, into a runner that reads when it has started."""
    source = "def f(x): return x\n" + "# " + "x" * 20_000
    program = Program(source=source, call="f", arguments=((7,),))
    assert [p.results[0].value for p in play([program] * 60, seconds=2.0, isolation=layer)] == [7] * 60


def test_a_runner_that_cannot_start_is_said(layer):
    with pytest.raises(SandboxUnavailable, match="did not start in the sandbox"):
        one("def f(x): return 1", isolation=layer, limits=Limits(memory=8 << 20))


def test_keys_chosen_to_collide_cost_no_quadratic_time():
    """Numbers that all have the hash 0: a set of 2,000 is quick, more is no plain value."""
    prime = (1 << 61) - 1
    body = [["i", hex(i * prime)] for i in range(1, 2_001)]
    began = time.monotonic()
    assert len(decode(["set", body])) == 2_000
    assert time.monotonic() - began < 2.0
    for tag, more in (("set", [*body, ["i", "0x1"]]), ("dict", [[k, None] for k in [*body, ["i", "0x1"]]])):
        with pytest.raises(NotPlain, match="too many"):
            decode([tag, more])
    assert len(decode(["set", [["s", f"{i:04x}".encode().hex()] for i in range(15_000)]])) == 15_000


def test_canary_calls_are_counted(layer):
    assert one("def f(x):\n    for _ in range(x): canary(x, why='')\n    return 0", 3, isolation=layer).canary == 3
    assert one("def f(x): return 0", isolation=layer).canary == 0


def test_a_child_left_behind_does_not_hold_up_the_next(layer):
    source = (
        "import os, time\ndef f(x):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        for fd in range(3, 64):\n            try: os.close(fd)\n            except OSError: pass\n"
        "        time.sleep(60)\n    return 5"
    )
    sound = Program(source="def f(x): return 1", call="f", arguments=((0,),))
    first, last = play([Program(source=source, call="f", arguments=((0,),)), sound], isolation=layer)
    assert first.results[0].value == 5
    assert last.results[0].value == 1


def test_batch_mode_is_for_ones_own(layer):
    with pytest.raises(ValueError, match="trusted=True"):
        next(play([], mode="batch"))
    program = Program(source="def f(x): return x + 1", call="f", arguments=((1,), (2,)))
    played = list(play([program] * 30, mode="batch", trusted=True, isolation=layer))
    assert [[r.value for r in p.results] for p in played] == [[2, 3]] * 30
    slow = Program(source="def f(x):\n    while True: pass", call="f", arguments=((1,),))
    kinds = [p.results[0].kind for p in play([slow, program], mode="batch", trusted=True, isolation=layer)]
    assert kinds == ["timeout", "value"]


@pytest.mark.parametrize("bad", [{"expected": []}, {"expected": [[1, 2]]}])
def test_expected_values_fit_the_calls(layer, bad):
    with pytest.raises(ValueError, match="pass one"):
        one("def f(x): return 1", isolation=layer, **bad)


def test_arguments_are_plain(layer):
    with pytest.raises(NotPlain):
        one("def f(x): return 1", object(), isolation=layer)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_encoded_and_back(value):
    again = decode(json.loads(json.dumps(encode(value))))
    assert same(again, value)
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        (1, True, False),
        (1, 1.0, False),
        (0.0, -0.0, False),
        (math.nan, math.nan, True),
        ((1,), [1], False),
        ({1, 2}, {2, 1}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ("a", b"a", False),
    ],
)
def test_same(a, b, alike):
    assert same(a, b) == alike


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_is_a_plain_value_or_not_plain(value):
    try:
        decode(value)
    except NotPlain:
        return


def test_too_deep():
    value = []
    for _ in range(MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(NotPlain, match="too deep"):
        encode(value)


NONCE = b"n" * 16


@settings(max_examples=100, deadline=None)
@given(messages=st.lists(st.integers(0, 9), max_size=5), cuts=st.lists(st.integers(1, 30), max_size=20))
def test_frames_in_pieces(messages, cuts):
    stream, reader, heard = b"".join(frame(NONCE, {"at": m}) for m in messages), Reader(NONCE), []
    for cut in [*cuts, len(stream) + 1]:
        heard += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert [word["at"] for word in heard] == messages


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_make_a_frame_without_the_nonce(data):
    reader = Reader(NONCE)
    try:
        assert reader.feed(data) == []
    except BrokenFrame:
        return
    assert len(data) < 20 or data.startswith(NONCE)


EVENTFUL = {
    "nothing": ("def f(x): return x", {}),
    "opens": ("def f(x):\n try: open('/etc/passwd')\n except OSError: pass", {"open": 1}),
    "imports": ("def f(x):\n import textwrap", {"import": 1}),
    "runs text": ("def f(x): exec('y = 1')", {"exec": 2}),
    "starts a process": ("import os\ndef f(x): os.system('true')", {"process": 1}),
    "makes a socket": ("import socket\ndef f(x): socket.socketpair()", {"socket": 2}),
    "lists": ("import os\ndef f(x): os.listdir('/')", {"os": 1}),
    "looks at frames": ("import sys\ndef f(x): sys._getframe()", {"inside": 1}),
    "opens and leaves": ("import os\ndef f(x):\n open('/dev/null'); os._exit(0)", {"open": 1}),
    "opens and spins": ("def f(x):\n open('/dev/null')\n while True: pass", {"open": 1}),
    "forks and opens": (
        "import os\ndef f(x):\n pid = os.fork()\n if not pid:\n  open('/dev/null'); os._exit(0)\n os.waitpid(pid, 0)",
        {"process": 1, "open": 1},
    ),
    "is not Python": ("def f(x", {}),
}


@pytest.mark.parametrize("name", EVENTFUL)
def test_a_watched_program_is_counted(layer, name):
    source, wanted = EVENTFUL[name]
    program = Program(source=source, call="f", arguments=((1,),), events=True)
    (played,) = play([program], seconds=0.5, isolation=layer)
    assert {kind: played.events.get(kind, 0) for kind in wanted} == wanted
    assert bool(played.events) is bool(wanted)
    assert one(source, seconds=0.5, isolation=layer).events == {}


def test_what_was_counted_is_not_taken_back(layer):
    """Descriptors closed, hooks "removed": counted events stay, and what can't be told doesn't happen."""
    source = (
        "import os, sys\n"
        "def f(x):\n"
        " canary()\n"
        " open('/dev/null').close()\n"
        " for fd in range(3, 64):\n"
        "  try: os.close(fd)\n"
        "  except OSError: pass\n"
        " try: open('/dev/null')\n"
        " except OSError: return 'not told, not done'\n"
        " return 'unseen'"
    )
    program = Program(source=source, call="f", arguments=((1,),), events=True)
    (played,) = play([program], seconds=2.0, isolation=layer)
    assert (played.canary, played.events) == (1, {"open": 1})
    assert played.results[0].value != "unseen"


def test_events_and_canaries_are_told_apart(layer):
    source = "def f(x):\n for i in range(300):\n  canary(); open('/dev/null').close()\n return x"
    program = Program(source=source, call="f", arguments=((1,), (2,)), events=True)
    (played,) = play([program], seconds=2.0, isolation=layer)
    assert (played.canary, played.events) == (600, {"open": 600})
    assert [r.value for r in played.results] == [1, 2]


def test_watching_needs_a_process_a_program():
    program = Program(source="def f(x): return x", call="f", arguments=((1,),), events=True)
    with pytest.raises(ValueError, match="fork mode only"):
        list(play([program], mode="batch", trusted=True))
