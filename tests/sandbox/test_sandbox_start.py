"""`run`: what a command sees, what it may use, and that nothing of it outlives the call."""

import os
import subprocess
import sys
import time

import pytest

from superalign.sandbox import Limits, SandboxUnavailable, best_isolation, chosen, layers, run, start
from superalign.sandbox.seccomp import DENIED, assembled
from superalign.sandbox.slots import FIRST, slot

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


def test_too_many_files():
    with pytest.raises(ValueError, match="at most"):
        run(["true"], files={f"f{i}": b"" for i in range(100)})


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


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_well_formed(machine):
    """Eight bytes an instruction, every jump lands inside, every path ends in a return."""
    import struct

    program = [struct.unpack_from("HBBI", assembled(machine), at) for at in range(0, len(assembled(machine)), 8)]
    assert len(program) < 4096
    for at, (code, yes, no, _) in enumerate(program):
        if code & 0x07 == 0x05:
            assert at + 1 + max(yes, no) < len(program)
    assert program[-1][0] == 0x06
    numbers = {k for code, _, _, k in program if code == 0x15}
    column = 0 if machine == "x86_64" else 1
    assert {n[column] for n in DENIED.values() if n[column] is not None} <= numbers


def test_an_unknown_machine():
    with pytest.raises(ValueError, match="no system-call table for riscv64"):
        assembled("riscv64")


def test_an_ordinary_user_has_a_sandbox_too():
    """Not root: user namespaces, or Landlock on itself."""
    if os.geteuid() != 0:
        pytest.skip("this test drops from root to an ordinary user; you are one already")
    python = next((p for p in ("/usr/bin/python3.11",) if os.access(p, os.X_OK)), None)
    if python is None:
        pytest.skip("no Python that an ordinary user may run")
    script = (
        "from superalign.sandbox import run, standing, Isolation\n"
        "import sys\n"
        "for layer in standing():\n"
        "    if isinstance(layer, Isolation):\n"
        "        out = run([sys.executable, '-I', '-S', '-c', 'import os; print(os.getuid())'], isolation=layer)\n"
        "        assert out.ok, out\n"
        "        print(layer.name, out.stdout.decode().strip())\n"
    )
    source = os.path.dirname(os.path.dirname(os.path.dirname(start.__file__)))
    tried = subprocess.run(
        [python, "-c", script],
        env={"PYTHONPATH": source, "PATH": "/usr/bin:/bin"},
        user=65533,
        group=65533,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "Permission denied" in tried.stderr or "ModuleNotFoundError" in tried.stderr:
        pytest.skip(f"the checkout can't be read by an ordinary user: {tried.stderr.strip().splitlines()[-1]}")
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.strip()
