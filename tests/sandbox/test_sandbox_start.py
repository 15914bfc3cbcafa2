"""`run`: what a command sees, what it may use, and that nothing of it outlives the call."""

import contextlib
import dataclasses
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

import pytest

from superalign.sandbox import Limits, SandboxUnavailable, best_isolation, cgroups, chosen, layers, run, start
from superalign.sandbox.cgroups import Groups
from superalign.sandbox.selftest import lives
from superalign.sandbox.slots import FIRST, slot
from superalign.sandbox.start import started

PYTHON = [sys.executable, "-I", "-S", "-c"]


def test_input_files_and_output(layer):
    script = "import sys; print(open('a.txt').read() + sys.stdin.read()); print('e', file=sys.stderr)"
    outcome = run([*PYTHON, script], input=b"in", files={"a.txt": b"file "}, isolation=layer)
    assert (outcome.kind, outcome.code, outcome.stdout, outcome.stderr) == ("exited", 0, b"file in\n", b"e\n")
    assert outcome.ok
    assert outcome.isolation == layer.name
    assert 0 < outcome.cpu < outcome.wall + 0.5


def test_the_folder_is_its_own_and_writable(layer):
    script = "open('new', 'w').write('x'); import os; print(sorted(os.listdir('.')))"
    for _ in range(2):
        assert run([*PYTHON, script], isolation=layer).stdout == b"['new']\n"


def test_another_user_and_a_scrubbed_environment(layer, monkeypatch):
    monkeypatch.setenv("API_KEY", "secret")
    outcome = run([*PYTHON, "import os; print(os.getuid(), dict(os.environ))"], isolation=layer)
    assert b"secret" not in outcome.stdout
    uid = int(outcome.stdout.split()[0])
    assert uid >= FIRST if os.geteuid() == 0 else uid in (65534, os.getuid())


def test_readable_folders_can_be_read_and_not_written(layer, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "data").write_text("hello")
    for parent in tmp_path.parents:
        if layer.name == "landlock" and parent.stat().st_mode & 0o001 == 0:
            pytest.skip("pytest's folder is closed to the user that is dropped to")
    script = f"print(open('{tmp_path}/data').read())\nopen('{tmp_path}/new', 'w')"
    outcome = run([*PYTHON, script], readable=[tmp_path], isolation=layer)
    assert outcome.stdout == b"hello\n"
    assert outcome.code == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("script", "limits", "kind"),
    [
        ("import time; time.sleep(30)", {"wall": 0.6}, "timeout"),
        ("while True: print('x' * 1000)", {}, "output"),
        ("while True: pass", {"cpu": 1}, "signalled"),
        ("import os; os.kill(os.getpid(), 11)", {}, "signalled"),
        ("import os; os._exit(3)", {}, "exited"),
        ("import os, shutil; shutil.rmtree(os.getcwd(), ignore_errors=True)", {}, "exited"),
        ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", {"wall": 1.5}, "timeout"),
        ("import os\nos.close(1); os.close(2)\nimport time; time.sleep(30)", {"wall": 0.6}, "timeout"),
    ],
)
def test_how_it_ends(layer, script, limits, kind):
    began = time.monotonic()
    outcome = run([*PYTHON, script], limits=Limits(**{"wall": 6.0, **limits}), isolation=layer)
    assert outcome.kind == kind, outcome
    assert time.monotonic() - began < 8


def test_output_is_capped_not_kept(layer):
    outcome = run([*PYTHON, "while True: print('x' * 1000)"], limits=Limits(output=10_000), isolation=layer)
    assert (outcome.kind, len(outcome.stdout)) == ("output", 10_000)


def test_a_command_that_is_not_there(layer):
    if layer.name == "landlock":
        with pytest.raises(FileNotFoundError):
            run(["no-such-command"], isolation=layer)
    else:
        assert run(["no-such-command"], isolation=layer).code != 0


