"""An ordinary user has a sandbox too: user namespaces, or Landlock on itself, with nobody else's user id at hand."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import superalign

HERE, SOURCE = Path(__file__).parent, Path(superalign.__file__).parent
USER = 65533


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the script said, run as that user on a copy of the code that it may read."""
    python = next(
        (p for p in (f"/usr/bin/python3.{sys.version_info.minor}", "/usr/bin/python3") if os.path.exists(p)), None
    )
    if os.geteuid() != 0:
        python, user = sys.executable, {}
    elif python is None:
        pytest.skip("no Python in /usr/bin that an ordinary user may run")
    else:
        user = {"user": USER, "group": USER, "extra_groups": []}
    if subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode:
        pytest.skip(f"{python} is older than 3.11")
    folder = (
        Path("/var/tmp" if os.geteuid() == 0 else tmp_path_factory.mktemp("code")) / f"superalign-test-{os.getpid()}"
    )
    package = folder / "superalign"
    try:
        shutil.copytree(SOURCE / "sandbox", package / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(SOURCE / "__init__.py", package)
        shutil.copy(HERE / "ordinary_user.py", folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        tried = subprocess.run(
            [python, "-B", str(folder / "ordinary_user.py")],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **user,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert tried.returncode == 0, tried.stderr
    return json.loads(tried.stdout)


@pytest.mark.parametrize("layer", ["bwrap", "landlock"])
def test_an_ordinary_user_has_a_sandbox_too(said, layer):
    found = said[layer]
    if isinstance(found, str):
        pytest.skip(f"{layer} does not stand for an ordinary user here: {found}")
    assert found["plain"] == "42", "though the user has 90 threads already, and a start may have 64"
    assert found["forks"] == 1, "the 65th process was refused"
    assert found["files"] == "x\n"
    killed = found["played"].pop(1)
    assert killed in ("silent None", "value 6"), "it killed the runner, and perhaps spoke before it died"
    assert found["played"] == ["value 42", "value 5", "value 42"]
    assert found["tree"] == "memory"
    assert found["hidden"] in ("disk", "exited"), "a folder that the watcher can't list counts as full"
    assert (found["hidden"] == "disk") == (layer == "landlock")
    assert found["daemon"] is False


def test_other_processes_of_the_user_are_left_alone(said):
    assert said["bystander"] is None