def test_large_input_that_nobody_reads(layer):
    assert run([*PYTHON, "pass"], input=bytes(5 << 20), isolation=layer).ok


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "seccomp", "a\0b"])
def test_file_names_that_leave_the_folder(name):
    with pytest.raises(ValueError, match="can't be a file in the sandbox"):
        run(["true"], files={name: b""})


def test_a_package_of_files(layer):
    """More than can be held open, in folders, as large as its own sizes."""
    files = {f"a{i % 7}/b/f{i}.py": b"x" * i for i in range(400)}
    script = "import os; print(sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk('.') for f in fs))"
    assert run([*PYTHON, script], files=files, isolation=layer).stdout.split() == [b"%d" % sum(range(400))]
    outcome = run([*PYTHON, "open('a1/b/f1.py', 'a').write('y'); open('a1/new', 'w')"], files=files, isolation=layer)
    assert outcome.ok, outcome


def test_too_many_files_where_each_is_held_open(layer):
    if layer.name != "bwrap":
        pytest.skip("a limit of bubblewrap without a file system of the start's own")
    unstaged = dataclasses.replace(layer, staged=False)
    assert run([*PYTHON, "print(open('a/b').read())"], files={"a/b": b"x"}, isolation=unstaged).stdout == b"x\n"
    with pytest.raises(ValueError, match="at most"):
        run(["true"], files={f"f{i}": b"" for i in range(100)}, isolation=unstaged)


def test_folders_too_deep_to_walk_are_removed(layer, monkeypatch):
    """6,000 folders inside one another, the last one closed: nothing stays behind, and nothing of ours recurses."""
    script = (
        "import os\nfor i in range(6000):\n    os.mkdir('d' * 20); os.chdir('d' * 20)\n"
        "try: os.chmod('.', 0)\nexcept OSError: pass\nprint('deep')"
    )
    made, real = [], tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **named: made.append(real(**named)) or made[-1])
    outcome = run([*PYTHON, script], limits=Limits(cpu=20), isolation=layer)
    assert outcome.kind in ("exited", "disk")
    assert len(made) == (layer.name == "landlock")
    assert not any(os.path.exists(folder) for folder in made)


@pytest.mark.parametrize(("code", "kind"), [(1, "exited"), (126, "exited"), (200, "exited"), (255, "exited")])
def test_exit_statuses_are_not_signals(layer, code, kind):
    outcome = run([*PYTHON, f"import os; os._exit({code})"], isolation=layer)
    assert (outcome.kind, outcome.code) == (kind, code)


def test_the_cpu_limit_may_be_a_fraction(layer):
    outcome = run([*PYTHON, "while True: pass"], limits=Limits(cpu=0.5), isolation=layer)
    assert (outcome.kind, outcome.code) == ("signalled", 24)


def test_memory_of_the_whole_tree(layer):
    script = (
        "import os, time\nfor i in range(6):\n    if os.fork() == 0:\n        x = bytearray(90 << 20)\n"
        "        x[::4096] = b'x' * len(x[::4096]); time.sleep(3); os._exit(0)\n"
        "if any(os.wait()[1] for i in range(6)): raise SystemExit(1)"
    )
    assert run([*PYTHON, script], limits=Limits(memory=256 << 20), isolation=layer).kind == "memory"


def test_memory_is_weighed_where_no_group_limits_it(layer, monkeypatch):
    monkeypatch.setattr(start, "groups", lambda limits: contextlib.nullcontext(Groups(())))
    test_memory_of_the_whole_tree(layer)


DAEMON = """
import ctypes, os, sys, time
for _ in range(2):
    if os.fork(): os._exit(0)
    os.setsid()
ctypes.CDLL(None).prctl(4, 0)      # not dumpable: its folder in /proc belongs to root
os.environ.clear()
for fd in range(3): os.close(fd)
time.sleep(30)
"""


def test_a_daemon_in_disguise_ends_too(layer):
    marker = f"daemon-{secrets.token_hex(6)}"
    began = time.monotonic()
    run([*PYTHON, DAEMON, marker], isolation=layer)
    assert time.monotonic() - began < 10
    assert not lives(marker)


@pytest.mark.parametrize("wait", [0, 0.002, 0.004, 0.008, 0.016, 0.3])
def test_ctrl_c_and_a_raising_caller_end_everything(layer, wait):
    """At any moment of the start: bubblewrap's own promise holds only from when its first process has asked for it."""
    marker = f"left-{secrets.token_hex(6)}"
    command = [*PYTHON, "import time; time.sleep(60)", marker]

    def interrupted():
        with started(command, files={}, readable=(), limits=Limits(), isolation=layer):
            time.sleep(wait)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not lives(marker)


def test_control_groups_of_version_two(tmp_path, monkeypatch):
    """On a folder that looks like one: beside the own group, which holds processes and so can't limit groups below."""
    own = tmp_path / "user.slice" / "session.scope"
    own.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    mine = tmp_path / "mine"
    mine.write_text("0::/user.slice/session.scope\n")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "MINE", mine)
    made, remade = [], Path.mkdir

    def mkdir(self, *given, **named):
        remade(self, *given, **named)
        made.append(self)
        if self.parent != own:
            for name in ("cgroup.procs", "memory.max", "pids.max", "memory.swap.max"):
                (self / name).write_text("")
            (self / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
            (self / "cpu.stat").write_text("usage_usec 2500000\n")
        else:
            self.chmod(0o555)

    real = Path.write_text
    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(
        Path, "write_text", lambda self, text: real(self, text) if self.parent.parent != own else _refused()
    )
    monkeypatch.setattr(cgroups, "_remove", lambda folder: None)
    with cgroups.groups(Limits(memory=1000, processes=5)) as tree:
        (folder,) = tree.folders
        assert folder.parent == own.parent
        assert (folder / "memory.max").read_text() == "1000"
        assert (folder / "pids.max").read_text() == "13"
        tree.join()
        assert (folder / "cgroup.procs").read_text() == "0"
        assert tree.starved()
        assert tree.limit_memory
        assert tree.cpu() == 2.5


def _refused():
    raise PermissionError


@pytest.mark.parametrize("name", Limits.__slots__)
def test_limits_are_above_zero(name):
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})


def test_no_layer_is_a_refusal_that_says_how_to_mend_it(monkeypatch):
    absent = (
        layers.Absent(name="bwrap", why="bwrap not found", do="install bubblewrap"),
        layers.Absent(name="landlock", why="an old kernel", do="use Linux 5.13"),
    )
    monkeypatch.setattr(layers, "standing", lambda: absent)
    with pytest.raises(SandboxUnavailable, match=r"bwrap not found; install bubblewrap.*superalign doctor"):
        best_isolation()
    with pytest.raises(SandboxUnavailable, match="an old kernel"):
        chosen("landlock")
    with pytest.raises(SandboxUnavailable, match="no layer 'docker'"):
        chosen("docker")


def test_a_machine_without_bubblewrap(monkeypatch):
    monkeypatch.setattr(layers.shutil, "which", lambda name, **more: None)
    found = layers._bwrap()
    assert isinstance(found, layers.Absent)
    assert "apt-get install bubblewrap" in found.do


def test_namespaces_refused(monkeypatch, tmp_path):
    """Where bwrap is there and the kernel says no, the reason it gave is passed on."""
    false = tmp_path / "bwrap"
    false.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    false.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = layers._bwrap()
    assert isinstance(found, layers.Absent)
    assert "Permission denied" in found.why


def test_two_starts_have_two_users():
    if os.geteuid() != 0:
        pytest.skip("users are dropped to by root only")
    with slot() as first, slot() as second:
        assert first != second
    with slot() as again:
        assert again == first
